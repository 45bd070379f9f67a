// SPDX-License-Identifier: GPL-2.0

//! IPv4 headers, complete and truncated, and the changes that forwarding makes to them.

use super::input::{
    slow_sum,
    Input, //
};
use ipvs_core::{
    forward,
    ipv4::{
        self,
        Ipv4Header,
        MIN_HEADER_LEN, //
    },
};

/// Returns `true` for a valid header, by the rules of RFC 791 written independently of the code.
fn is_header(data: &[u8]) -> bool {
    let len = 4 * usize::from(data.first().unwrap_or(&0) % 16);
    data.len() >= MIN_HEADER_LEN
        && data[0] / 16 == 4
        && (MIN_HEADER_LEN..=data.len()).contains(&len)
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (addr, packet_len) = (input.be32(), usize::from(input.u16()));
    let data = input.rest();

    let header = Ipv4Header::parse_header(data);
    assert_eq!(header.is_ok(), is_header(data));
    let Ok(header) = header else {
        assert!(Ipv4Header::parse(data, packet_len).is_err());
        assert!(!ipv4::checksum_is_valid(data));
        let mut copy = data.to_vec();
        ipv4::update_checksum(&mut copy);
        assert_eq!(copy, data);
        return;
    };

    let len = header.header_len();
    let total = usize::from(u16::from_be_bytes([data[2], data[3]]));
    let fits = total == 0 || (len..=packet_len).contains(&total);
    assert_eq!(Ipv4Header::parse(data, packet_len).is_ok(), fits);
    assert_eq!(header.src.to_bytes(), data[12..16]);
    assert_eq!(header.dst.to_bytes(), data[16..20]);
    assert_eq!((header.ttl, header.protocol), (data[8], data[9]));
    let frag = u16::from_be_bytes([data[6], data[7]]);
    assert_eq!(header.is_later_fragment(), frag % 0x2000 != 0);
    assert_eq!(header.is_fragment(), frag % 0x4000 != 0);

    let mut right = data.to_vec();
    ipv4::update_checksum(&mut right);
    assert_eq!(slow_sum(&[&right[..len]]), 0xffff);
    assert!(ipv4::checksum_is_valid(&right));
    assert_eq!(right[len..], data[len..]);

    // All changes keep a valid checksum valid.
    let mut changed = right.clone();
    let fixed = changed.first_chunk_mut().unwrap();
    ipv4::set_src(fixed, addr);
    ipv4::set_dst(fixed, header.src);
    let alive = forward::decrement_ttl(fixed);
    assert_eq!(alive, header.ttl > 1);
    assert!(ipv4::checksum_is_valid(&changed));
    let mut expected = right.clone();
    expected[12..16].copy_from_slice(&addr.to_bytes());
    expected[16..20].copy_from_slice(&right[12..16]);
    expected[8] -= u8::from(alive);
    ipv4::update_checksum(&mut expected);
    // 0 and 0xffff are equivalent there.
    changed[10..12].copy_from_slice(&expected[10..12]);
    assert_eq!(changed, expected);

    let outer = forward::Outer {
        inner_tos: header.tos,
        ttl: header.ttl,
        protocol: forward::PROTO_IPIP,
        dont_fragment: header.dont_fragment() && frag & 1 != 0,
    };
    let outer = outer.ipv4(header.dst, addr);
    let outer = Ipv4Header::parse_header(&outer).unwrap();
    assert_eq!((outer.src, outer.dst), (header.dst, addr));
    assert_eq!((outer.ttl, outer.protocol), (header.ttl, 4));
    assert_eq!(outer.tos & !3, header.tos & !3);
    assert_eq!(
        outer.dont_fragment(),
        header.dont_fragment() && frag & 1 != 0
    );
}
