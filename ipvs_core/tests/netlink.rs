// SPDX-License-Identifier: GPL-2.0

//! Tests that arbitrary requests are parsed without a panic, and that the attributes found are
//! those that the kernel finds.

mod common;

use common::holds;
use ipvs_core::netlink::{
    attr::{
        self,
        Attrs, //
    },
    daemon,
    dest,
    service,
    timeout,
    Errno,
    COMMAND_POLICY, //
};
use proptest::{
    collection::vec,
    prelude::*, //
};

const CASES: u32 = 2000;

/// Generates attributes of any type and payload, most of them well-formed.
fn attrs() -> impl Strategy<Value = Vec<u8>> {
    let attr = (
        0u16..20,
        vec(any::<u8>(), 0..20),
        prop::bool::weighted(0.05),
    )
        .prop_map(|(kind, payload, wrong)| {
            let len = payload.len() as u16 + 4;
            let mut bytes = Vec::new();
            bytes.extend((if wrong { len ^ 0x1f } else { len }).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(payload);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        });
    (vec(attr, 0..8), 0usize..4).prop_map(|(attrs, cut)| {
        let mut bytes = attrs.concat();
        bytes.truncate(bytes.len().saturating_sub(cut));
        bytes
    })
}

/// Finds the offsets, types and payloads of attributes by signed arithmetic on the remaining
/// length.
fn slow(bytes: &[u8]) -> Vec<(usize, u16, &[u8])> {
    let mut found = Vec::new();
    let (mut at, mut remains) = (0usize, bytes.len() as i64);
    while remains >= 4 {
        let len = u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        if len < 4 || i64::from(len) > remains {
            break;
        }
        let kind = u16::from_ne_bytes([bytes[at + 2], bytes[at + 3]]) & 0x3fff;
        found.push((at, kind, &bytes[at + 4..at + usize::from(len)]));
        at += usize::from(len).next_multiple_of(4);
        remains -= i64::from(len).div_euclid(4) * 4 + if len % 4 == 0 { 0 } else { 4 };
    }
    found
}

#[test]
fn attributes_are_found_where_they_are() {
    holds(CASES, attrs(), |bytes| {
        let found: Vec<_> = Attrs::new(&bytes, 0)
            .map(|attr| (attr.offset, attr.kind, attr.payload))
            .collect();
        prop_assert_eq!(found, slow(&bytes));
        Ok(())
    });
}

#[test]
fn the_first_bad_attribute_is_the_error() {
    holds(CASES, attrs(), |bytes| {
        // Attributes of a request are bad if they are shorter than 4 bytes, except empty nests.
        let bad = slow(&bytes)
            .into_iter()
            .find(|&(_, kind, payload)| match kind {
                1..=3 => !payload.is_empty() && payload.len() < 4,
                4..=6 => payload.len() < 4,
                _ => false,
            });
        match (attr::parse(Attrs::new(&bytes, 0), &COMMAND_POLICY), bad) {
            (Err(error), Some((at, _, _))) => {
                prop_assert_eq!((error.at, error.errno), (Some(at), Errno::RANGE));
            }
            (Ok(found), None) => {
                for (kind, found) in (0..).zip(found) {
                    let last = slow(&bytes)
                        .into_iter()
                        .rev()
                        .find(|attr| attr.1 == kind && kind != 0);
                    prop_assert_eq!(found.map(|attr| attr.offset), last.map(|attr| attr.0));
                }
            }
            (result, bad) => prop_assert!(false, "{:?} {:?}", result, bad),
        }
        Ok(())
    });
}

#[test]
fn whatever_is_sent_is_answered() {
    holds(
        CASES,
        (attrs(), 1u16..4, any::<bool>()),
        |(inner, kind, ipv6)| {
            let mut bytes = Vec::new();
            bytes.extend((inner.len() as u16 + 4).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(inner);
            let nest = Attrs::new(&bytes, 20).next();

            let errnos = [
                service::parse_id(nest, ipv6).err(),
                service::parse(nest, ipv6).err(),
                dest::parse_id(nest).err(),
                dest::parse(nest).err(),
                daemon::parse(nest).err(),
                daemon::parse_state(nest).err(),
            ];
            for error in errnos.into_iter().flatten() {
                prop_assert!(matches!(error.errno, Errno::INVAL | Errno::AFNOSUPPORT));
                prop_assert!(!error.message.is_empty());
                if let Some(at) = error.at {
                    prop_assert!((20..20 + bytes.len()).contains(&at));
                }
            }
            if let Ok(spec) = dest::parse(nest) {
                let _ = spec.check();
            }
            if let Ok(attrs) = attr::parse(Attrs::new(&bytes, 0), &COMMAND_POLICY) {
                let _ = timeout::parse(&attrs, 250);
                let _ = timeout::parse(&attrs, 0);
            }
            Ok(())
        },
    );
}

#[test]
fn strings_are_judged_as_by_the_kernel() {
    holds(
        CASES,
        vec(prop_oneof![Just(0u8), Just(b'a')], 0..24),
        |payload| {
            const MAX: usize = 15;
            let mut bytes = Vec::new();
            bytes.extend((payload.len() as u16 + 4).to_ne_bytes());
            bytes.extend(6u16.to_ne_bytes());
            bytes.extend(&payload);
            let terminated = payload[..payload.len().min(MAX + 1)].contains(&0);
            let text = payload.len() - usize::from(payload.last() == Some(&0));
            let expected = match (terminated, text <= MAX) {
                (false, _) => Err(Errno::INVAL),
                (true, false) => Err(Errno::RANGE),
                (true, true) => Ok(()),
            };
            let found = attr::parse(Attrs::new(&bytes, 0), &service::POLICY);
            prop_assert_eq!(found.map(drop).map_err(|error| error.errno), expected);
            Ok(())
        },
    );
}
