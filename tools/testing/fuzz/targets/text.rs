// SPDX-License-Identifier: GPL-2.0

//! Lines of `/proc/net`: parsing them returns what was written, and a file without room causes an
//! error, nothing else.

use super::input::Input;
use ipvs_core::{
    net::{
        Addr,
        Be16,
        Be32, //
    },
    stats::{
        Counters,
        Rates, //
    },
    text::{
        write_dest,
        write_info_head,
        write_percpu,
        write_percpu_total,
        write_service,
        write_stats,
        ConnLine,
        ServiceLabel, //
    },
};
use std::fmt;

/// A file with limited room.
struct File(String, usize);

impl fmt::Write for File {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > self.1 {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// Returns the words of a line. Asserts that it is a single line, and that a file without room
/// contains the beginning of it.
fn words(room: usize, write: impl Fn(&mut File) -> fmt::Result) -> Vec<String> {
    let mut file = File(String::new(), usize::MAX);
    write(&mut file).unwrap();
    assert_eq!(file.0.matches('\n').count(), 1);
    assert!(file.0.ends_with('\n'));
    let mut short = File(String::new(), room);
    assert_eq!(write(&mut short).is_ok(), file.0.len() <= room);
    assert!(file.0.starts_with(&short.0));
    file.0.split_whitespace().map(String::from).collect()
}

fn hex32(word: &str) -> Be32 {
    assert_eq!(word.len(), 8);
    Be32::new(u32::from_str_radix(word, 16).unwrap())
}

fn hex16(word: &str) -> Be16 {
    assert_eq!(word.len(), 4);
    Be16::new(u16::from_str_radix(word, 16).unwrap())
}

fn endpoint(word: &str) -> (Be32, Be16) {
    let (addr, port) = word.split_once(':').unwrap();
    (hex32(addr), hex16(port))
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let room = usize::from(input.u8());
    let (protocol, flags, timeout) = (input.u16(), input.u32(), input.u32());
    let (addr, port, mask) = (input.be32(), input.be16(), input.be32());
    let mark = input.u32();

    let label = ServiceLabel::Addr(protocol, addr.into(), port);
    for (label, kind) in [(label, 0), (ServiceLabel::Fwmark(mark), 1)] {
        let words = words(room, |out| {
            write_service(out, label, "wlc", flags, timeout, mask)
        });
        match kind {
            0 => assert_eq!(endpoint(&words[1]), (addr, port)),
            _ => assert_eq!(hex32(&words[1]).host(), mark),
        }
        assert_eq!(words[2], "wlc");
        assert_eq!(words.iter().any(|word| word == "ops"), flags & 4 != 0);
        let persistent = words.iter().position(|word| word == "persistent");
        assert_eq!(persistent.is_some(), flags & 1 != 0);
        if let Some(at) = persistent {
            assert_eq!(words[at + 1].parse(), Ok(timeout as i32));
            assert_eq!(hex32(&words[at + 2]), mask);
            assert_eq!(words.len(), at + 3);
        }
    }

    let (method, weight) = (input.u32(), input.u32() as i32);
    let (active, inactive) = (input.u32(), input.u32());
    let dest = words(room, |out| {
        write_dest(out, addr.into(), port, method, weight, active, inactive)
    });
    assert_eq!((dest.len(), &dest[0][..]), (6, "->"));
    assert_eq!(endpoint(&dest[1]), (addr, port));
    assert_eq!(dest[3].parse(), Ok(weight));
    assert_eq!(dest[4].parse(), Ok(active as i32));
    assert_eq!(dest[5].parse(), Ok(inactive as i32));

    let line = ConnLine {
        protocol,
        client: (addr.into(), port),
        virt: (mask.into(), Be16::from_raw(mark as u16)),
        dest: (Be32::new(mark).into(), port),
        state: "ESTABLISHED",
        expires: timeout,
    };
    let conn = words(room, |out| line.write(out, None));
    assert_eq!(conn.len(), 9);
    for (at, (addr, port)) in [(1, line.client), (3, line.virt), (5, line.dest)] {
        assert_eq!(Addr::V4(hex32(&conn[at])), addr);
        assert_eq!(hex16(&conn[at + 1]), port);
    }
    assert_eq!(
        (&conn[7][..], conn[8].parse()),
        ("ESTABLISHED", Ok(timeout))
    );
    let named = words(room, |out| line.write(out, Some(("sip", b"call"))));
    assert_eq!(
        (&named[..9], &named[9..]),
        (&conn[..], &["sip".into(), "call".into()][..])
    );
    let synced = words(room, |out| line.write_sync(out, flags & 1 != 0));
    assert_eq!(synced[..8], conn[..8]);
    assert_eq!(synced[8], ["LOCAL", "SYNC"][(flags & 1) as usize]);

    let counters = Counters {
        conns: input.u64(),
        inpkts: input.u64(),
        outpkts: input.u64(),
        inbytes: input.u64(),
        outbytes: input.u64(),
    };
    let cpu = words(room, |out| write_percpu(out, mark, &counters));
    let numbers: Vec<_> = cpu
        .iter()
        .map(|word| u64::from_str_radix(word, 16))
        .collect();
    let Counters {
        conns,
        inpkts,
        outpkts,
        inbytes,
        outbytes,
    } = counters;
    let expected = [mark.into(), conns, inpkts, outpkts, inbytes, outbytes];
    assert_eq!(numbers, expected.map(Ok));

    // Complete files: numbers in columns as wide as their titles.
    let rates = Rates {
        cps: conns,
        inpps: inpkts,
        outpps: outpkts,
        inbps: inbytes,
        outbps: outbytes,
    };
    for write in [write_stats, write_percpu_total] {
        let mut file = File(String::new(), usize::MAX);
        write(&mut file, &counters, &rates).unwrap();
        let last = file.0.lines().last().unwrap().split_whitespace();
        let last: Vec<_> = last.map(|word| u64::from_str_radix(word, 16)).collect();
        assert_eq!(
            last,
            expected[1..].iter().copied().map(Ok).collect::<Vec<_>>()
        );
        let mut short = File(String::new(), room);
        assert_eq!(
            write(&mut short, &counters, &rates).is_ok(),
            file.0.len() <= room
        );
        assert!(file.0.starts_with(&short.0));
    }
    let mut head = File(String::new(), usize::MAX);
    write_info_head(&mut head, mark).unwrap();
    assert!(head.0.contains(&format!("(size={mark})\n")));
}
