// SPDX-License-Identifier: GPL-2.0

//! Rewriting for NAT: an updated checksum equals one that is computed over the rewritten packet.

use super::input::{
    slow_sum,
    Input, //
};
use ipvs_core::{
    checksum::{
        pseudo_header,
        Sum, //
    },
    ipv4::{
        PROTO_TCP,
        PROTO_UDP, //
    },
    net::{
        Be16,
        Be32, //
    },
    transport::{
        checksum_is_valid,
        rewrite_tcp,
        rewrite_udp,
        udp_checksum,
        Change,
        End,
        Rewritten,
        Stored, //
    },
};

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (src, dst, new_addr, new_port) = (input.be32(), input.be32(), input.be32(), input.be16());
    let end = [End::Src, End::Dst][usize::from(input.u8() & 1)];
    let segment = input.rest();

    assert_eq!(
        Sum::ZERO.add_bytes(segment).fold().to_bytes(),
        slow_sum(&[segment]).to_be_bytes()
    );
    let (old_addr, port_at, ends) = match end {
        End::Src => (src, 0, (new_addr, dst)),
        End::Dst => (dst, 2, (src, new_addr)),
    };
    if segment.len() < 8 {
        return;
    }
    let change = Change {
        old_addr,
        new_addr,
        old_port: Be16::from_bytes([segment[port_at], segment[port_at + 1]]),
        new_port,
    };
    tcp(segment, (src, dst), ends, end, change);
    udp(segment, (src, dst), ends, end, change);
}

/// Returns the checksum field of a packet whose checksum the device is to compute.
fn partial(ends: (Be32, Be32), protocol: u8, len: u32) -> Be16 {
    pseudo_header(ends.0, ends.1, protocol, len).fold()
}

fn tcp(segment: &[u8], old: (Be32, Be32), new: (Be32, Be32), end: End, change: Change<Be32>) {
    let mut segment = segment.to_vec();
    let len = segment.len() as u32;
    if segment.len() < 20 {
        return;
    }
    segment[16..18].fill(0);
    let check = pseudo_header(old.0, old.1, PROTO_TCP, len).add_bytes(&segment);
    segment[16..18].copy_from_slice(&check.finish().to_bytes());
    let mut whole = segment.clone();
    rewrite_tcp(
        whole.first_chunk_mut().unwrap(),
        end,
        change,
        Stored::Complete,
    );
    assert!(checksum_is_valid(new.0, new.1, PROTO_TCP, &whole));

    segment[16..18].copy_from_slice(&partial(old, PROTO_TCP, len).to_bytes());
    rewrite_tcp(
        segment.first_chunk_mut().unwrap(),
        end,
        change,
        Stored::Partial,
    );
    same_sum(&segment[16..18], partial(new, PROTO_TCP, len));
    segment[16..18].copy_from_slice(&whole[16..18]);
    assert_eq!(segment, whole);
}

fn udp(segment: &[u8], old: (Be32, Be32), new: (Be32, Be32), end: End, change: Change<Be32>) {
    let mut segment = segment.to_vec();
    let len = segment.len() as u32;
    segment[6..8].fill(0);
    let mut none = segment.clone();
    let rewritten = rewrite_udp(
        none.first_chunk_mut().unwrap(),
        end,
        change,
        Stored::Complete,
    );
    assert_eq!(rewritten, Rewritten::Absent);
    assert_eq!(none[6..8], [0, 0]);

    let check = udp_checksum(old.0, old.1, len, Sum::ZERO.add_bytes(&segment));
    segment[6..8].copy_from_slice(&check.to_bytes());
    let mut whole = segment.clone();
    let rewritten = rewrite_udp(
        whole.first_chunk_mut().unwrap(),
        end,
        change,
        Stored::Complete,
    );
    assert_eq!(rewritten, Rewritten::Updated);
    // 0 would mean that there is no checksum.
    assert_ne!(whole[6..8], [0, 0]);
    assert!(checksum_is_valid(new.0, new.1, PROTO_UDP, &whole));

    segment[6..8].copy_from_slice(&partial(old, PROTO_UDP, len).to_bytes());
    let rewritten = rewrite_udp(
        segment.first_chunk_mut().unwrap(),
        end,
        change,
        Stored::Partial,
    );
    assert_eq!(rewritten, Rewritten::Updated);
    same_sum(&segment[6..8], partial(new, PROTO_UDP, len));
    segment[6..8].copy_from_slice(&whole[6..8]);
    assert_eq!(segment, whole);
}

/// Asserts that two checksums are equal, where zero has two representations.
fn same_sum(stored: &[u8], expected: Be16) {
    let stored = u16::from_be_bytes([stored[0], stored[1]]);
    assert_eq!(stored % 0xffff, expected.host() % 0xffff);
}
