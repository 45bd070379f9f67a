// SPDX-License-Identifier: GPL-2.0

//! Headers around packets.

use super::{
    fold,
    sum_of,
    NoMemory,
    Skb,
    Summed, //
};
use crate::net::Net;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OuterHeader {
    Ipv4([u8; 20]),
    Ipv6([u8; 40]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    Ip,
    Gue {
        port: u16,
        checksum: bool,
        remote_checksum: bool,
    },
    Gre {
        checksum: bool,
    },
}

/// The source port of all packets in UDP.
const SOURCE_PORT: [u8; 2] = [0xc0, 0x01];

impl Encapsulation {
    pub const fn len(self, partial: bool) -> usize {
        match self {
            Self::Ip => 0,
            Self::Gue {
                remote_checksum: true,
                ..
            } if partial => 20,
            Self::Gue { .. } => 12,
            Self::Gre { checksum: false } => 4,
            Self::Gre { checksum: true } => 8,
        }
    }

    pub const fn is_empty(self) -> bool {
        matches!(self, Self::Ip)
    }
}

impl Skb {
    pub fn encapsulate(
        &mut self,
        _net: &Net,
        outer: OuterHeader,
        encapsulation: Encapsulation,
    ) -> Result<(), NoMemory> {
        let partial = self.summed() == Summed::Partial;
        let header: &[u8] = match &outer {
            OuterHeader::Ipv4(header) => header,
            OuterHeader::Ipv6(header) => header,
        };
        let protocol: u8 = if self.is_ipv6() { 41 } else { 4 };
        match encapsulation {
            Encapsulation::Ip => {}
            Encapsulation::Gue {
                port,
                checksum,
                remote_checksum,
            } => {
                match self.packet().partial {
                    Some([start, place]) if remote_checksum && partial => {
                        let place = place.wrapping_add(start);
                        self.push(&[start.to_be_bytes(), place.to_be_bytes()].concat())?;
                        self.push(&[0x80, 0, 0, 0])?;
                        self.push(&[2, protocol, 0, 1])?;
                        self.set_checksum_none();
                    }
                    _ => self.push(&[0, protocol, 0, 0])?,
                }
                let len = (self.len() + 8) as u16;
                let udp = [SOURCE_PORT, port.to_ne_bytes(), len.to_be_bytes(), [0, 0]];
                self.push(udp.as_flattened())?;
                if checksum || remote_checksum {
                    let addrs_len = match outer {
                        OuterHeader::Ipv4(_) => 8,
                        OuterHeader::Ipv6(_) => 32,
                    };
                    let mut summed = header[header.len() - addrs_len..].to_vec();
                    summed.extend([0, 17]);
                    summed.extend(len.to_be_bytes());
                    summed.extend(&self.packet().bytes);
                    let check = !fold(sum_of(&summed));
                    self.packet_mut().bytes[6..8].copy_from_slice(&check.to_ne_bytes());
                }
            }
            Encapsulation::Gre { checksum } => {
                let [p0, p1] = (if self.is_ipv6() { 0x86ddu16 } else { 0x0800 }).to_be_bytes();
                if checksum {
                    self.push(&[0; 4])?;
                    self.push(&[0x80, 0, p0, p1])?;
                    let check = !fold(sum_of(&self.packet().bytes));
                    self.packet_mut().bytes[4..6].copy_from_slice(&check.to_ne_bytes());
                } else {
                    self.push(&[0, 0, p0, p1])?;
                }
            }
        }
        self.push(header)?;
        let packet = self.packet_mut();
        packet.route = None;
        packet.is_ipv6 = matches!(outer, OuterHeader::Ipv6(_));
        packet.longest_fragment = 0;
        Ok(())
    }

    /// Puts a header before the packet.
    fn push(&mut self, header: &[u8]) -> Result<(), NoMemory> {
        if self.headroom() < header.len() || self.is_cloned() {
            return Err(NoMemory);
        }
        let packet = self.packet_mut();
        packet.bytes.splice(..0, header.iter().copied());
        packet.linear += header.len();
        packet.headroom -= header.len();
        Ok(())
    }
}
