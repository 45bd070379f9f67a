// SPDX-License-Identifier: GPL-2.0

//! TCP (RFC 9293) and UDP (RFC 768) headers: parsing, and rewriting for NAT.
//!
//! C: the port and checksum handling of `tcp_snat_handler()`, `tcp_dnat_handler()` and their UDP
//! counterparts, for packets whose payload does not change.

use crate::{
    bytes::{
        be16,
        put, //
    },
    checksum::{
        pseudo_header,
        replace_addr_port,
        replace_pseudo,
        udp_nonzero,
        Sum, //
    },
    ipv4::PROTO_UDP,
    net::{
        Address,
        Be16, //
    },
};

/// The length of a TCP header without options, in bytes.
pub const TCP_HEADER_LEN: usize = 20;
/// The length of a UDP header in bytes.
pub const UDP_HEADER_LEN: usize = 8;

const TCP_CHECK_AT: usize = 16;
const UDP_CHECK_AT: usize = 6;

/// A source port and a destination port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Source port.
    pub src: Be16,
    /// Destination port.
    pub dst: Be16,
}

impl Ports {
    /// Parses the ports: the first four bytes of a TCP, UDP or SCTP header. `None` if there are
    /// fewer.
    #[inline]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let &[s0, s1, d0, d1] = data.first_chunk::<4>()?;
        Some(Self {
            src: Be16::from_bytes([s0, s1]),
            dst: Be16::from_bytes([d0, d1]),
        })
    }
}

/// The flags of a TCP header (its byte 13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(u8);

impl TcpFlags {
    /// The sender has no more data.
    pub const FIN: Self = Self(0x01);
    /// Opens a connection.
    pub const SYN: Self = Self(0x02);
    /// Resets a connection.
    pub const RST: Self = Self(0x04);
    /// The acknowledgement number is valid.
    pub const ACK: Self = Self(0x10);

    /// Creates flags from byte 13 of a TCP header.
    #[inline]
    pub const fn new(bits: u8) -> Self {
        Self(bits)
    }

    /// Returns the flags as byte 13 of a TCP header.
    #[inline]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Returns the union of both.
    #[inline]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns `true` if FIN is set.
    #[inline]
    pub const fn fin(self) -> bool {
        self.0 & Self::FIN.0 != 0
    }

    /// Returns `true` if SYN is set.
    #[inline]
    pub const fn syn(self) -> bool {
        self.0 & Self::SYN.0 != 0
    }

    /// Returns `true` if RST is set.
    #[inline]
    pub const fn rst(self) -> bool {
        self.0 & Self::RST.0 != 0
    }

    /// Returns `true` if ACK is set.
    #[inline]
    pub const fn ack(self) -> bool {
        self.0 & Self::ACK.0 != 0
    }
}

/// The parsed fields of a TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpHeader {
    /// Source and destination port.
    pub ports: Ports,
    /// Flags.
    pub flags: TcpFlags,
}

impl TcpHeader {
    /// Parses a header. `None` if there are fewer than 20 bytes. Options are ignored.
    #[inline]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let header = data.first_chunk::<TCP_HEADER_LEN>()?;
        let &[_, _, _, _, _, _, _, _, _, _, _, _, _, flags, ..] = header;
        Some(Self {
            ports: Ports::parse(header)?,
            flags: TcpFlags::new(flags),
        })
    }

    /// Returns the sequence number of the header's first byte of payload, in host byte order.
    pub fn sequence(header: &[u8; TCP_HEADER_LEN]) -> u32 {
        let &[_, _, _, _, a, b, c, d, ..] = header;
        u32::from_be_bytes([a, b, c, d])
    }
}

/// The parsed fields of a UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpHeader {
    /// Source and destination port.
    pub ports: Ports,
    /// The length of header and payload in bytes, according to the header.
    pub len: u16,
    /// Stored checksum; 0 for none.
    pub check: Be16,
}

impl UdpHeader {
    /// Parses a header. `None` if there are fewer than 8 bytes.
    #[inline]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let header = data.first_chunk::<UDP_HEADER_LEN>()?;
        let &[_, _, _, _, l0, l1, c0, c1] = header;
        Some(Self {
            ports: Ports::parse(header)?,
            len: u16::from_be_bytes([l0, l1]),
            check: Be16::from_bytes([c0, c1]),
        })
    }
}

/// A translation of an address and a port by NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<A> {
    /// The address in the packet.
    pub old_addr: A,
    /// The new address. [`ipv4`](crate::ipv4) and [`ipv6`](crate::ipv6) write it into the IP
    /// header.
    pub new_addr: A,
    /// The port in the packet.
    pub old_port: Be16,
    /// The new port.
    pub new_port: Be16,
}

/// The end of a flow that is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The source, of a reply to the client.
    Src,
    /// The destination, of a request to the server.
    Dst,
}

impl End {
    /// Returns the offset of the port in the transport header.
    #[inline(always)]
    pub(crate) const fn port_at(self) -> usize {
        match self {
            Self::Src => 0,
            Self::Dst => 2,
        }
    }
}

/// The meaning of a transport header's checksum field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It covers the pseudo header, the header and the payload.
    Complete,
    /// It is the sum of the pseudo header; the device completes it (`CHECKSUM_PARTIAL`).
    Partial,
}

/// The result of rewriting a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a datagram without checksum may have to get one"]
pub enum Rewritten {
    /// The checksum was updated. It is right if it was right before.
    Updated,
    /// The datagram has no checksum (UDP). The C module computes one in this case; to do the same,
    /// call [`udp_checksum`].
    Absent,
}

#[inline]
fn update<A: Address>(check: Be16, change: Change<A>, stored: Stored) -> Be16 {
    match stored {
        Stored::Complete => replace_addr_port(
            check,
            change.old_addr,
            change.new_addr,
            change.old_port,
            change.new_port,
        ),
        Stored::Partial => replace_pseudo(check, change.old_addr, change.new_addr),
    }
}

/// Writes the new port into a TCP header and updates its checksum for the new address and port.
#[inline]
pub fn rewrite_tcp<A: Address>(
    header: &mut [u8; TCP_HEADER_LEN],
    end: End,
    change: Change<A>,
    stored: Stored,
) {
    put(header, end.port_at(), change.new_port.to_bytes());
    if let Some(check) = be16(header, TCP_CHECK_AT) {
        put(
            header,
            TCP_CHECK_AT,
            update(check, change, stored).to_bytes(),
        );
    }
}

/// Writes the new port into a UDP header and updates its checksum, if there is one, for the new
/// address and port.
#[inline]
pub fn rewrite_udp<A: Address>(
    header: &mut [u8; UDP_HEADER_LEN],
    end: End,
    change: Change<A>,
    stored: Stored,
) -> Rewritten {
    put(header, end.port_at(), change.new_port.to_bytes());

    let new = match (be16(header, UDP_CHECK_AT), stored) {
        (None | Some(Be16::ZERO), Stored::Complete) | (None, Stored::Partial) => {
            return Rewritten::Absent
        }
        (Some(check), Stored::Complete) => udp_nonzero(update(check, change, stored)),
        (Some(check), Stored::Partial) => update(check, change, stored),
    };
    put(header, UDP_CHECK_AT, new.to_bytes());
    Rewritten::Updated
}

/// Writes a port into the transport header that an ICMP error quotes, without updating the
/// checksum. Only the first four bytes of `header` are needed.
#[inline]
pub fn set_port(header: &mut [u8], end: End, port: Be16) {
    put(header, end.port_at(), port.to_bytes());
}

/// Computes the checksum of a UDP datagram. `datagram` is the sum over its header, with the
/// checksum field 0, and its payload. `len` is the length of both in bytes.
#[inline]
pub fn udp_checksum<A: Address>(src: A, dst: A, len: u32, datagram: Sum) -> Be16 {
    let sum = pseudo_header(src, dst, PROTO_UDP, len).add16(datagram.fold());
    udp_nonzero(sum.finish())
}

/// Returns `true` if the checksum of a TCP segment or UDP datagram is right, or if a UDP datagram
/// has none.
///
/// `segment` is the transport header and the complete payload.
pub fn checksum_is_valid<A: Address>(src: A, dst: A, protocol: u8, segment: &[u8]) -> bool {
    if protocol == PROTO_UDP {
        match UdpHeader::parse(segment) {
            None => return false,
            Some(header) if header.check == Be16::ZERO => return true,
            Some(_) => (),
        }
    }
    let Ok(len) = u32::try_from(segment.len()) else {
        return false;
    };
    pseudo_header(src, dst, protocol, len)
        .add_bytes(segment)
        .is_valid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Be32;

    #[test]
    fn reads_ports_and_flags() {
        let mut segment = [0; 20];
        segment[..4].copy_from_slice(&[0x30, 0x39, 0, 80]);
        segment[13] = 0x12;
        let header = TcpHeader::parse(&segment).unwrap();
        assert_eq!(header.ports.src.host(), 12345);
        assert_eq!(header.ports.dst.host(), 80);
        assert!(header.flags.syn() && header.flags.ack());
        assert!(!header.flags.fin() && !header.flags.rst());
        assert_eq!(header.flags, TcpFlags::SYN.with(TcpFlags::ACK));
        assert_eq!(header.flags.with(TcpFlags::ACK), header.flags);
        assert_eq!(TcpHeader::parse(&segment[..19]), None);
        assert_eq!(Ports::parse(&segment[..4]), Some(header.ports));
        assert_eq!(Ports::parse(&segment[..3]), None);
    }

    #[test]
    fn reads_a_udp_header() {
        let header = UdpHeader::parse(&[0, 53, 0x30, 0x39, 0, 9, 1, 2, 77]).unwrap();
        assert_eq!(header.ports.src.host(), 53);
        assert_eq!(header.len, 9);
        assert_eq!(header.check, Be16::new(0x0102));
        assert_eq!(UdpHeader::parse(&[0; 7]), None);
    }

    #[test]
    fn a_datagram_without_checksum_stays_without() {
        let mut header = [0, 53, 0x30, 0x39, 0, 8, 0, 0];
        let change = Change {
            old_addr: Be32::new(1),
            new_addr: Be32::new(2),
            old_port: Be16::new(53),
            new_port: Be16::new(54),
        };
        let done = rewrite_udp(&mut header, End::Src, change, Stored::Complete);
        assert_eq!(done, Rewritten::Absent);
        assert_eq!(header, [0, 54, 0x30, 0x39, 0, 8, 0, 0]);
        assert!(checksum_is_valid(
            Be32::ZERO,
            Be32::ZERO,
            PROTO_UDP,
            &header
        ));
    }

    #[test]
    fn no_rewriting_takes_a_datagrams_checksum_away() {
        let (src, dst) = (Be32::new(0x0a00_0001), Be32::new(0x0a00_0002));
        let mut datagram = [0, 53, 0x30, 0x39, 0, 8, 0, 0];
        let check = udp_checksum(src, dst, 8, Sum::ZERO.add_bytes(&datagram));
        [datagram[6], datagram[7]] = check.to_bytes();
        for port in 0..=u16::MAX {
            let mut datagram = datagram;
            let change = Change {
                old_addr: src,
                new_addr: src,
                old_port: Be16::new(53),
                new_port: Be16::new(port),
            };
            let done = rewrite_udp(&mut datagram, End::Src, change, Stored::Complete);
            assert_eq!(done, Rewritten::Updated);
            assert_ne!(datagram[6..], [0, 0]);
            assert!(checksum_is_valid(src, dst, PROTO_UDP, &datagram));
        }
    }

    #[test]
    fn the_computed_udp_checksum_is_valid_and_never_zero() {
        let (src, dst) = (Be32::new(0x0a00_0001), Be32::new(0x0a00_0002));
        let mut datagram = [0, 53, 0x30, 0x39, 0, 10, 0, 0, 0, 0];
        for word in 0..=u16::MAX {
            [datagram[8], datagram[9]] = word.to_be_bytes();
            [datagram[6], datagram[7]] = [0, 0];
            let check = udp_checksum(src, dst, 10, Sum::ZERO.add_bytes(&datagram));
            assert_ne!(check, Be16::ZERO);
            [datagram[6], datagram[7]] = check.to_bytes();
            assert!(checksum_is_valid(src, dst, PROTO_UDP, &datagram));
        }
    }
}
