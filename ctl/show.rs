// SPDX-License-Identifier: GPL-2.0

//! Collects the attributes of services and servers for answers. C: `ip_vs_genl_fill_service()`,
//! `ip_vs_genl_fill_dest()`.

use crate::{
    service::dest::Dest,
    service::Service, //
};
use ipvs_core::{
    net::Addr,
    netlink::{
        self,
        dump::{
            DestDump,
            ServiceDump, //
        },
        service::ServiceId,
        AF_INET,
        AF_INET6,
        FWD_MASK,
        IP_VS_SVC_F_HASHED, //
    },
    sched::Server, //
};

/// Returns the attributes of a service. `IP_VS_SVC_F_HASHED` is always set, as for those of the C
/// module.
pub(super) fn service(service: &Service) -> ServiceDump<'static> {
    ServiceDump {
        id: ServiceId {
            family: service.family(),
            protocol: service.protocol().into(),
            addr: addr(service.addr()),
            port: service.port(),
            fwmark: service.fwmark(),
        },
        sched_name: service.scheduler_name().as_bytes(),
        pe_name: service.pe().map(|pe| pe.name().as_bytes()),
        flags: service.flags() | IP_VS_SVC_F_HASHED,
        timeout: service.timeout_secs(),
        netmask: service.netmask(),
        stats: service.stats().read(),
    }
}

/// Returns the attributes of a server.
pub(super) fn dest(dest: &Dest) -> DestDump {
    let (tun_type, tun_port, tun_flags) = dest.tunnel_numbers();
    DestDump {
        family: match dest.addr() {
            Addr::V4(_) => AF_INET,
            Addr::V6(_) => AF_INET6,
        },
        addr: addr(dest.addr()),
        port: dest.port(),
        fwd_method: dest.conn_flags() & FWD_MASK,
        weight: dest.weight(),
        tun_type,
        tun_port,
        tun_flags,
        upper: dest.u_threshold(),
        lower: dest.l_threshold(),
        active: dest.active_conns(),
        inactive: dest.inactive_conns(),
        persistent: dest.persist_conns(),
        stats: dest.stats().read(),
    }
}

/// Returns an address padded to the size of an IPv6 address.
fn addr(addr: Addr) -> netlink::Addr {
    match addr {
        Addr::V4(addr) => {
            let [a, b, c, d] = addr.to_bytes();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        Addr::V6(addr) => addr.to_bytes(),
    }
}
