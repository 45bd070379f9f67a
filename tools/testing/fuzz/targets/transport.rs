// SPDX-License-Identifier: GPL-2.0

//! TCP and UDP headers, and the validation of checksums.

use super::input::{
    slow_sum,
    Input, //
};
use ipvs_core::{
    ipv4::{
        PROTO_TCP,
        PROTO_UDP, //
    },
    transport::{
        checksum_is_valid,
        Ports,
        TcpHeader,
        UdpHeader, //
    },
};

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (src, dst) = (input.be32(), input.be32());
    let segment = input.rest();

    let ports = Ports::parse(segment);
    assert_eq!(ports.is_some(), segment.len() >= 4);
    if let Some(ports) = ports {
        assert_eq!(ports.src.to_bytes(), segment[..2]);
        assert_eq!(ports.dst.to_bytes(), segment[2..4]);
    }
    let tcp = TcpHeader::parse(segment);
    assert_eq!(tcp.is_some(), segment.len() >= 20);
    if let Some(tcp) = tcp {
        assert_eq!((Some(tcp.ports), tcp.flags.bits()), (ports, segment[13]));
    }
    let udp = UdpHeader::parse(segment);
    assert_eq!(udp.is_some(), segment.len() >= 8);
    if let Some(udp) = udp {
        assert_eq!(Some(udp.ports), ports);
        assert_eq!(udp.len.to_be_bytes(), segment[4..6]);
        assert_eq!(udp.check.to_bytes(), segment[6..8]);
    }

    for protocol in [PROTO_TCP, PROTO_UDP] {
        let len = u16::try_from(segment.len()).unwrap().to_be_bytes();
        let pseudo = [&src.to_bytes()[..], &dst.to_bytes(), &[0, protocol], &len].concat();
        let expected = match (protocol, udp) {
            (PROTO_UDP, None) => false,
            (PROTO_UDP, Some(udp)) if udp.check.raw() == 0 => true,
            _ => slow_sum(&[&pseudo, segment]) == 0xffff,
        };
        assert_eq!(checksum_is_valid(src, dst, protocol, segment), expected);
    }
}
