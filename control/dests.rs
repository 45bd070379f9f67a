// SPDX-License-Identifier: GPL-2.0

//! Adds, edits and removes servers. C: `ip_vs_add_dest()` etc.

use super::{
    address,
    ControlError,
    ControlResult,
    NO_DEST, //
};
use crate::{
    log,
    netns::{
        services::FTPPORT,
        Config,
        Netns, //
    },
    service::dest::{
        Dest,
        DestKey, //
    },
    service::sched::Change,
    service::Service, //
};
use core::net::{
    Ipv4Addr,
    Ipv6Addr, //
};
use ipvs_core::{
    forward::FwdMethod,
    log::Endpoint,
    net::Addr,
    netlink::{
        dest::{
            DestId,
            DestSpec, //
        },
        service::ServiceId,
        FWD_MASK,
        IPVS_DEST_ATTR_ADDR,
        IPVS_DEST_ATTR_FWD_METHOD,
        IPVS_DEST_ATTR_TUN_TYPE, //
    },
    tunnel::Tunnel,
};
use kernel::prelude::*;
use linux::{
    netfilter::has_ipv6,
    rcu::{
        self,
        Shared, //
    },
    route::{
        addr_type,
        addr_type6,
        Addr6Type,
        AddrType, //
    },
};

/// Validates the settings of a server, and refuses what is not supported yet.
fn check_dest(netns: &Netns, service: &Service, spec: &DestSpec) -> ControlResult {
    let net = netns.net();
    let family = spec.id.family(service.family(), has_ipv6())?;
    let has_daemon = netns.settings.sync_state.is_set();
    spec.check_mixed(family, service.family(), has_daemon)?;
    spec.check().inspect_err(|error| {
        let dest = Endpoint(address(family, &spec.id.addr), spec.id.port);
        log::dest_refused(net, service.label(), dest, error.message);
    })?;
    if FwdMethod::from_flags(spec.fwd_method).number() != spec.fwd_method & FWD_MASK {
        return Err(ControlError::about(
            IPVS_DEST_ATTR_FWD_METHOD,
            EINVAL,
            "there is no such forwarding method",
        ));
    }
    if Tunnel::new(spec.tun_type, spec.tun_port, spec.tun_flags).is_none() {
        return Err(ControlError::about(
            IPVS_DEST_ATTR_TUN_TYPE,
            EINVAL,
            "there is no such type of tunnel",
        ));
    }
    Ok(())
}

impl Netns {
    fn dest_key(&self, service: &Service, id: &DestId) -> ControlResult<DestKey> {
        let family = id.family(service.family(), has_ipv6())?;
        let addr = address(family, &id.addr);
        let seed = self.service_tables().dests.seed();
        Ok(DestKey::new(service, addr, id.port, seed))
    }

    /// Returns `true` if an address can be that of a server. C: `ip_vs_new_dest()`.
    fn is_reachable(&self, addr: Addr) -> bool {
        match addr {
            Addr::V4(addr) => {
                let addr = Ipv4Addr::from(addr.to_bytes());
                addr_type(self.net(), addr) != AddrType::Other
            }
            Addr::V6(addr) => {
                let addr = Ipv6Addr::from(addr.to_bytes());
                addr_type6(self.net(), addr) != Addr6Type::Other
            }
        }
    }

    /// Looks up a server by its key, among those of services and in the trash.
    fn any_dest(&self, key: &DestKey) -> Option<Shared<Dest>> {
        let dests = &self.service_tables().dests;
        let is = |dest: &Dest, slot| slot == 0 && dest.key() == key;
        rcu::read(|rcu| dests.find(rcu, key.hash(), is)?.share())
    }

    /// Looks up a service's server by its key.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is none.
    fn dest(&self, key: &DestKey) -> ControlResult<Shared<Dest>> {
        self.any_dest(key)
            .filter(|dest| dest.available())
            .ok_or(NO_DEST)
    }

    /// Adds a server to a service. A server that was removed recently is taken from the trash with
    /// its counters.
    ///
    /// # Errors
    ///
    /// - `ESRCH` if there is no such service.
    /// - `EEXIST` if the service has this server.
    /// - `ERANGE`, `EINVAL` for invalid settings.
    /// - `EAFNOSUPPORT` without IPv6.
    /// - `ENOSYS` for what is not supported yet.
    /// - `ENOMEM`.
    pub(crate) fn add_dest(&self, service: &ServiceId, spec: &DestSpec) -> ControlResult {
        let mut config = self.config.lock();
        let service = self.service(service)?;
        check_dest(self, &service, spec)?;
        let key = self.dest_key(&service, &spec.id)?;
        let removed = self.any_dest(&key);
        let known = removed.is_some();
        let dest = match removed {
            Some(dest) if dest.available() => {
                return Err(ControlError::new(EEXIST, "the service has this server"));
            }
            Some(dest) => dest,
            None => {
                if !self.is_reachable(key.addr) {
                    return Err(ControlError::about(
                        IPVS_DEST_ATTR_ADDR,
                        EINVAL,
                        "the server's address is neither unicast (beyond the link, for IPv6) nor local",
                    ));
                }
                Shared::pin_init(Dest::new(key), GFP_KERNEL)?
            }
        };

        let prepared = service
            .scheduler
            .prepare(&service.dests, Change::Add(&dest, spec.weight))?;
        let trash = known.then(|| self.trash.open());
        let room = service.dests.reserve()?;
        self.track_ftp(&mut config, &service, spec)?;
        // Nothing fails from here on.
        if let Some(trash) = trash {
            trash.take(&dest);
        }
        dest.configure(spec);
        // Before `join`, so that the table walk for a device that goes down finds each server that
        // can have a cached route: a reused server gets packets of its old connections from `join`
        // on.
        let dests = &self.service_tables().dests;
        let _ = dests.insert(dest.clone(), |other| other.key() == &key);
        dest.join(&service);
        room.push(dest.clone(), |view| service.scheduler.closing_up(view));
        service.scheduler.added(&service.dests, &dest, prepared);
        if known {
            // Its rates were not estimated in the trash.
            rcu::read(|rcu| {
                self.service_tables()
                    .stats
                    .dests
                    .activate(dest.borrow(rcu), rcu)
            });
        }
        self.resize_later();
        Ok(())
    }

    /// Edits a server.
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is no such service, `ENOENT` if it has no such server, and those of
    /// [`Netns::add_dest`] about settings.
    pub(crate) fn edit_dest(&self, service: &ServiceId, spec: &DestSpec) -> ControlResult {
        let mut config = self.config.lock();
        let service = self.service(service)?;
        check_dest(self, &service, spec)?;
        let key = self.dest_key(&service, &spec.id)?;
        let dest = self.dest(&key)?;
        let prepared = service
            .scheduler
            .prepare(&service.dests, Change::Weigh(&dest, spec.weight))?;
        self.track_ftp(&mut config, &service, spec)?;
        let dests = &self.service_tables().dests;
        if dest.keeps_place(spec) {
            dest.configure(spec);
        } else if let Some(dest) = dests.remove(&dest) {
            dest.configure(spec);
            let _ = dests.insert(dest.clone(), |other| other.key() == &key);
            // The table walk for a device that went down meanwhile has not found the server.
            dest.reset_route();
        }
        service.scheduler.changed(&service.dests, prepared);
        Ok(())
    }

    /// Removes a server from a service. Packets of its connections are dropped from then on, and
    /// the connections end by their timeouts.
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is no such service, `ENOENT` if it has no such server, `ENOMEM`.
    pub(crate) fn delete_dest(&self, service: &ServiceId, id: &DestId) -> ControlResult {
        let _config = self.config.lock();
        let service = self.service(service)?;
        let key = self.dest_key(&service, id)?;
        let dest = self.dest(&key)?;
        let prepared = service
            .scheduler
            .prepare(&service.dests, Change::Remove(&dest))?;
        dest.leave();
        service.dests.remove(&dest, |view, slot| {
            service.scheduler.removed(view, slot);
        });
        self.trash.put(dest);
        service.scheduler.changed(&service.dests, prepared);
        self.expire_nodest();
        Ok(())
    }

    /// Makes connection tracking work for an FTP service as soon as it has a NAT server, until it is
    /// removed: what is said in its connections is changed with the help of that. C:
    /// `ip_vs_register_conntrack()`.
    fn track_ftp(&self, config: &mut Config, service: &Service, spec: &DestSpec) -> Result {
        let is_nat = FwdMethod::from_flags(spec.fwd_method) == FwdMethod::Masq;
        if !is_nat || service.port() != FTPPORT || service.is_tracked() {
            return Ok(());
        }
        let (tracking, protocol) = config.tracking(service.family());
        tracking.add(self.net(), protocol)?;
        service.set_tracked();
        Ok(())
    }

    /// Ends the connections of removed servers, if `expire_nodest_conn` is set.
    pub(super) fn expire_nodest(&self) {
        if self.settings.expire_nodest_conn.is_set() {
            self.nodest_expiry.hurry();
        }
    }
}
