// SPDX-License-Identifier: GPL-2.0

//! ICMP errors and the packets that they quote.

use super::input::slow_sum;
use ipvs_core::{
    icmp::{
        self,
        IcmpHeader,
        InnerHeader,
        HEADER_LEN, //
    },
    ipv4::Ipv4Header,
    transport::{
        set_port,
        End, //
    },
};

pub(crate) fn run(data: &[u8]) {
    let header = IcmpHeader::parse(data);
    assert_eq!(header.is_some(), data.len() >= HEADER_LEN);
    let mut message = data.to_vec();
    icmp::update_checksum(&mut message);
    let Some(header) = header else {
        assert_eq!(message, data);
        return;
    };
    assert_eq!(slow_sum(&[&message]), 0xffff);
    assert_eq!(
        header.next_hop_mtu().is_some(),
        (header.kind, header.code) == (3, 4)
    );
    assert!(!header.is_error() || matches!(header.kind, 3 | 4 | 11));

    let inner = &data[HEADER_LEN..];
    let embedded = InnerHeader::parse(inner);
    assert_eq!(embedded.map(|e| e.ip), Ipv4Header::parse_header(inner));
    let Ok(InnerHeader { ip, ports }) = embedded else {
        return;
    };
    let transport = &inner[ip.header_len()..];
    assert_eq!(
        ports.is_some(),
        transport.len() >= 4 && !ip.is_later_fragment()
    );
    let Some(ports) = ports else {
        return;
    };
    assert_eq!(ports.src.to_bytes(), transport[..2]);
    assert_eq!(ports.dst.to_bytes(), transport[2..4]);
    // The ports can be rewritten in however short a transport header.
    let mut swapped = transport.to_vec();
    set_port(&mut swapped, End::Src, ports.dst);
    set_port(&mut swapped, End::Dst, ports.src);
    assert_eq!(swapped[..2], transport[2..4]);
    assert_eq!(swapped[2..4], transport[..2]);
    assert_eq!(swapped[4..], transport[4..]);
}
