// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::{
    net::Address,
    netlink::{
        CONN_F_HASHED,
        CONN_F_IN_SEQ,
        CONN_F_NFCT, //
    },
};

/// Where the fields of an entry of version 1 are.
const SIZE_AT: usize = 2;
const FLAGS_AT: usize = 4;
const STATE_AT: usize = 8;

/// Returns an entry of version 1 of an established TCP connection, with options.
fn v1_entry(kind: u8, options: &[u8]) -> Vec<u8> {
    let mut entry = vec![kind, 6, 0, 0, 0, 0, 0, 3, 0, 1];
    // Ports, mark, timeout.
    entry.extend([0, 1, 0, 2, 0, 3, 0, 0, 0, 9, 0, 0, 0, 90]);
    let addr_len = if kind & 1 == 0 { 4 } else { 16 };
    for addr in 1..=3 {
        entry.extend(vec![addr; addr_len]);
    }
    entry.extend(options);
    let size = entry.len() as u16;
    entry[SIZE_AT..][..2].copy_from_slice(&size.to_be_bytes());
    entry
}

/// Returns an entry of version 0 of a TCP connection with these flags and this state.
fn v0_entry(flags: u32, state: u16, seqs: &[u8]) -> Vec<u8> {
    let mut entry = vec![9, 6, 0, 1, 0, 2, 0, 3];
    for addr in 1..=3 {
        entry.extend([addr; 4]);
    }
    entry.extend((flags as u16).to_be_bytes());
    entry.extend(state.to_be_bytes());
    entry.extend(seqs);
    entry
}

/// Returns a datagram of version 1 whose header says that it has `count` entries.
fn v1(count: u8, body: &[u8]) -> Vec<u8> {
    let len = body.len() as u16 + 8;
    let [high, low] = len.to_be_bytes();
    [&[0, 7, high, low, count, 1, 0, 0], body].concat()
}

fn v0(count: u8, body: &[u8]) -> Vec<u8> {
    let len = body.len() as u16 + 4;
    let [high, low] = len.to_be_bytes();
    [&[count, 7, high, low], body].concat()
}

/// Returns the entry that [`v1_entry`] and [`v0_entry`] have the bytes of.
fn expected<A: Address>(addrs: [A; 3]) -> Entry<'static, A> {
    let [caddr, vaddr, daddr] = addrs;
    Entry {
        protocol: 6,
        caddr,
        vaddr,
        daddr,
        cport: Be16::new(1),
        vport: Be16::new(2),
        dport: Be16::new(3),
        flags: 0x23,
        state: 1,
        fwmark: 9,
        timeout: 90,
        seqs: None,
        pe: None,
    }
}

fn expected_v4() -> Entry<'static, Be32> {
    expected([1, 2, 3].map(|addr| Be32::from_bytes([addr; 4])))
}

fn expected_v0(flags: u32, seqs: Option<Seqs>) -> Entry<'static, Be32> {
    Entry {
        flags,
        fwmark: 0,
        timeout: 0,
        seqs,
        ..expected_v4()
    }
}

fn read(bytes: &[u8]) -> Vec<Result<Received<'_>, Fault>> {
    let datagram = Datagram::parse(bytes, 0).unwrap();
    datagram.entries().collect()
}

/// Returns what becomes of an entry of version 1 between two that are right.
fn between(entry: &[u8]) -> Option<Fault> {
    let pad = vec![0; entry.len().next_multiple_of(4) - entry.len()];
    let good = v1_entry(0, &[]);
    let bytes = v1(3, &[&good, entry, &pad, &good].concat());
    let found = read(&bytes);
    assert_eq!(found[0], Ok(Received::V4(expected_v4())));
    let fault = found[1].err();
    if fault.is_some_and(Fault::ends_datagram) {
        assert_eq!(found.len(), 2);
    } else {
        assert_eq!(found.len(), 3);
        assert_eq!(found[2], found[0]);
    }
    fault
}

/// Returns an entry of version 1 with other bytes at this place.
fn changed(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut entry = v1_entry(0, &[]);
    entry[at..][..bytes.len()].copy_from_slice(bytes);
    entry
}

#[test]
fn a_header_must_be_right() {
    let bytes = v1(0, &[]);
    for len in 0..4 {
        assert_eq!(
            Datagram::parse(&bytes[..len], 0).err(),
            Some(Fault::NoHeader)
        );
    }
    assert_eq!(Datagram::parse(&bytes[..7], 0).err(), Some(Fault::Length));
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(Datagram::parse(&longer, 0).err(), Some(Fault::Length));
    for (syncid, fault) in [
        (0, None),
        (7, None),
        (8, Some(Fault::SyncId(7))),
        (255, Some(Fault::SyncId(7))),
    ] {
        assert_eq!(Datagram::parse(&bytes, syncid).err(), fault);
    }
    // The length is looked at first.
    assert_eq!(Datagram::parse(&longer, 8).err(), Some(Fault::Length));
    assert_eq!(Datagram::parse(&bytes, 0).unwrap().syncid(), 7);
}

#[test]
fn a_datagram_is_of_version_1_if_its_header_says_so_in_each_byte() {
    let body = v1_entry(0, &[]);
    let bytes = v1(1, &body);
    assert_eq!(Datagram::parse(&bytes, 0).unwrap().version(), Version::V1);
    for (at, value) in [(0, 1), (5, 0), (5, 2), (5, 0xff), (6, 1), (7, 1)] {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        let datagram = Datagram::parse(&bytes, 0).unwrap();
        assert_eq!(datagram.version(), Version::V0);
        // The first byte is the number of entries.
        assert_eq!(datagram.entries().count(), usize::from(at == 0));
    }
    for len in 4..8 {
        let mut bytes = bytes[..len].to_vec();
        bytes[3] = len as u8;
        assert_eq!(Datagram::parse(&bytes, 0).unwrap().version(), Version::V0);
        assert_eq!(read(&bytes), []);
    }
}

#[test]
fn entries_of_version_1_are_read() {
    let bytes = v1(2, &[v1_entry(0, &[]), v1_entry(1, &[])].concat());
    let v6 = expected([1, 2, 3].map(|addr| Be128::from_bytes([addr; 16])));
    assert_eq!(
        read(&bytes),
        [Ok(Received::V4(expected_v4())), Ok(Received::V6(v6))]
    );
    // Other bits of the type do not matter to IPv6, and each of them does to IPv4.
    assert_eq!(between(&v1_entry(0xff, &[])), None);
    for bit in 1..8 {
        let kind = 1 << bit;
        assert_eq!(between(&v1_entry(kind, &[])), Some(Fault::EntryType(kind)));
    }
}

#[test]
fn entries_of_version_0_are_read() {
    let numbers = [1u32, 2, 3, 4, 5, 6];
    let seqs: Vec<u8> = numbers.iter().flat_map(|n| n.to_ne_bytes()).collect();
    let bytes = v0(
        2,
        &[v0_entry(0x203, 1, &seqs), v0_entry(3, 1, &[])].concat(),
    );
    let [a, b, c, d, e, f] = numbers;
    let seq = |init_seq, delta, previous_delta| Seq {
        init_seq,
        delta,
        previous_delta,
    };
    let seqs = Seqs {
        input: seq(a, b, c),
        output: seq(d, e, f),
    };
    assert_eq!(
        read(&bytes),
        [
            Ok(Received::V4(expected_v0(0x223, Some(seqs)))),
            Ok(Received::V4(expected_v0(0x23, None))),
        ]
    );
}

#[test]
fn the_options_of_an_entry_are_read() {
    let mut options = vec![0x41, 24];
    options.extend((1..=24).collect::<Vec<u8>>());
    options.extend([3, 3, b's', b'i', b'p', 0x7f, 1, 0xff, 0x42, 1, b'x']);
    let bytes = v1(1, &v1_entry(0, &options));
    let seqs = Seqs {
        input: Seq {
            init_seq: 0x0102_0304,
            delta: 0x0506_0708,
            previous_delta: 0x090a_0b0c,
        },
        output: Seq {
            init_seq: 0x0d0e_0f10,
            delta: 0x1112_1314,
            previous_delta: 0x1516_1718,
        },
    };
    let pe = PeEntry {
        name: b"sip",
        data: b"x",
    };
    let entry = Entry {
        seqs: Some(seqs),
        pe: Some(pe),
        ..expected_v4()
    };
    assert_eq!(read(&bytes), [Ok(Received::V4(entry))]);

    // A name without data means nothing, and ends before a NUL.
    for (options, pe) in [
        (&[3, 1, b's'][..], None),
        (
            &[2, 1, b'x', 3, 5, b's', b'i', b'p', 0, b'x'],
            Some(PeEntry {
                name: b"sip",
                data: b"x",
            }),
        ),
        (
            &[3, 1, 0, 2, 1, 0],
            Some(PeEntry {
                name: b"",
                data: &[0],
            }),
        ),
    ] {
        let bytes = v1(1, &v1_entry(0, options));
        let entry = Entry {
            pe,
            ..expected_v4()
        };
        assert_eq!(read(&bytes), [Ok(Received::V4(entry))]);
    }
}

#[test]
fn an_option_that_is_wrong_ends_the_datagram() {
    let seqs = [&[1, 24][..], &[0; 24]].concat();
    let name = [&[3, 16][..], &[b'n'; 16]].concat();
    let long = [&[3, 17][..], &[b'n'; 17]].concat();
    for (options, fault) in [
        (vec![1], Fault::OptionTruncated),
        (vec![2, 0], Fault::OptionTruncated),
        (vec![0x50, 0], Fault::OptionTruncated),
        (vec![2, 2, 1], Fault::OptionTruncated),
        ([&name[..], &[2]].concat(), Fault::OptionTruncated),
        (seqs[..25].to_vec(), Fault::OptionTruncated),
        (vec![1, 1, 0], Fault::OptionLength(1)),
        ([&[0x41, 25][..], &[0; 25]].concat(), Fault::OptionLength(1)),
        (long, Fault::OptionLength(3)),
        ([&seqs[..], &seqs].concat(), Fault::OptionTwice(1)),
        (vec![2, 1, 1, 0x42, 1, 1], Fault::OptionTwice(2)),
        ([&name[..], &[3, 1, 1]].concat(), Fault::OptionTwice(3)),
    ] {
        for kind in [0, 1] {
            assert_eq!(between(&v1_entry(kind, &options)), Some(fault));
        }
        assert!(fault.ends_datagram() && !fault.is_silent_in_c());
    }
}

#[test]
fn an_unknown_option_may_be_ignored_or_not() {
    for kind in 0..=u8::MAX {
        // Twice, and before what is wrong: nothing more of the entry is looked at.
        let known = matches!(kind & !0x40, 1..=3);
        let entry = v1_entry(0, &[kind, 1, 0, kind, 1, 0]);
        let unknown = Fault::OptionUnknown(kind & !0x40);
        if !known {
            let fault = (kind & 0x40 == 0).then_some(unknown);
            assert_eq!(between(&entry), fault);
        }
    }
    let entry = v1_entry(0, &[4, 1, 0, 1, 1, 1]);
    assert_eq!(between(&entry), Some(Fault::OptionUnknown(4)));
}

#[test]
fn an_entry_that_does_not_fit_ends_the_datagram() {
    // The header says that there is one more than there is.
    for (bytes, entries) in [
        (v1(2, &v1_entry(0, &[])), 1),
        (v1(1, &[]), 0),
        (v1(1, &v1_entry(0, &[])[..35]), 0),
        (v1(1, &v1_entry(1, &[])[..71]), 0),
        (v0(2, &v0_entry(3, 1, &[])), 1),
        (v0(1, &v0_entry(3, 1, &[])[..23]), 0),
        (v0(1, &v0_entry(0x403, 1, &[0; 23])), 0),
        // Its end, before which it is not padded, is the end of the datagram.
        (v1(2, &v1_entry(0, &[3, 1, b'n'])), 1),
    ] {
        let found = read(&bytes);
        assert_eq!(found.len(), entries + 1);
        assert_eq!(found.last(), Some(&Err(Fault::Truncated)));
        assert!(found[..entries].iter().all(Result::is_ok));
    }
    assert!(!Fault::Truncated.is_silent_in_c());
}

#[test]
fn the_length_of_an_entry_must_suit_its_type() {
    for size in 0..36 {
        let entry = changed(SIZE_AT, &[0, size]);
        assert_eq!(between(&entry), Some(Fault::EntryLength));
    }
    let mut entry = v1_entry(1, &[]);
    entry[SIZE_AT + 1] = 71;
    assert_eq!(between(&entry), Some(Fault::EntryLength));
    // The type is looked at first, and before it the version.
    let mut entry = changed(SIZE_AT, &[0, 0]);
    entry[0] = 2;
    assert_eq!(between(&entry), Some(Fault::EntryType(2)));
    for version in 1..16 {
        let entry = changed(0, &[2, 6, version << 4, 36]);
        assert_eq!(between(&entry), Some(Fault::EntryVersion(version)));
    }
    // All twelve bits count.
    let entry = changed(SIZE_AT, &[0x0f, 0xff]);
    assert_eq!(between(&entry), Some(Fault::Truncated));
}

#[test]
fn flags_of_connections_that_are_never_sent_are_refused() {
    for (flags, fine) in [
        (0, true),
        (CONN_F_NO_CPORT, true),
        (CONN_F_TEMPLATE, true),
        (CONN_F_NO_CPORT | CONN_F_TEMPLATE, false),
        (CONN_F_ONE_PACKET, false),
        (CONN_F_ONE_PACKET | CONN_F_TEMPLATE, false),
    ] {
        let fault = (!fine).then_some(Fault::Flags(flags));
        let entry = changed(FLAGS_AT, &flags.to_be_bytes());
        assert_eq!(between(&entry), fault);
        let entry = v0_entry(flags, 1, &[]);
        let bytes = v0(2, &[&entry[..], &v0_entry(3, 1, &[])].concat());
        let found = read(&bytes);
        assert_eq!((found[0].err(), found[1].is_ok()), (fault, true));
    }
}

#[test]
fn a_backup_takes_over_some_flags_only() {
    let read_flags = |bytes: &[u8]| match read(bytes)[..] {
        [Ok(Received::V4(entry))] => entry.flags,
        _ => panic!(),
    };
    let all = !(CONN_F_ONE_PACKET | CONN_F_TEMPLATE);
    let entry = changed(FLAGS_AT, &all.to_be_bytes());
    assert_eq!(read_flags(&v1(1, &entry)), 0x0fa7);
    let entry = v0_entry(all, 1, &[0; 24]);
    assert_eq!(read_flags(&v0(1, &entry)), 0x0fa7);
    let none = CONN_F_HASHED | CONN_F_NFCT;
    let entry = changed(FLAGS_AT, &none.to_be_bytes());
    assert_eq!(read_flags(&v1(1, &entry)), CONN_F_SYNC);
    // In version 1 there may be sequence numbers whatever the flags say.
    let entry = changed(FLAGS_AT, &CONN_F_IN_SEQ.to_be_bytes());
    assert_eq!(read_flags(&v1(1, &entry)), CONN_F_SYNC | CONN_F_IN_SEQ);
}

#[test]
fn a_state_must_be_one_of_the_protocol() {
    for (protocol, states) in [(6, 11), (17, 1), (132, 14), (50, 1), (51, 1)] {
        for state in 0..20 {
            let mut entry = changed(STATE_AT, &[0, state]);
            entry[1] = protocol;
            let known = u16::from(state) < states;
            let fault = (!known).then_some(Fault::State(protocol, state.into()));
            assert_eq!(between(&entry), fault);
            let mut entry = v0_entry(3, state.into(), &[]);
            entry[1] = protocol;
            assert_eq!(read(&v0(1, &entry))[0].err(), fault);
        }
    }
    assert_eq!(
        between(&changed(STATE_AT, &[1, 0])),
        Some(Fault::State(6, 256))
    );
    assert_eq!(between(&changed(1, &[1])), Some(Fault::Protocol(1)));
    // Templates have states of their own, and may be of any protocol.
    for state in 0..4 {
        let mut entry = changed(FLAGS_AT, &CONN_F_TEMPLATE.to_be_bytes());
        (entry[STATE_AT + 1], entry[1]) = (state, 0);
        let fault = (state > 1).then_some(Fault::TemplateState(state.into()));
        assert_eq!(between(&entry), fault);
    }
}

#[test]
fn persistence_data_needs_an_engine() {
    assert_eq!(between(&v1_entry(0, &[2, 1, 1])), Some(Fault::NoEngine));
    // The state is looked at first.
    let mut entry = v1_entry(0, &[2, 1, 1]);
    entry[STATE_AT] = 1;
    assert_eq!(between(&entry), Some(Fault::State(6, 257)));
    assert!(!Fault::NoEngine.is_silent_in_c());
}

#[test]
fn what_follows_the_last_entry_is_found() {
    let entry = v1_entry(0, &[3, 1, b'n']);
    let more = [1, 2, 3, 4, 5];
    let trailer = |bytes: &[u8]| Datagram::parse(bytes, 0).unwrap().trailer().to_vec();
    assert_eq!(trailer(&v1(0, &more)), more);
    assert_eq!(trailer(&v1(1, &[&entry[..], &[9], &more].concat())), more);
    assert_eq!(trailer(&v1(1, &entry)), []);
    assert_eq!(trailer(&v1(1, &[&entry[..], &[9]].concat())), []);
    assert_eq!(
        trailer(&v0(1, &[&v0_entry(3, 1, &[])[..], &more].concat())),
        []
    );
    // An entry that is left out does not matter; one that ends the datagram does.
    let left_out = changed(1, &[1]);
    assert_eq!(trailer(&v1(1, &[&left_out[..], &more].concat())), more);
    let wrong = changed(0, &[2]);
    assert_eq!(trailer(&v1(1, &[&wrong[..], &more].concat())), []);
}

#[test]
fn faults_have_a_text_and_a_consequence() {
    for (fault, text, ends, silent) in [
        (Fault::NoHeader, "it is too short for a header", true, true),
        (
            Fault::Length,
            "its length is not the one in its header",
            true,
            true,
        ),
        (Fault::SyncId(7), "it has sync id 7", true, true),
        (Fault::Truncated, "it ends within an entry", true, false),
        (
            Fault::EntryVersion(2),
            "entry of unknown version 2",
            true,
            false,
        ),
        (Fault::EntryType(2), "entry of unknown type 2", true, false),
        (
            Fault::EntryLength,
            "entry too short for its type",
            true,
            false,
        ),
        (
            Fault::OptionTruncated,
            "entry with an incomplete option",
            true,
            false,
        ),
        (
            Fault::OptionLength(1),
            "option 1 of a wrong length",
            true,
            false,
        ),
        (
            Fault::OptionTwice(3),
            "option 3 twice in an entry",
            true,
            false,
        ),
        (
            Fault::OptionUnknown(4),
            "entry with unknown option 4",
            false,
            true,
        ),
        (
            Fault::Flags(0x2000),
            "entry with unusable flags 0x2000",
            false,
            true,
        ),
        (
            Fault::Protocol(1),
            "entry of unknown protocol 1",
            false,
            true,
        ),
        (
            Fault::State(6, 11),
            "entry of TCP with unknown state 11",
            false,
            true,
        ),
        (
            Fault::TemplateState(2),
            "template with unknown state 2",
            false,
            true,
        ),
        (
            Fault::NoEngine,
            "persistence data without the name of an engine",
            false,
            false,
        ),
    ] {
        assert_eq!(fault.to_string(), text);
        assert_eq!(
            (fault.ends_datagram(), fault.is_silent_in_c()),
            (ends, silent)
        );
    }
}
