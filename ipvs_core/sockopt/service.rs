// SPDX-License-Identifier: GPL-2.0

//! Services in socket options (C: `struct ip_vs_service_user`, `struct ip_vs_service_entry`).

use super::{
    number,
    put_stats, //
};
use crate::{
    bytes::{
        be16,
        be32,
        put, //
    },
    ipv4::{
        PROTO_SCTP,
        PROTO_TCP,
        PROTO_UDP, //
    },
    net::{
        Be16,
        Be32, //
    },
    netlink::{
        dump::ServiceDump,
        service::{
            FlagsUpdate,
            ServiceId,
            ServiceSpec, //
        },
        AF_INET, //
    },
};

/// The length in bytes of a service's identification, at the start of arguments.
pub const ID_LEN: usize = 16;
/// The length in bytes of a service in arguments.
pub const SERVICE_LEN: usize = 44;
/// The length in bytes of a service in answers.
pub const SERVICE_ENTRY_LEN: usize = 104;

const SCHED_NAME: core::ops::Range<usize> = 16..32;

/// Parses a service's identification. Unlike in netlink, protocol, address and port are given in
/// addition to a firewall mark.
pub fn parse_id(bytes: &[u8; ID_LEN]) -> ServiceId {
    let [protocol0, protocol1, ..] = *bytes;
    let mut addr = [0; 16];
    put(
        &mut addr,
        0,
        be32(bytes, 4).unwrap_or(Be32::ZERO).to_bytes(),
    );
    ServiceId {
        family: AF_INET,
        protocol: u16::from_ne_bytes([protocol0, protocol1]),
        addr,
        port: be16(bytes, 8).unwrap_or(Be16::ZERO),
        fwmark: number(bytes, 12),
    }
}

/// A service in an argument.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// The service's identification.
    pub id: ServiceId,
    bytes: &'a [u8; SERVICE_LEN],
}

impl<'a> Service<'a> {
    /// Parses the identification. [`Service::spec`] parses the rest.
    pub fn parse(bytes: &'a [u8; SERVICE_LEN]) -> Self {
        let id = bytes.first_chunk().unwrap_or(&[0; ID_LEN]);
        Self {
            id: parse_id(id),
            bytes,
        }
    }

    /// Returns `true` if no service is named, which means all services when zeroing statistics.
    pub fn is_unnamed(&self) -> bool {
        self.id.fwmark == 0 && self.id.addr == [0; 16] && self.id.port == Be16::ZERO
    }

    /// Returns `true` if services can have the protocol. C checks this for firewall mark services,
    /// too.
    pub fn has_protocol(&self) -> bool {
        matches!(
            u8::try_from(self.id.protocol),
            Ok(PROTO_TCP | PROTO_UDP | PROTO_SCTP)
        )
    }

    /// Parses the service's settings. `None` if the scheduler's name is not terminated.
    pub fn spec(&self) -> Option<ServiceSpec<'a>> {
        let name = self.bytes.get(SCHED_NAME)?;
        let end = name.iter().position(|&byte| byte == 0)?;
        Some(ServiceSpec {
            id: self.id,
            sched_name: name.get(..end)?,
            pe_name: None,
            flags: FlagsUpdate {
                value: number(self.bytes, 32),
                mask: u32::MAX,
            },
            timeout: number(self.bytes, 36),
            netmask: be32(self.bytes, 40)?,
        })
    }
}

/// Builds a service's entry in an answer. `dests` is the number of its servers.
pub fn service_entry(service: &ServiceDump<'_>, dests: u32) -> [u8; SERVICE_ENTRY_LEN] {
    let mut entry = [0; SERVICE_ENTRY_LEN];
    let id = &service.id;
    put(&mut entry, 0, id.protocol.to_ne_bytes());
    if let Some(addr) = be32(&id.addr, 0) {
        put(&mut entry, 4, addr.to_bytes());
    }
    put(&mut entry, 8, id.port.to_bytes());
    put(&mut entry, 12, id.fwmark.to_ne_bytes());
    // The last byte remains 0.
    let name = entry.get_mut(SCHED_NAME.start..SCHED_NAME.end.wrapping_sub(1));
    for (place, byte) in name.into_iter().flatten().zip(service.sched_name) {
        *place = *byte;
    }
    put(&mut entry, 32, service.flags.to_ne_bytes());
    put(&mut entry, 36, service.timeout.to_ne_bytes());
    put(&mut entry, 40, service.netmask.to_bytes());
    put(&mut entry, 44, dests.to_ne_bytes());
    put_stats(&mut entry, 48, &service.stats);
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{
        Counters,
        Rates,
        Stats, //
    };

    fn argument() -> [u8; SERVICE_LEN] {
        let mut bytes = [0; SERVICE_LEN];
        put(&mut bytes, 0, 17u16.to_ne_bytes());
        put(&mut bytes, 4, [10, 0, 0, 1]);
        put(&mut bytes, 8, [0, 53]);
        put(&mut bytes, 16, *b"wlc");
        put(&mut bytes, 32, 5u32.to_ne_bytes());
        put(&mut bytes, 36, 300u32.to_ne_bytes());
        put(&mut bytes, 40, [255, 255, 255, 0]);
        bytes
    }

    #[test]
    fn every_field_is_read_from_its_place() {
        let bytes = argument();
        let service = Service::parse(&bytes);
        assert_eq!(service.id.protocol, 17);
        assert_eq!(service.id.addr[..5], [10, 0, 0, 1, 0]);
        assert_eq!((service.id.port.host(), service.id.fwmark), (53, 0));
        assert!(service.has_protocol() && !service.is_unnamed());
        let spec = service.spec().unwrap();
        assert_eq!((spec.sched_name, spec.pe_name), (&b"wlc"[..], None));
        assert_eq!((spec.flags.apply(0xff), spec.timeout), (5, 300));
        assert_eq!(spec.netmask.to_bytes(), [255, 255, 255, 0]);
    }

    #[test]
    fn a_name_has_to_end_and_all_may_be_meant() {
        let mut bytes = argument();
        put(&mut bytes, 16, [b'x'; 16]);
        assert!(Service::parse(&bytes).spec().is_none());
        put(&mut bytes, 31, [0]);
        assert_eq!(Service::parse(&bytes).spec().unwrap().sched_name.len(), 15);
        assert!(Service::parse(&[0; SERVICE_LEN]).is_unnamed());
        // Address, port or firewall mark alone name one.
        for place in [4, 8, 12] {
            let mut named = [0; SERVICE_LEN];
            put(&mut named, place, [1]);
            assert!(!Service::parse(&named).is_unnamed(), "{place}");
        }
        assert!(!Service::parse(&[0; SERVICE_LEN]).has_protocol());
        put(&mut bytes, 0, 132u16.to_ne_bytes());
        assert!(Service::parse(&bytes).has_protocol());
    }

    #[test]
    fn an_entry_has_every_field_in_its_place() {
        let bytes = argument();
        let dump = ServiceDump {
            id: ServiceId {
                fwmark: 7,
                ..Service::parse(&bytes).id
            },
            sched_name: b"a name of sixteen",
            pe_name: None,
            flags: 2,
            timeout: 300,
            netmask: Be32::new(0xffff_ff00),
            stats: Stats {
                counters: Counters {
                    conns: (1 << 32) + 1,
                    inpkts: 2,
                    outpkts: 3,
                    inbytes: 1 << 40,
                    outbytes: 5,
                },
                rates: Rates {
                    cps: 6,
                    inpps: 7,
                    outpps: 8,
                    inbps: 9,
                    outbps: 10,
                },
            },
        };
        let mut want = [0; SERVICE_ENTRY_LEN];
        put(&mut want, 0, 17u16.to_ne_bytes());
        put(&mut want, 4, [10, 0, 0, 1]);
        put(&mut want, 8, [0, 53]);
        put(&mut want, 12, 7u32.to_ne_bytes());
        put(&mut want, 16, *b"a name of sixte");
        for (place, value) in [(32, 2u32), (36, 300), (44, 4), (48, 1), (52, 2), (56, 3)] {
            put(&mut want, place, value.to_ne_bytes());
        }
        put(&mut want, 40, [255, 255, 255, 0]);
        put(&mut want, 64, (1u64 << 40).to_ne_bytes());
        put(&mut want, 72, 5u64.to_ne_bytes());
        for (place, value) in [(80, 6u32), (84, 7), (88, 8), (92, 9), (96, 10)] {
            put(&mut want, place, value.to_ne_bytes());
        }
        assert_eq!(service_entry(&dump, 4), want);
    }
}
