// SPDX-License-Identifier: GPL-2.0

//! Datagrams of sync daemons, compared with a plain reading of the same bytes. What was read is
//! written again, and read again.

use super::input::Input;
use ipvs_core::{
    net::Address,
    sync::{
        size,
        Datagram,
        Entry,
        Full,
        Message,
        Received,
        Version, //
    },
};

/// What becomes of an entry.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// It counts, and these bytes say the same.
    Taken(Vec<u8>),
    /// It is left out.
    Skipped,
    /// It is left out, and with it what follows.
    Dropped,
}

use Outcome::*;

fn be16(bytes: &[u8], at: usize) -> usize {
    u16::from_be_bytes([bytes[at], bytes[at + 1]]).into()
}

/// Checks flags and state. Returns the low half of the flags that count.
fn flags_of(flags: usize, state: usize, protocol: u8) -> Option<[u8; 2]> {
    let states = match protocol {
        _ if flags & 0x1000 != 0 => 2,
        6 => 11,
        17 | 50 | 51 => 1,
        132 => 14,
        _ => 0,
    };
    let refused = flags & 0x1800 == 0x1800 || flags & 0x2000 != 0 || state >= states;
    let flags = (flags & 0x1f87) | 0x20;
    (!refused).then_some([(flags >> 8) as u8, flags as u8])
}

/// Reads an entry of version 0. Returns its length.
fn slow_v0(bytes: &[u8]) -> (Outcome, usize) {
    if bytes.len() < 24 {
        return (Dropped, 0);
    }
    let len = if bytes[20] & 6 == 0 { 24 } else { 48 };
    if bytes.len() < len {
        return (Dropped, 0);
    }
    let mut same = bytes[..len].to_vec();
    let Some(flags) = flags_of(be16(bytes, 20), be16(bytes, 22), bytes[1]) else {
        return (Skipped, len);
    };
    same[0] = 0;
    same[20..22].copy_from_slice(&flags);
    (Taken(same), len)
}

/// Reads an entry of version 1. Returns its length with padding.
fn slow_v1(bytes: &[u8]) -> (Outcome, usize) {
    if bytes.len() < 36 || bytes.len() < be16(bytes, 2) % 4096 || bytes[2] >= 16 {
        return (Dropped, 0);
    }
    let (size, is_ipv6) = (be16(bytes, 2) % 4096, bytes[0] % 2 == 1);
    let mut at = if is_ipv6 { 72 } else { 36 };
    if (!is_ipv6 && bytes[0] != 0) || size < at {
        return (Dropped, 0);
    }
    let mut same = bytes[..at].to_vec();
    let mut options: [Option<&[u8]>; 4] = [None; 4];
    while at < size {
        let kind = bytes[at] & !0x40;
        if at + 2 > size || bytes[at + 1] == 0 || at + 2 + usize::from(bytes[at + 1]) > size {
            return (Dropped, 0);
        }
        let content = &bytes[at + 2..at + 2 + usize::from(bytes[at + 1])];
        at += 2 + content.len();
        match kind {
            1..=3 => {
                let wrong = kind == 1 && content.len() != 24 || kind == 3 && content.len() > 16;
                if wrong || options[usize::from(kind)].replace(content).is_some() {
                    return (Dropped, 0);
                }
            }
            _ if bytes[at - content.len() - 2] & 0x40 == 0 => {
                return (Skipped, size.next_multiple_of(4));
            }
            _ => (),
        }
    }
    let size = size.next_multiple_of(4);
    let Some(flags) = flags_of(be16(bytes, 6), be16(bytes, 8), bytes[1]) else {
        return (Skipped, size);
    };
    let [_, seqs, data, name] = options;
    if data.is_some() && name.is_none() {
        return (Skipped, size);
    }
    let name = data
        .and(name)
        .and_then(|name| name.split(|&byte| byte == 0).next());
    for (kind, content) in [(1, seqs), (2, data), (3, name)] {
        if let Some(content) = content.filter(|content| !content.is_empty()) {
            same.extend([kind, content.len() as u8]);
            same.extend(content);
        }
    }
    let len = same.len() as u16;
    same[0] = is_ipv6.into();
    same[2..4].copy_from_slice(&len.to_be_bytes());
    same[4..6].fill(0);
    same[6..8].copy_from_slice(&flags);
    (Taken(same), size)
}

/// Reads a datagram. Returns what becomes of its entries, and what follows the last one; `None` if
/// nothing of it counts.
fn slow(bytes: &[u8], syncid: u8) -> Option<(Vec<Outcome>, &[u8])> {
    if bytes.len() < 4 || be16(bytes, 2) != bytes.len() || ![0, bytes[1]].contains(&syncid) {
        return None;
    }
    let is_v1 = bytes.len() >= 8 && bytes[0] == 0 && bytes[5..8] == [1, 0, 0];
    let (count, read, mut at) = match is_v1 {
        true => (bytes[4], slow_v1 as fn(&[u8]) -> _, 8),
        false => (bytes[0], slow_v0 as fn(&[u8]) -> _, 4),
    };
    let mut outcomes = Vec::new();
    for _ in 0..count {
        let (outcome, len) = read(&bytes[at.min(bytes.len())..]);
        at += len;
        outcomes.push(outcome);
        if outcomes.last() == Some(&Dropped) {
            return Some((outcomes, &[]));
        }
    }
    let rest = if is_v1 {
        &bytes[at.min(bytes.len())..]
    } else {
        &[]
    };
    Some((outcomes, rest))
}

/// Writes an entry into a datagram of its own. Returns its bytes.
fn written<A: Address>(version: Version, entry: &Entry<'_, A>) -> Vec<u8> {
    let need = version.header_len() + size(version, entry);
    let mut short = vec![0; need - 1];
    let mut message = Message::begin(&mut short, version, 9);
    assert_eq!(message.add(&mut short, entry), Err(Full));
    let mut buffer = vec![0; need];
    let mut message = Message::begin(&mut buffer, version, 9);
    message.add(&mut buffer, entry).unwrap();
    assert_eq!((message.total_len(), message.entries()), (need, 1));

    let again = Datagram::parse(&buffer, 9).unwrap();
    assert_eq!((again.version(), again.trailer()), (version, &[][..]));
    let [Ok(received)] = again.entries().collect::<Vec<_>>()[..] else {
        panic!("not one entry");
    };
    match received {
        Received::V4(again) => assert_eq!(format!("{again:?}"), format!("{entry:?}")),
        Received::V6(again) => assert_eq!(format!("{again:?}"), format!("{entry:?}")),
    }
    buffer.split_off(version.header_len())
}

fn check(bytes: &[u8], syncid: u8) {
    let datagram = match Datagram::parse(bytes, syncid) {
        Ok(datagram) => datagram,
        Err(fault) => {
            assert!(slow(bytes, syncid).is_none() && fault.ends_datagram());
            return;
        }
    };
    let version = datagram.version();
    let outcomes: Vec<_> = datagram
        .entries()
        .map(|entry| match entry {
            Ok(Received::V4(entry)) => Taken(written(version, &entry)),
            Ok(Received::V6(entry)) => Taken(written(version, &entry)),
            Err(fault) if fault.ends_datagram() => Dropped,
            Err(_) => Skipped,
        })
        .collect();
    assert_eq!(Some((outcomes, datagram.trailer())), slow(bytes, syncid));
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let syncid = input.u8();
    let mut bytes = input.rest().to_vec();
    check(&bytes, syncid);
    // With a header that is right.
    let [high, low] = (bytes.len() as u16).to_be_bytes();
    if let [_, id, lengths @ ..] = &mut bytes[..] {
        if let Some(length) = lengths.first_chunk_mut() {
            *length = [high, low];
            let syncid = *id;
            check(&bytes, syncid);
        }
    }
}
