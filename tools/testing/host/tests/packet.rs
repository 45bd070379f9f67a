// SPDX-License-Identifier: GPL-2.0

//! Packets: made by their parts, and taken apart again.

use ipvs_core::sctp;
use linux::skb::{
    fold,
    sum_of, //
};
use std::net::{
    IpAddr,
    Ipv4Addr,
    Ipv6Addr,
    SocketAddr, //
};

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;
pub(super) const SCTP: u8 = 132;

pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const ACK: u8 = 16;

pub(super) const TTL: u8 = 64;

/// The sum of the pseudo-header and the payload of an IP packet.
fn transport_sum(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> u16 {
    let mut summed = Vec::new();
    for addr in [src, dst] {
        match addr {
            IpAddr::V4(addr) => summed.extend(addr.octets()),
            IpAddr::V6(addr) => summed.extend(addr.octets()),
        }
    }
    // ICMP has it in IPv6 only.
    if protocol == ICMP {
        summed.clear();
    } else {
        summed.extend((payload.len() as u32).to_be_bytes());
        summed.extend([0, 0, 0, protocol]);
    }
    summed.extend(payload);
    fold(sum_of(&summed))
}

/// Returns the offset of a protocol's checksum.
fn check_at(protocol: u8) -> usize {
    match protocol {
        TCP => 16,
        UDP => 6,
        _ => 2,
    }
}

/// A packet of IP around a payload whose checksum is still zero.
pub(super) fn ip(src: IpAddr, dst: IpAddr, protocol: u8, mut payload: Vec<u8>) -> Vec<u8> {
    if [TCP, UDP, ICMP, ICMPV6].contains(&protocol) {
        let check = !transport_sum(src, dst, protocol, &payload);
        payload[check_at(protocol)..][..2].copy_from_slice(&check.to_ne_bytes());
    }
    bare_ip(src, dst, protocol, payload)
}

/// A packet of IP around a payload as it is.
pub(super) fn bare_ip(src: IpAddr, dst: IpAddr, protocol: u8, payload: Vec<u8>) -> Vec<u8> {
    let mut bytes = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let [l0, l1] = (payload.len() as u16 + 20).to_be_bytes();
            let mut header = vec![0x45, 0, l0, l1, 0, 1, 0, 0, TTL, protocol, 0, 0];
            header.extend(src.octets());
            header.extend(dst.octets());
            header
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let [l0, l1] = (payload.len() as u16).to_be_bytes();
            let mut header = vec![0x60, 0, 0, 0, l0, l1, protocol, TTL];
            header.extend(src.octets());
            header.extend(dst.octets());
            header
        }
        _ => panic!("two families in one packet"),
    };
    sum_header(&mut bytes);
    bytes.extend(payload);
    bytes
}

/// Makes the checksum of a header of IPv4 right again.
pub(super) fn sum_header(bytes: &mut [u8]) {
    if bytes[0] >> 4 == 4 {
        bytes[10..12].fill(0);
        let check = !fold(sum_of(&bytes[..20]));
        bytes[10..12].copy_from_slice(&check.to_ne_bytes());
    }
}

/// A segment of TCP, with eight bytes of data.
pub(super) fn tcp(src: SocketAddr, dst: SocketAddr, flags: u8) -> Vec<u8> {
    let mut segment = ports(src, dst);
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 1, 0, 0, 0, 0, 0]);
    segment.extend(b"segment.");
    ip(src.ip(), dst.ip(), TCP, segment)
}

/// A datagram of UDP.
pub(super) fn udp(src: SocketAddr, dst: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut datagram = ports(src, dst);
    datagram.extend((data.len() as u16 + 8).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(data);
    ip(src.ip(), dst.ip(), UDP, datagram)
}

/// A packet of SCTP with these chunks.
pub(super) fn sctp(src: SocketAddr, dst: SocketAddr, chunks: &[u8]) -> Vec<u8> {
    let mut packet = ports(src, dst);
    packet.extend([1, 2, 3, 4, 0, 0, 0, 0]);
    packet.extend(chunks);
    let check = sctp_check(&packet);
    packet[8..12].copy_from_slice(&check);
    bare_ip(src.ip(), dst.ip(), SCTP, packet)
}

/// Returns the checksum that a packet of SCTP should have.
fn sctp_check(packet: &[u8]) -> [u8; 4] {
    let mut packet = packet.to_vec();
    packet[8..12].fill(0);
    sctp::checksum_of(sctp::crc32c(sctp::CRC_SEED, &packet))
}

fn ports(src: SocketAddr, dst: SocketAddr) -> Vec<u8> {
    [src.port().to_be_bytes(), dst.port().to_be_bytes()].concat()
}

/// An ICMP message about a packet, of which it has the beginning.
pub(super) fn icmp(
    src: IpAddr,
    dst: IpAddr,
    (kind, code): (u8, u8),
    info: u32,
    about: &[u8],
) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(info.to_be_bytes());
    message.extend(about);
    let protocol = if src.is_ipv4() { ICMP } else { ICMPV6 };
    ip(src, dst, protocol, message)
}

/// The parts of a packet.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
    pub(super) protocol: u8,
    pub(super) ttl: u8,
    pub(super) payload: &'a [u8],
}

/// Takes a packet apart whose header may be followed by less than it says.
pub(super) fn parts(bytes: &[u8]) -> Parts<'_> {
    let addr4 = |at: usize| Ipv4Addr::from(*bytes[at..].first_chunk::<4>().unwrap()).into();
    let addr6 = |at: usize| Ipv6Addr::from(*bytes[at..].first_chunk::<16>().unwrap()).into();
    let (src, dst, protocol, ttl, payload): (IpAddr, IpAddr, _, _, _) = match bytes[0] >> 4 {
        4 => {
            let len = usize::from(bytes[0] & 0xf) * 4;
            (addr4(12), addr4(16), bytes[9], bytes[8], &bytes[len..])
        }
        _ => (addr6(8), addr6(24), bytes[6], bytes[7], &bytes[40..]),
    };
    let port = |at: usize| match (protocol, payload.get(at..at + 2)) {
        (TCP | UDP | SCTP, Some(&[p0, p1])) => u16::from_be_bytes([p0, p1]),
        _ => 0,
    };
    Parts {
        src: (src, port(0)).into(),
        dst: (dst, port(2)).into(),
        protocol,
        ttl,
        payload,
    }
}

/// Panics unless the lengths and checksums of a whole packet are right.
#[track_caller]
pub(super) fn assert_sound(bytes: &[u8]) {
    let Parts {
        src,
        dst,
        protocol,
        payload,
        ..
    } = parts(bytes);
    if bytes[0] >> 4 == 4 {
        assert_eq!(
            fold(sum_of(&bytes[..bytes.len() - payload.len()])),
            0xffff,
            "IP checksum"
        );
        let len = u16::from_be_bytes([bytes[2], bytes[3]]);
        assert_eq!(usize::from(len), bytes.len(), "IP length");
    } else {
        let len = u16::from_be_bytes([bytes[4], bytes[5]]);
        assert_eq!(usize::from(len), payload.len(), "IPv6 length");
    }
    if [TCP, UDP, ICMP, ICMPV6].contains(&protocol) {
        let sum = transport_sum(src.ip(), dst.ip(), protocol, payload);
        assert_eq!(sum, 0xffff, "checksum of protocol {protocol}");
    }
    if protocol == SCTP {
        assert_eq!(payload[8..12], sctp_check(payload), "checksum of SCTP");
    }
}
