// SPDX-License-Identifier: GPL-2.0

//! Tests that what is written into datagrams of sync daemons is read from them, and that datagrams
//! which are nearly right, and connections which are nearly due, are taken for what they are.

mod common;
#[path = "../../tools/testing/fuzz/targets/mod.rs"]
mod targets;

use common::holds;
use ipvs_core::{
    net::{
        Be128,
        Be16,
        Be32, //
    },
    netlink::{
        CONN_F_SYNC,
        CONN_F_TEMPLATE, //
    },
    sync::{
        size,
        Datagram,
        Entry,
        Full,
        Message,
        PeEntry,
        Received,
        Seq,
        Seqs,
        Version,
        BACKUP_MASK,
        SEQ_MASK, //
    },
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::select, //
};

const CASES: u32 = 2000;

/// An entry of IPv6, from which one of IPv4 may be made.
#[derive(Clone, Debug)]
struct Sample {
    is_ipv6: bool,
    entry: Entry<'static, Be128>,
    name: Vec<u8>,
    data: Vec<u8>,
}

fn seqs() -> impl Strategy<Value = Seqs> {
    any::<[u32; 6]>().prop_map(|[a, b, c, d, e, f]| {
        let seq = |init_seq, delta, previous_delta| Seq {
            init_seq,
            delta,
            previous_delta,
        };
        Seqs {
            input: seq(a, b, c),
            output: seq(d, e, f),
        }
    })
}

/// Generates entries that a reader accepts.
fn sample() -> impl Strategy<Value = Sample> {
    let kind = (
        select(vec![(6, 11), (17, 1), (132, 14), (50, 1), (51, 1)]),
        any::<u16>(),
        any::<bool>(),
        any::<u32>(),
    );
    let ends = (any::<[u128; 3]>(), any::<[u16; 3]>());
    let rest = (any::<u32>(), any::<u32>(), option::of(seqs()));
    let pe = (vec(1..=u8::MAX, 1..=16), vec(any::<u8>(), 0..=255));
    (kind, ends, rest, any::<bool>(), pe).prop_map(
        |(kind, (addrs, ports), (fwmark, timeout, seqs), is_ipv6, (name, data))| {
            let ((protocol, states), state, is_template, flags) = kind;
            // A template's client port is known.
            let (flags, states) = match is_template {
                true => ((flags | CONN_F_TEMPLATE) & !0x800, 2),
                false => (flags & !CONN_F_TEMPLATE, states),
            };
            let flags = flags & BACKUP_MASK & !SEQ_MASK | CONN_F_SYNC;
            let [caddr, vaddr, daddr] = addrs.map(Be128::new);
            let [cport, vport, dport] = ports.map(Be16::new);
            let entry = Entry {
                protocol,
                caddr,
                vaddr,
                daddr,
                cport,
                vport,
                dport,
                flags: flags | seqs.map_or(0, |_| SEQ_MASK),
                state: state % states,
                fwmark,
                timeout,
                seqs,
                pe: None,
            };
            Sample {
                is_ipv6,
                entry,
                name,
                data,
            }
        },
    )
}

/// Returns the entry as it arrives in this version; `None` if it does not.
fn received(sample: &Sample, version: Version) -> Option<Received<'_>> {
    let Sample {
        is_ipv6,
        entry,
        name,
        data,
    } = sample;
    let pe = (!data.is_empty()).then_some(PeEntry { name, data });
    let v6 = Entry { pe, ..*entry };
    if *is_ipv6 {
        return (version == Version::V1).then_some(Received::V6(v6));
    }
    let is_v1 = version == Version::V1;
    let [caddr, vaddr, daddr] = [entry.caddr, entry.vaddr, entry.daddr].map(|addr| addr.words()[0]);
    Some(Received::V4(Entry::<Be32> {
        caddr,
        vaddr,
        daddr,
        protocol: v6.protocol,
        cport: v6.cport,
        vport: v6.vport,
        dport: v6.dport,
        flags: v6.flags,
        state: v6.state,
        fwmark: if is_v1 { v6.fwmark } else { 0 },
        timeout: if is_v1 { v6.timeout } else { 0 },
        seqs: v6.seqs,
        pe: v6.pe.filter(|_| is_v1),
    }))
}

fn add(message: &mut Message, buffer: &mut [u8], entry: &Received<'_>) -> Result<(), Full> {
    match entry {
        Received::V4(entry) => message.add(buffer, entry),
        Received::V6(entry) => message.add(buffer, entry),
    }
}

fn size_of(version: Version, entry: &Received<'_>) -> usize {
    match entry {
        Received::V4(entry) => size(version, entry),
        Received::V6(entry) => size(version, entry),
    }
}

#[test]
fn what_is_written_is_read() {
    let values = (
        vec(sample(), 0..12),
        any::<bool>(),
        any::<u8>(),
        8usize..3000,
    );
    holds(CASES, values, |(samples, is_v1, syncid, len)| {
        let version = if is_v1 { Version::V1 } else { Version::V0 };
        let entries: Vec<_> = samples
            .iter()
            .filter_map(|sample| received(sample, version))
            .collect();
        let mut buffer = vec![0xff; len];
        let mut message = Message::begin(&mut buffer, version, syncid);
        let mut count = 0;
        for entry in &entries {
            let need = message.total_len().next_multiple_of(4) + size_of(version, entry);
            let added = add(&mut message, &mut buffer, entry);
            prop_assert_eq!(added.is_ok(), need <= len);
            if added.is_err() {
                break;
            }
            prop_assert_eq!(message.total_len(), need);
            count += 1;
        }
        prop_assert_eq!(usize::from(message.entries()), count);

        // What is behind the datagram was not touched, and does not belong to it.
        let (sent, rest) = buffer.split_at(message.total_len());
        prop_assert!(rest.iter().all(|&byte| byte == 0xff));
        let datagram = Datagram::parse(sent, syncid).unwrap();
        prop_assert_eq!(datagram.version(), version);
        prop_assert_eq!(datagram.syncid(), syncid);
        prop_assert!(datagram.trailer().is_empty());
        let read: Result<Vec<_>, _> = datagram.entries().collect();
        prop_assert_eq!(read.unwrap(), &entries[..count]);
        Ok(())
    });
}

fn run(target: &str, data: &[u8]) {
    let (_, run) = targets::ALL
        .iter()
        .find(|(name, _)| *name == target)
        .unwrap();
    run(data);
}

/// Generates an option, most often one that is known and right.
fn option_of_entry() -> impl Strategy<Value = Vec<u8>> {
    let content = prop_oneof![
        2 => Just(24).boxed(),
        2 => (1u8..17).boxed(),
        1 => any::<u8>().boxed(),
    ];
    let kind = select(vec![1, 2, 3, 3, 0x41, 0x42, 0x43, 0x44, 0x7f, 4]);
    let len_is_wrong = prop::bool::weighted(0.02);
    (kind, content, any::<u8>(), len_is_wrong).prop_map(|(kind, len, byte, wrong)| {
        let mut option = vec![kind, if wrong { byte } else { len }];
        option.extend(vec![byte; usize::from(len)]);
        option
    })
}

/// Generates an entry of version 1, most often one that is right.
fn entry_v1() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![4 => 0u8..2, 1 => any::<u8>()];
    let protocol = prop_oneof![8 => select(vec![6, 17, 132, 50, 51]), 1 => any::<u8>()];
    let flags = prop_oneof![4 => (0u32..0x400).boxed(), 1 => any::<u32>().boxed()];
    let state = prop_oneof![4 => 0u16..2, 1 => 0u16..16, 1 => any::<u16>()];
    let options = vec(option_of_entry(), 0..4);
    let size = option::weighted(0.05, any::<u16>());
    let fixed = (kind, protocol, flags, state, any::<[u8; 62]>());
    (fixed, options, size).prop_map(|((kind, protocol, flags, state, rest), options, size)| {
        let mut entry = vec![kind, protocol, 0, 0];
        entry.extend(flags.to_be_bytes());
        entry.extend(state.to_be_bytes());
        entry.extend(&rest[..if kind & 1 == 0 { 26 } else { 62 }]);
        entry.extend(options.concat());
        let size = size.unwrap_or(entry.len() as u16);
        entry[2..4].copy_from_slice(&size.to_be_bytes());
        entry.resize(entry.len().next_multiple_of(4), 0);
        entry
    })
}

#[test]
fn datagrams_that_are_nearly_right_are_taken_for_what_they_are() {
    let values = (vec(entry_v1(), 0..6), 0u8..3, 0usize..6);
    holds(CASES, values, |(entries, more, cut)| {
        let mut data = vec![0, 0, 7, 0, 0, entries.len() as u8 + more / 2, 1, 0, 0];
        data.extend(entries.concat());
        data.truncate(data.len() - cut);
        // The target compares.
        run("sync", &data);
        Ok(())
    });
}

#[test]
fn a_connection_is_sent_when_it_is_due() {
    let ticks = prop_oneof![
        0u64..1_000_000,
        any::<u64>(),
        u64::MAX - 1_000_000..u64::MAX
    ];
    let rules = (-3i32..6, -1i32..6, 0u32..200_000, any::<[u8; 3]>());
    let subject = (any::<[u8; 2]>(), 0u8..16, 0u8..16);
    let times = (0u64..600_000, ticks, 0u64..400_000, -3i32..20);
    holds(
        CASES * 10,
        (rules, subject, times),
        |(rules, subject, times)| {
            let (threshold, period, refresh, small) = rules;
            let ([protocol, template], state, old_state) = subject;
            let (timeout, word, later, packets) = times;
            let mut data = Vec::new();
            data.extend(threshold.to_le_bytes());
            data.extend(period.to_le_bytes());
            data.extend(refresh.to_le_bytes());
            data.extend(small);
            data.extend([0, protocol, template, state, old_state]);
            data.extend(timeout.to_le_bytes());
            data.extend(word.to_le_bytes());
            data.extend(packets.to_le_bytes());
            data.extend(word.wrapping_add(later).wrapping_sub(timeout).to_le_bytes());
            // The target compares.
            run("sync_due", &data);
            Ok(())
        },
    );
}
