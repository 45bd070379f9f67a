// SPDX-License-Identifier: GPL-2.0

//! Netlink requests: any request is parsed without a panic, and errors point into the message.

use super::input::Input;
use ipvs_core::netlink::{
    attr::{
        parse,
        Attr,
        AttrError,
        Attrs,
        Errno, //
    },
    daemon,
    dest,
    service,
    timeout,
    COMMAND_POLICY, //
};

/// Finds the offset, type and payload of each attribute, independently of the code.
fn slow(bytes: &[u8]) -> Vec<(usize, u16, &[u8])> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 4 <= bytes.len() {
        let len = usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
        if len < 4 || at + len > bytes.len() {
            break;
        }
        let kind = u16::from_ne_bytes([bytes[at + 2], bytes[at + 3]]) % 0x4000;
        found.push((at, kind, &bytes[at + 4..at + len]));
        at += len.div_ceil(4) * 4;
    }
    found
}

/// Returns the last attribute of a type in `nest`.
fn last(nest: Attr<'_>, kind: u16) -> Option<&[u8]> {
    let all = slow(nest.payload).into_iter().rev();
    all.filter(|attr| attr.1 == kind).map(|attr| attr.2).next()
}

fn u32_of(payload: Option<&[u8]>) -> Option<u32> {
    payload
        .and_then(|p| p.first_chunk())
        .map(|head| u32::from_ne_bytes(*head))
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let how = input.u8();
    let (ipv6, base) = (how & 1 != 0, usize::from(how >> 1) * 4);
    let message = input.rest();

    let found: Vec<_> = Attrs::new(message, base)
        .map(|attr| (attr.offset - base, attr.kind, attr.payload))
        .collect();
    assert_eq!(found, slow(message));

    let inside = |error: AttrError| {
        let AttrError {
            errno,
            message: text,
            at,
            ..
        } = error;
        assert!([Errno::INVAL, Errno::RANGE, Errno::AFNOSUPPORT].contains(&errno));
        assert!(!text.is_empty());
        if let Some(at) = at {
            assert!((base..base + message.len()).contains(&at));
        }
    };
    let attrs = match parse(Attrs::new(message, base), &COMMAND_POLICY) {
        Ok(attrs) => attrs,
        Err(error) => return inside(error),
    };
    for (kind, attr) in (0..).zip(&attrs) {
        let last = found.iter().rev().find(|f| f.1 == kind && kind != 0);
        assert_eq!(attr.map(|attr| attr.payload), last.map(|f| f.2));
    }
    let [_, service, dest, daemon, ..] = attrs;

    match timeout::parse(&attrs, u32::from(how)) {
        Ok(config) => {
            for set in [config.tcp, config.tcp_fin, config.udp]
                .into_iter()
                .flatten()
            {
                assert!(set != 0 && u64::from(set) * u64::from(how) <= i32::MAX as u64);
            }
        }
        Err(error) => inside(error),
    }
    match (
        service::parse_id(service, ipv6),
        service::parse(service, ipv6),
    ) {
        (Ok(id), Ok(spec)) => {
            assert_eq!(id, spec.id);
            let nest = service.unwrap();
            assert!(id.family == 2 || ipv6 && id.family == 10);
            assert_eq!(last(nest, 5).is_some(), u32_of(last(nest, 5)).is_some());
            assert_eq!(id.fwmark, u32_of(last(nest, 5)).unwrap_or(0));
            assert_eq!(Some(spec.timeout), u32_of(last(nest, 8)));
            assert!(spec.sched_name.len() <= 15 && !spec.sched_name.contains(&0));
            assert!(spec
                .pe_name
                .is_none_or(|name| name.len() <= 16 && !name.contains(&0)));
            let old = u32::from(how);
            let new = spec.flags.apply(old);
            assert_eq!((old ^ new) & !spec.flags.mask, 0);
            assert_eq!((new ^ spec.flags.value) & spec.flags.mask, 0);
        }
        (Ok(_), Err(error)) => inside(error),
        (Err(error), second) => {
            assert_eq!(second, Err(error));
            inside(error);
        }
    }
    match (dest::parse_id(dest), dest::parse(dest)) {
        (Ok(id), Ok(spec)) => {
            assert_eq!(id, spec.id);
            assert!(spec.fwd_method < 8);
            assert_eq!(Some(spec.weight as u32), u32_of(last(dest.unwrap(), 4)));
            if spec.check().is_ok() {
                assert!(spec.weight >= 0 && spec.lower <= spec.upper && spec.upper < 1 << 31);
            }
            if let Ok(family) = id.family(2, ipv6) {
                assert!(family == 2 || ipv6 && family == 10);
                assert!(spec.check_mixed(family, 2, true).is_ok() == (family == 2));
            }
        }
        (Ok(_), Err(error)) => inside(error),
        (Err(error), second) => {
            assert_eq!(second, Err(error));
            inside(error);
        }
    }
    match (daemon::parse_state(daemon), daemon::parse(daemon)) {
        (Ok(state), Ok(spec)) => {
            assert_eq!(state, spec.state);
            assert!(spec.interface.len() <= 15 && !spec.interface.contains(&0));
            if let Some((family, addr)) = spec.group {
                assert!(family == 2 && addr[0] >> 4 == 14 || family == 10 && addr[0] == 255);
            }
        }
        (Ok(_), Err(error)) => inside(error),
        (Err(error), second) => {
            assert_eq!(second, Err(error));
            inside(error);
        }
    }
}
