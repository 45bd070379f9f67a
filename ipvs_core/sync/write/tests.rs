// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::{
    net::{
        Be128,
        Be16,
        Be32, //
    },
    netlink::{
        CONN_F_INACTIVE,
        CONN_F_IN_SEQ,
        CONN_F_NFCT,
        CONN_F_OUT_SEQ,
        FWD_DROUTE, //
    },
    sync::HEADER_LEN_V1, //
};

const SEQS: Seqs = Seqs {
    input: Seq {
        init_seq: 0x0102_0304,
        delta: 0x0506_0708,
        previous_delta: 0x090a_0b0c,
    },
    output: Seq {
        init_seq: 0x1112_1314,
        delta: 0x1516_1718,
        previous_delta: 0x191a_1b1c,
    },
};

fn entry<A>(caddr: A, vaddr: A, daddr: A) -> Entry<'static, A> {
    Entry {
        protocol: 6,
        caddr,
        vaddr,
        daddr,
        cport: Be16::new(0x1234),
        vport: Be16::new(0x5678),
        dport: Be16::new(0x9abc),
        flags: CONN_F_INACTIVE | FWD_DROUTE | CONN_F_HASHED | CONN_F_NFCT,
        state: 0x0102,
        fwmark: 0xa1a2_a3a4,
        timeout: 0xb1b2_b3b4,
        seqs: None,
        pe: None,
    }
}

fn v4() -> Entry<'static, Be32> {
    entry(
        Be32::from_bytes([10, 0, 0, 1]),
        Be32::from_bytes([10, 0, 0, 2]),
        Be32::from_bytes([10, 0, 0, 3]),
    )
}

fn v6() -> Entry<'static, Be128> {
    entry(Be128::new(1), Be128::new(2), Be128::new(3 << 120))
}

/// The longest entry that there is for IPv4.
fn longest() -> Entry<'static, Be32> {
    Entry {
        seqs: Some(SEQS),
        pe: Some(PeEntry {
            name: &[b'n'; 20],
            data: &[b'd'; 300],
        }),
        ..v4()
    }
}

#[test]
fn version_0_has_the_bytes_of_the_c_module() {
    let with_seqs = Entry {
        flags: CONN_F_OUT_SEQ,
        seqs: Some(SEQS),
        ..v4()
    };
    let mut buffer = [0xff; 80];
    let mut message = Message::begin(&mut buffer, Version::V0, 7);
    assert_eq!(buffer[..5], [0, 7, 0, 4, 0xff]);
    message.add(&mut buffer, &v4()).unwrap();
    message.add(&mut buffer, &with_seqs).unwrap();

    let mut want = vec![2, 7, 0, 76];
    // Reserved, protocol, ports.
    let start = [0, 6, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc];
    let addrs = [10, 0, 0, 1, 10, 0, 0, 2, 10, 0, 0, 3];
    want.extend(start);
    want.extend(addrs);
    // Flags, state.
    want.extend([0x01, 0x03, 0x01, 0x02]);
    want.extend(start);
    want.extend(addrs);
    want.extend([0x02, 0x00, 0x01, 0x02]);
    for number in [
        0x0102_0304u32,
        0x0506_0708,
        0x090a_0b0c,
        0x1112_1314,
        0x1516_1718,
        0x191a_1b1c,
    ] {
        want.extend(number.to_ne_bytes());
    }
    assert_eq!(buffer[..message.total_len()], want);
    assert_eq!((message.version(), message.entries()), (Version::V0, 2));
    assert_eq!(buffer[76..], [0xff; 4]);
}

#[test]
fn version_1_has_the_bytes_of_the_c_module() {
    let with_pe = Entry {
        pe: Some(PeEntry {
            name: b"sip",
            data: b"1@a",
        }),
        ..v4()
    };
    let with_seqs = Entry {
        seqs: Some(SEQS),
        ..v6()
    };
    let mut buffer = [0xff; 160];
    let mut message = Message::begin(&mut buffer, Version::V1, 7);
    assert_eq!(buffer[..9], [0, 7, 0, 8, 0, 1, 0, 0, 0xff]);
    message.add(&mut buffer, &with_pe).unwrap();
    // The last entry is not padded.
    assert_eq!((message.total_len(), buffer[3], buffer[54]), (54, 54, 0xff));
    message.add(&mut buffer, &with_seqs).unwrap();

    let mut want = vec![0, 7, 0, 154, 2, 1, 0, 0];
    // After type, protocol and length: flags, state, ports, mark, timeout.
    let fields = [
        0x00, 0x01, 0x01, 0x03, 0x01, 0x02, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xa1, 0xa2, 0xa3,
        0xa4, 0xb1, 0xb2, 0xb3, 0xb4,
    ];
    want.extend([0, 6, 0, 46]);
    want.extend(fields);
    want.extend([10, 0, 0, 1, 10, 0, 0, 2, 10, 0, 0, 3]);
    want.extend([2, 3, b'1', b'@', b'a', 3, 3, b's', b'i', b'p']);
    want.extend([0, 0]);
    want.extend([1, 6, 0, 98]);
    want.extend(fields);
    let mut addrs = [0; 48];
    (addrs[15], addrs[31], addrs[32]) = (1, 2, 3);
    want.extend(addrs);
    want.extend([1, 24, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    want.extend([17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28]);
    assert_eq!(buffer[..message.total_len()], want);
    assert_eq!((message.version(), message.entries()), (Version::V1, 2));
    assert_eq!(buffer[154..], [0xff; 6]);
}

#[test]
fn a_full_datagram_stays_as_it_is() {
    for version in [Version::V0, Version::V1] {
        let need = version.header_len() + size(version, &v4());
        let mut buffer = vec![0; need];
        let mut message = Message::begin(&mut buffer, version, 0);
        message.add(&mut buffer, &v4()).unwrap();
        let (before, sent) = (message, buffer.clone());
        assert_eq!(message.total_len(), need);
        assert_eq!(message.add(&mut buffer, &v4()), Err(Full));
        assert_eq!((message, buffer), (before, sent));

        let mut short = vec![0; need - 1];
        let mut message = Message::begin(&mut short, version, 0);
        let (before, sent) = (message, short.clone());
        assert_eq!(message.add(&mut short, &v4()), Err(Full));
        assert_eq!((message, short), (before, sent));
    }
    let mut message = Message::begin(&mut [], Version::V1, 0);
    assert_eq!(message.add(&mut [], &v4()), Err(Full));
}

#[test]
fn padding_needs_room_as_well() {
    let odd = Entry {
        pe: Some(PeEntry {
            name: &[],
            data: b"x",
        }),
        ..v4()
    };
    assert_eq!(size(Version::V1, &odd), 39);
    let mut buffer = [0; HEADER_LEN_V1 + 39 + 1 + 36];
    for (len, fits) in [(buffer.len(), Ok(())), (buffer.len() - 1, Err(Full))] {
        let buffer = &mut buffer[..len];
        let mut message = Message::begin(buffer, Version::V1, 0);
        message.add(buffer, &odd).unwrap();
        assert_eq!(message.add(buffer, &v4()), fits);
    }
}

#[test]
fn a_datagram_has_no_more_entries_than_its_header_can_say() {
    for (version, count_at) in [(Version::V0, 0), (Version::V1, 4)] {
        let mut buffer = vec![0; 20_000];
        let mut message = Message::begin(&mut buffer, version, 0);
        for entries in 1..=255 {
            message.add(&mut buffer, &v4()).unwrap();
            assert_eq!((buffer[count_at], message.entries()), (entries, entries));
        }
        assert_eq!(message.add(&mut buffer, &v4()), Err(Full));
    }
}

#[test]
fn a_datagram_is_no_longer_than_its_header_can_say() {
    let mut buffer = vec![0; 80_000];
    let mut message = Message::begin(&mut buffer, Version::V1, 0);
    while message.add(&mut buffer, &longest()).is_ok() {}
    assert_eq!(size(Version::V1, &longest()), 337);
    // With its padding an entry takes 340 bytes.
    assert_eq!(usize::from(message.entries()), (65_535 - 8) / 340);
    assert_eq!(
        buffer[2..4],
        u16::try_from(message.total_len()).unwrap().to_be_bytes()
    );
}

#[test]
fn version_0_leaves_ipv6_out() {
    let mut buffer = [0; 200];
    let mut message = Message::begin(&mut buffer, Version::V0, 0);
    assert_eq!(size(Version::V0, &v6()), 0);
    assert_eq!(message.add(&mut buffer, &v6()), Ok(()));
    assert_eq!((message.entries(), message.total_len()), (0, 4));
    assert_eq!(buffer[..4], [0, 0, 0, 4]);
}

#[test]
fn the_flags_of_version_0_tell_whether_there_are_sequence_numbers() {
    let mut buffer = [0xff; 52];
    for (flags, seqs, len) in [
        (0, Some(SEQS), 28),
        (0, None, 28),
        (CONN_F_IN_SEQ, None, 52),
        (CONN_F_IN_SEQ, Some(SEQS), 52),
    ] {
        let entry = Entry {
            flags,
            seqs,
            ..v4()
        };
        let mut message = Message::begin(&mut buffer, Version::V0, 0);
        message.add(&mut buffer, &entry).unwrap();
        assert_eq!(message.total_len(), len);
        if len == 52 {
            assert_eq!(buffer[28..] == [0; 24], seqs.is_none());
        }
    }
}

#[test]
fn options_are_no_longer_than_a_reader_accepts() {
    let mut buffer = [0; 400];
    let mut message = Message::begin(&mut buffer, Version::V1, 0);
    message.add(&mut buffer, &longest()).unwrap();
    let options = &buffer[HEADER_LEN_V1 + ENTRY_LEN_V1_IPV4 + 26..message.total_len()];
    let (data, name) = options.split_at(257);
    assert_eq!((data[..2] == [2, 255], name[..2] == [3, 16]), (true, true));
    assert_eq!(
        (&data[2..], &name[2..]),
        (&[b'd'; 255][..], &[b'n'; 16][..])
    );

    // A name alone is not written.
    let named = Entry {
        pe: Some(PeEntry {
            name: b"sip",
            data: &[],
        }),
        ..v4()
    };
    assert_eq!(size(Version::V1, &named), ENTRY_LEN_V1_IPV4);
}
