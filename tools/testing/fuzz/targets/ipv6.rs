// SPDX-License-Identifier: GPL-2.0

//! IPv6 headers with extension headers, complete and truncated, and the changes that forwarding
//! makes to them.

use super::input::Input;
use ipvs_core::{
    ipv6::{
        self,
        Ipv6Header,
        HEADER_LEN, //
    },
    net::Be128,
};

const HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTH: u8 = 51;
const DEST: u8 = 60;

/// Finds the transport header, or the data of a later fragment, by the rules of RFC 8200, written
/// independently of the code. Returns its offset, its protocol, whether the packet is a fragment, and whether it is one other than the
/// first.
fn transport(packet: &[u8]) -> Option<(usize, u8, bool, bool)> {
    let extensions = [HOP, ROUTING, FRAGMENT, AUTH, DEST];
    if packet.len() < HEADER_LEN || packet[0] / 16 != 6 {
        return None;
    }
    let (mut at, mut next, mut fragment) = (HEADER_LEN, packet[6], false);
    let mut left = 12;
    while extensions.contains(&next) {
        let head = packet.get(at..at + 8).filter(|_| left > 0)?;
        left -= 1;
        let this = next;
        next = head[0];
        if this == FRAGMENT {
            fragment = true;
            if head[2] != 0 || head[3] / 8 != 0 {
                return (!extensions.contains(&next)).then_some((at + 8, next, true, true));
            }
        }
        at += match this {
            FRAGMENT => 8,
            AUTH => 4 * (usize::from(head[1]) + 2),
            _ => 8 * (usize::from(head[1]) + 1),
        };
        if at > packet.len() {
            return None;
        }
    }
    Some((at, next, fragment, false))
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let skipped = usize::from(input.u8() % 4);
    let new = Be128::from_bytes(input.array());
    let data = input.rest();
    let packet = data.get(skipped..).unwrap_or(&[]);

    let header = Ipv6Header::parse(data, skipped);
    let wanted = transport(packet);
    assert_eq!(header.is_some(), wanted.is_some());
    let (Some(header), Some((at, protocol, fragment, later))) = (header, wanted) else {
        return;
    };
    assert_eq!(header.src.to_bytes(), packet[8..24]);
    assert_eq!(header.dst.to_bytes(), packet[24..40]);
    assert_eq!(header.hop_limit, packet[7]);
    assert_eq!((header.protocol, header.transport_at()), (protocol, at));
    assert_eq!(header.is_fragment(), fragment);
    assert_eq!(header.is_later_fragment(), later);

    let mut changed: [u8; HEADER_LEN] = packet[..HEADER_LEN].try_into().unwrap();
    ipv6::set_src(&mut changed, new);
    ipv6::set_dst(&mut changed, new);
    assert_eq!(changed[8..24], new.to_bytes());
    assert_eq!(changed[24..], new.to_bytes());
    assert_eq!(changed[..8], packet[..8]);
    let counted = ipv6::decrement_hop_limit(&mut changed);
    assert_eq!(changed[7], if counted { packet[7] - 1 } else { packet[7] });
}
