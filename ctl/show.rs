// SPDX-License-Identifier: GPL-2.0

//! Services and servers as answers show them. C: `ip_vs_genl_fill_service()`,
//! `ip_vs_genl_fill_dest()`.

use crate::{
    dest::Dest,
    service::Service, //
};
use ipvs_core::{
    net::{
        Be16,
        Be32, //
    },
    netlink::{
        dump::{
            DestDump,
            ServiceDump, //
        },
        service::ServiceId,
        Addr,
        *, //
    },
    sched::Server, //
};

/// A service. It is always shown as hashed, as those of the C module are.
pub(super) fn service(service: &Service) -> ServiceDump<'static> {
    ServiceDump {
        id: ServiceId {
            family: AF_INET,
            protocol: service.protocol().into(),
            addr: addr(service.addr()),
            port: service.port(),
            fwmark: service.fwmark(),
        },
        sched_name: service.scheduler_name().as_bytes(),
        pe_name: None,
        flags: service.flags() | IP_VS_SVC_F_HASHED,
        timeout: service.timeout_secs(),
        netmask: service.netmask(),
        stats: service.stats().read(),
    }
}

/// A server. Its tunnel, if it is reached through one, is IPIP.
pub(super) fn dest(dest: &Dest) -> DestDump {
    DestDump {
        family: AF_INET,
        addr: addr(dest.addr()),
        port: dest.port(),
        fwd_method: dest.conn_flags() & FWD_MASK,
        weight: dest.weight(),
        tun_type: TUNNEL_IPIP,
        tun_port: Be16::ZERO,
        tun_flags: 0,
        upper: dest.u_threshold(),
        lower: dest.l_threshold(),
        active: dest.active_conns(),
        inactive: dest.inactive_conns(),
        persistent: dest.persist_conns(),
        stats: dest.stats().read(),
    }
}

/// An IPv4 address with the room that answers give to each.
fn addr(addr: Be32) -> Addr {
    let [a, b, c, d] = addr.to_bytes();
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}
