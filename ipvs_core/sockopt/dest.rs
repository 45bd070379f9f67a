// SPDX-License-Identifier: GPL-2.0

//! Servers in socket options (C: `struct ip_vs_dest_user`, `struct ip_vs_dest_entry`).

use super::{
    number,
    put_stats,
    service::SERVICE_LEN, //
};
use crate::{
    bytes::{
        be16,
        be32,
        put, //
    },
    net::{
        Be16,
        Be32, //
    },
    netlink::{
        dest::{
            DestId,
            DestSpec, //
        },
        dump::DestDump,
        AF_INET,
        CONN_F_NFCT,
        CONN_F_ONE_PACKET,
        FWD_MASK,
        TUNNEL_IPIP, //
    },
};

const DEST_LEN: usize = 24;
/// The length in bytes of a server in answers.
pub const DEST_ENTRY_LEN: usize = 96;

/// A server in an argument, in which it follows its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dest {
    /// The server and its new settings.
    pub spec: DestSpec,
}

impl Dest {
    /// The length in bytes of a server with its service (C: `struct ip_vs_svcdest_user`).
    pub const LEN: usize = SERVICE_LEN + DEST_LEN;

    /// Parses the argument.
    pub fn parse(bytes: &[u8; Self::LEN]) -> Self {
        let bytes = bytes.last_chunk::<DEST_LEN>().unwrap_or(&[0; DEST_LEN]);
        let mut addr = [0; 16];
        put(
            &mut addr,
            0,
            be32(bytes, 0).unwrap_or(Be32::ZERO).to_bytes(),
        );
        let flags = number(bytes, 8);
        Self {
            spec: DestSpec {
                id: DestId {
                    family: AF_INET,
                    addr,
                    port: be16(bytes, 4).unwrap_or(Be16::ZERO),
                },
                fwd_method: flags & FWD_MASK,
                one_packet: flags & CONN_F_ONE_PACKET != 0,
                nfct: flags & CONN_F_NFCT != 0,
                weight: number(bytes, 12) as i32,
                upper: number(bytes, 16),
                lower: number(bytes, 20),
                tun_type: TUNNEL_IPIP,
                tun_port: Be16::ZERO,
                tun_flags: 0,
            },
        }
    }
}

/// Builds a server's entry in an answer. `conn_flags` are the flags of its connections, including
/// the forwarding method.
pub fn dest_entry(dest: &DestDump, conn_flags: u32) -> [u8; DEST_ENTRY_LEN] {
    let mut entry = [0; DEST_ENTRY_LEN];
    if let Some(addr) = be32(&dest.addr, 0) {
        put(&mut entry, 0, addr.to_bytes());
    }
    put(&mut entry, 4, dest.port.to_bytes());
    put(&mut entry, 12, dest.weight.to_ne_bytes());
    let words = [
        (8, conn_flags),
        (16, dest.upper),
        (20, dest.lower),
        (24, dest.active),
        (28, dest.inactive),
        (32, dest.persistent),
    ];
    for (place, value) in words {
        put(&mut entry, place, value.to_ne_bytes());
    }
    put_stats(&mut entry, 40, &dest.stats);
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Stats;

    #[test]
    fn every_field_is_read_from_its_place() {
        let mut bytes = [0xff; Dest::LEN];
        put(&mut bytes, 44, [10, 0, 0, 2]);
        put(&mut bytes, 48, [0x1f, 0x90]);
        for (place, value) in [(52, 0x1_2103u32), (56, -1i32 as u32), (60, 100), (64, 50)] {
            put(&mut bytes, place, value.to_ne_bytes());
        }
        let Dest { spec } = Dest::parse(&bytes);
        assert_eq!(spec.id.addr[..5], [10, 0, 0, 2, 0]);
        assert_eq!((spec.id.family, spec.id.port.host()), (AF_INET, 8080));
        assert_eq!(
            (spec.fwd_method, spec.one_packet, spec.nfct),
            (3, true, true)
        );
        assert_eq!((spec.weight, spec.upper, spec.lower), (-1, 100, 50));
        assert_eq!((spec.tun_type, spec.tun_flags), (TUNNEL_IPIP, 0));
        put(&mut bytes, 52, (!0x1_2000u32).to_ne_bytes());
        let Dest { spec } = Dest::parse(&bytes);
        assert_eq!((spec.one_packet, spec.nfct), (false, false));
    }

    #[test]
    fn an_entry_has_every_field_in_its_place() {
        let mut stats = Stats::default();
        stats.counters.conns = 7;
        stats.rates.outbps = 8;
        let dump = DestDump {
            family: AF_INET,
            addr: [10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            port: Be16::new(8080),
            fwd_method: 3,
            weight: 5,
            tun_type: 0,
            tun_port: Be16::ZERO,
            tun_flags: 0,
            upper: 100,
            lower: 50,
            active: 1,
            inactive: 2,
            persistent: 3,
            stats,
        };
        let mut want = [0; DEST_ENTRY_LEN];
        put(&mut want, 0, [10, 0, 0, 2, 0x1f, 0x90]);
        let words = [
            (8, 0x183u32),
            (12, 5),
            (16, 100),
            (20, 50),
            (24, 1),
            (28, 2),
        ];
        for (place, value) in words.into_iter().chain([(32, 3), (40, 7), (88, 8)]) {
            put(&mut want, place, value.to_ne_bytes());
        }
        assert_eq!(dest_entry(&dump, 0x183), want);
    }
}
