// SPDX-License-Identifier: GPL-2.0

//! What users can do to a namespace: the one model behind all control interfaces.
//!
//! Each operation does all that it is asked for, or fails and changes nothing. Process context; the
//! namespace's configuration lock is taken here. C: `ip_vs_add_service()` and its kin.

use crate::{
    conn::{
        Conn,
        FwdMethod, //
    },
    dest::{
        Dest,
        DestKey, //
    },
    hook,
    netns::{
        Config,
        Netns, //
    },
    service::Service, //
};
use core::sync::atomic::{
    AtomicU32,
    Ordering::Relaxed, //
};
use ipvs_core::{
    est,
    flow::ServiceKey,
    ipv4::{
        PROTO_TCP,
        PROTO_UDP, //
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
        service::{
            ServiceId,
            ServiceSpec, //
        },
        timeout::TimeoutConfig,
        AttrError,
        AF_INET,
        FWD_MASK,
        IPVS_DEST_ATTR_ADDR,
        IPVS_DEST_ATTR_ADDR_FAMILY,
        IPVS_DEST_ATTR_FWD_METHOD,
        IPVS_DEST_ATTR_TUN_TYPE,
        IPVS_SVC_ATTR_AF,
        IPVS_SVC_ATTR_FLAGS,
        IPVS_SVC_ATTR_PE_NAME,
        IPVS_SVC_ATTR_PROTOCOL,
        IPVS_SVC_ATTR_SCHED_NAME,
        IP_VS_SVC_F_ONEPACKET,
        IP_VS_SVC_F_PERSISTENT,
        TUNNEL_IPIP, //
    },
    sched::SchedulerKind,
    tcp, //
};
use kernel::prelude::*;
use linux::{
    jiffies::HZ,
    module::InUse,
    netfilter,
    rcu::{
        self,
        Reader,
        Shared, //
    },
    route::{
        addr_type,
        AddrType, //
    },
};

/// Why an operation was refused.
pub(crate) struct ControlError {
    /// What the user gets.
    pub(crate) errno: Error,
    /// The reason in words.
    pub(crate) message: &'static str,
    /// The netlink attribute of the service or server that is to blame.
    pub(crate) about: Option<u16>,
}

impl ControlError {
    const fn new(errno: Error, message: &'static str) -> Self {
        Self {
            errno,
            message,
            about: None,
        }
    }

    const fn about(attr: u16, errno: Error, message: &'static str) -> Self {
        Self {
            errno,
            message,
            about: Some(attr),
        }
    }
}

impl From<AttrError> for ControlError {
    fn from(error: AttrError) -> Self {
        Self {
            errno: Error::from_errno(-error.errno.0),
            message: error.message,
            about: error.about,
        }
    }
}

impl From<Error> for ControlError {
    fn from(errno: Error) -> Self {
        Self::new(errno, "the kernel could not do it")
    }
}

/// What an operation comes to.
pub(crate) type Outcome<T = ()> = Result<T, ControlError>;

const NO_SERVICE: ControlError = ControlError::new(ESRCH, "there is no such service");
const NO_DEST: ControlError = ControlError::new(ENOENT, "the service has no such server");

fn ipv4(addr: &[u8; 16]) -> Be32 {
    addr.first_chunk()
        .map_or(Be32::ZERO, |bytes| Be32::from_bytes(*bytes))
}

/// The key of a service that exists or may come to exist. C looks up any protocol and family it is
/// asked for; what can't exist yet is not found.
fn service_key(id: &ServiceId) -> Option<ServiceKey> {
    if id.family != AF_INET {
        return None;
    }
    if id.fwmark != 0 {
        return Some(ServiceKey::Fwmark {
            family: AF_INET as u8,
            mark: id.fwmark,
        });
    }
    Some(ServiceKey::Addr4 {
        protocol: u8::try_from(id.protocol).ok()?,
        addr: ipv4(&id.addr),
        port: id.port,
    })
}

/// The scheduler of this name; `None` is the one called "none".
fn scheduler(name: &[u8]) -> Outcome<Option<SchedulerKind>> {
    if name == b"none" {
        return Ok(None);
    }
    SchedulerKind::from_name(name)
        .map(Some)
        .ok_or(ControlError::about(
            IPVS_SVC_ATTR_SCHED_NAME,
            ENOENT,
            "there is no such scheduler",
        ))
}

/// Refuses what can't be had yet.
///
/// C has all that is `ENOSYS` here, so it has no errno for it; `EOPNOTSUPP`, the usual one, is shown
/// by ipvsadm as a matter of IPv6.
fn check_service(spec: &ServiceSpec<'_>, old_flags: u32) -> Outcome<Option<SchedulerKind>> {
    let kind = scheduler(spec.sched_name)?;
    if spec.pe_name.is_some_and(|name| !name.is_empty()) {
        return Err(ControlError::about(
            IPVS_SVC_ATTR_PE_NAME,
            ENOENT,
            "there is no such persistence engine",
        ));
    }
    let flags = spec.flags.apply(old_flags);
    if flags & IP_VS_SVC_F_PERSISTENT != 0 {
        return Err(ControlError::about(
            IPVS_SVC_ATTR_FLAGS,
            ENOSYS,
            "persistent services are not supported yet",
        ));
    }
    if flags & IP_VS_SVC_F_ONEPACKET != 0 {
        return Err(ControlError::about(
            IPVS_SVC_ATTR_FLAGS,
            ENOSYS,
            "one-packet scheduling is not supported yet",
        ));
    }
    Ok(kind)
}

/// Refuses values that make no sense, and what can't be had yet.
fn check_dest(spec: &DestSpec) -> Outcome {
    let family = spec.id.family(AF_INET, true)?;
    spec.check_mixed(family, AF_INET, false)?;
    if family != AF_INET {
        return Err(ControlError::about(
            IPVS_DEST_ATTR_ADDR_FAMILY,
            EAFNOSUPPORT,
            "the server's address family is not supported yet",
        ));
    }
    spec.check()?;
    if FwdMethod::from_flags(spec.fwd_method).number() != spec.fwd_method & FWD_MASK {
        return Err(ControlError::about(
            IPVS_DEST_ATTR_FWD_METHOD,
            EINVAL,
            "there is no such forwarding method",
        ));
    }
    if spec.tun_type != TUNNEL_IPIP {
        return Err(ControlError::about(
            IPVS_DEST_ATTR_TUN_TYPE,
            ENOSYS,
            "tunnels other than IPIP are not supported yet",
        ));
    }
    Ok(())
}

impl Netns {
    /// The service that users refer to by `id`.
    fn service(&self, id: &ServiceId) -> Outcome<Shared<Service>> {
        let key = service_key(id).ok_or(NO_SERVICE)?;
        rcu::read(|rcu| self.find_service(&key, rcu)?.share()).ok_or(NO_SERVICE)
    }

    /// The service with exactly this key. Under RCU.
    #[inline]
    pub(crate) fn find_service<'rcu>(
        &self,
        key: &ServiceKey,
        rcu: Reader<'rcu>,
    ) -> Option<rcu::Borrowed<'rcu, Service>> {
        let hash = key.hash(self.service_key());
        self.model()
            .services
            .find(rcu, hash, |service, _| service.key() == key)
    }

    fn counter(&self, key: &ServiceKey) -> &AtomicU32 {
        match key {
            ServiceKey::Fwmark { .. } => &self.service_counts.fwmark,
            ServiceKey::Addr4 { .. } => &self.service_counts.addr,
        }
    }

    /// Adds a service.
    ///
    /// Errors: `EEXIST`; `ENOENT` for an unknown scheduler; `EAFNOSUPPORT`, `EPROTONOSUPPORT` and
    /// `ENOSYS` for what is not supported yet; `ENOMEM`.
    pub(crate) fn add_service(&self, spec: &ServiceSpec<'_>) -> Outcome {
        let mut config = self.config.lock();
        if config.closed {
            return Err(ControlError::new(ENODEV, "the namespace is going away"));
        }
        if self.service(&spec.id).is_ok() {
            return Err(ControlError::new(EEXIST, "the service exists"));
        }
        let kind = check_service(spec, 0)?;
        let key = service_key(&spec.id).ok_or(ControlError::about(
            IPVS_SVC_ATTR_AF,
            EAFNOSUPPORT,
            "the address family is not supported yet",
        ))?;
        if let ServiceKey::Addr4 { protocol, .. } = key {
            if protocol != PROTO_TCP && protocol != PROTO_UDP {
                return Err(ControlError::about(
                    IPVS_SVC_ATTR_PROTOCOL,
                    EPROTONOSUPPORT,
                    "services are for TCP and UDP",
                ));
            }
        }

        let service = Shared::pin_init(Service::new(key, kind)?, GFP_KERNEL)?;
        service.configure(spec);
        let in_use = InUse::new(kernel::module::this_module::<crate::LocalModule>()).ok_or(
            ControlError::new(ENOPROTOOPT, "the module is being unloaded"),
        )?;
        config.uses.reserve(1, GFP_KERNEL).map_err(Error::from)?;
        if config.hooks.is_none() {
            config.hooks = Some(netfilter::Registration::new(self.net(), hook::ops())?);
        }

        // Nothing fails from here on.
        let _ = config.uses.push_within_capacity(in_use);
        self.counter(&key).fetch_add(1, Relaxed);
        if is_any_port(&key) {
            self.service_counts.any_port.fetch_add(1, Relaxed);
        }
        let _ = self
            .model()
            .services
            .insert(service, |other| other.key() == &key);
        let _ = self.model().services.resize();
        self.estimation
            .schedule(est::PERIOD_SECS as usize * HZ as usize);
        Ok(())
    }

    /// Changes a service.
    ///
    /// Errors: `ESRCH`, and those of [`Netns::add_service`] that still make sense.
    pub(crate) fn edit_service(&self, spec: &ServiceSpec<'_>) -> Outcome {
        let _config = self.config.lock();
        let service = self.service(&spec.id)?;
        let kind = check_service(spec, service.flags())?;
        service.scheduler.set(kind, &service.dests);
        service.configure(spec);
        Ok(())
    }

    /// Removes a service and its servers. Its connections get no more packets through, and end in
    /// their time.
    ///
    /// Errors: `ESRCH`.
    pub(crate) fn delete_service(&self, id: &ServiceId) -> Outcome {
        let mut config = self.config.lock();
        let service = self.service(id)?;
        self.unlink_service(&mut config, &service);
        let _ = self.model().services.resize();
        Ok(())
    }

    fn unlink_service(&self, config: &mut Config, service: &Shared<Service>) {
        if self.model().services.remove(service).is_none() {
            return;
        }
        let key = service.key();
        self.counter(key).fetch_sub(1, Relaxed);
        if is_any_port(key) {
            self.service_counts.any_port.fetch_sub(1, Relaxed);
        }
        if self.model().services.count() == 0 {
            self.estimation.cancel();
            config.hooks = None;
        }
        while let Some(dest) = service.last_dest() {
            self.unlink_dest(service, &dest);
        }
        let _ = self.model().dests.resize();
        config.uses.pop();
    }

    /// Removes all services.
    pub(crate) fn flush(&self) {
        let mut config = self.config.lock();
        self.flush_locked(&mut config);
    }

    fn flush_locked(&self, config: &mut Config) {
        while let Some(service) = rcu::read(|rcu| {
            let mut first = None;
            let mut cursor = 0;
            loop {
                cursor = self.model().services.scan(rcu, cursor, |service| {
                    first = first.take().or_else(|| service.share());
                });
                if first.is_some() || cursor == 0 {
                    break first;
                }
            }
        }) {
            self.unlink_service(config, &service);
        }
        let _ = self.model().services.resize();
    }

    /// Ends all that users have set up; nothing can be added any more. When the namespace dies or
    /// the module goes.
    pub(crate) fn close(&self) {
        let mut config = self.config.lock();
        config.closed = true;
        self.flush_locked(&mut config);
        self.trash.empty();
    }

    /// Zeroes the statistics of a service and its servers.
    ///
    /// Errors: `ESRCH`.
    pub(crate) fn zero_service(&self, id: &ServiceId) -> Outcome {
        let _config = self.config.lock();
        let service = self.service(id)?;
        zero(&service);
        Ok(())
    }

    /// Zeroes all statistics.
    pub(crate) fn zero_all(&self) {
        let _config = self.config.lock();
        rcu::read(|rcu| {
            let mut cursor = 0;
            loop {
                cursor = self
                    .model()
                    .services
                    .scan(rcu, cursor, |service| zero(&service));
                if cursor == 0 {
                    break;
                }
            }
        });
        self.stats().zero();
    }

    fn dest_key(&self, service: &Service, id: &DestId) -> DestKey {
        DestKey {
            service: *service.key(),
            addr: ipv4(&id.addr),
            port: id.port,
        }
    }

    fn dest(&self, key: &DestKey) -> Option<Shared<Dest>> {
        let dests = &self.model().dests;
        let hash = key.hash(dests.seed());
        rcu::read(|rcu| {
            dests
                .find(rcu, hash, |dest, slot| slot == 0 && dest.key() == key)?
                .share()
        })
    }

    /// Adds a server to a service. One that was removed a short while ago comes back with all that
    /// it counts.
    ///
    /// Errors: `ESRCH`; `EEXIST`; `ERANGE` and `EINVAL` for values that make no sense;
    /// `EAFNOSUPPORT` and `ENOSYS` for what is not supported yet; `ENOMEM`.
    pub(crate) fn add_dest(&self, service: &ServiceId, spec: &DestSpec) -> Outcome {
        let _config = self.config.lock();
        let service = self.service(service)?;
        check_dest(spec)?;
        let key = self.dest_key(&service, &spec.id);
        if self.dest(&key).is_some() {
            return Err(ControlError::new(EEXIST, "the service has this server"));
        }

        let removed = self.trash.take(&key);
        let known = removed.is_some();
        let dest = match removed {
            Some(dest) => dest,
            None => {
                let addr = core::net::Ipv4Addr::from(key.addr.to_bytes());
                if matches!(addr_type(self.net(), addr), AddrType::Other) {
                    return Err(ControlError::about(
                        IPVS_DEST_ATTR_ADDR,
                        EINVAL,
                        "the server's address is neither unicast nor local",
                    ));
                }
                Shared::pin_init(Dest::new(key, service.shared_stats().clone()), GFP_KERNEL)?
            }
        };

        dest.configure(spec);
        dest.join(service.shared_stats());
        let pushed = service.dests.push(dest.clone(), |view| {
            service.scheduler.closing_up(view);
        });
        if let Err(error) = pushed {
            dest.leave();
            if known {
                self.trash.put(dest);
            }
            return Err(error.into());
        }
        let _ = self.model().dests.insert(dest, |other| other.key() == &key);
        let _ = self.model().dests.resize();
        service.scheduler.added(spec.weight);
        Ok(())
    }

    /// Changes a server.
    ///
    /// Errors: `ESRCH`, `ENOENT`, and those of [`Netns::add_dest`] that still make sense.
    pub(crate) fn edit_dest(&self, service: &ServiceId, spec: &DestSpec) -> Outcome {
        let _config = self.config.lock();
        let service = self.service(service)?;
        check_dest(spec)?;
        let key = self.dest_key(&service, &spec.id);
        let dest = self.dest(&key).ok_or(NO_DEST)?;
        let dests = &self.model().dests;
        if let Some(dest) = dests.remove(&dest) {
            dest.configure(spec);
            let _ = dests.insert(dest, |other| other.key() == &key);
        }
        service.scheduler.changed(&service.dests);
        Ok(())
    }

    /// Removes a server from a service. Its connections get no more packets through, and end in
    /// their time.
    ///
    /// Errors: `ESRCH`, `ENOENT`.
    pub(crate) fn delete_dest(&self, service: &ServiceId, id: &DestId) -> Outcome {
        let _config = self.config.lock();
        let service = self.service(service)?;
        if id.family(AF_INET, true)? != AF_INET {
            return Err(NO_DEST);
        }
        let key = self.dest_key(&service, id);
        let dest = self.dest(&key).ok_or(NO_DEST)?;
        self.unlink_dest(&service, &dest);
        let _ = self.model().dests.resize();
        Ok(())
    }

    fn unlink_dest(&self, service: &Service, dest: &Shared<Dest>) {
        dest.leave();
        let removed = service.dests.remove(dest, |view, slot| {
            service.scheduler.removed(view, slot);
        });
        self.model().dests.remove(dest);
        if let Some(dest) = removed {
            self.trash.put(dest);
        }
    }

    /// Sets timeouts; those that are not given stay.
    pub(crate) fn set_timeouts(&self, timeouts: &TimeoutConfig) {
        let _config = self.config.lock();
        if let Some(secs) = timeouts.tcp {
            self.timeouts.set_tcp(tcp::SETTABLE_TCP, secs);
        }
        if let Some(secs) = timeouts.tcp_fin {
            self.timeouts.set_tcp(tcp::SETTABLE_TCP_FIN, secs);
        }
        if let Some(secs) = timeouts.udp {
            self.timeouts.set_udp(secs);
        }
    }

    /// The timeouts that users can set, in seconds.
    pub(crate) fn shown_timeouts(&self) -> TimeoutConfig {
        let secs = |ticks: u32| ticks.checked_div(HZ);
        TimeoutConfig {
            tcp: secs(self.timeouts.tcp(tcp::SETTABLE_TCP)),
            tcp_fin: secs(self.timeouts.tcp(tcp::SETTABLE_TCP_FIN)),
            udp: secs(self.timeouts.udp()),
        }
    }

    /// Visits the services of one place in their table, and says where to go on, 0 after the last;
    /// start with 0. Services that are there all the time are visited, however the table is resized
    /// in between. Under RCU; bottom halves are disabled in `visit`.
    pub(crate) fn scan_services<'rcu>(
        &self,
        rcu: Reader<'rcu>,
        cursor: usize,
        mut visit: impl FnMut(&'rcu Service),
    ) -> usize {
        self.model()
            .services
            .scan(rcu, cursor, |service| visit(service.get()))
    }

    /// The same for connections.
    pub(crate) fn scan_conns<'rcu>(
        &self,
        rcu: Reader<'rcu>,
        cursor: usize,
        mut visit: impl FnMut(&'rcu Conn),
    ) -> usize {
        self.conns().scan(rcu, cursor, |conn| visit(conn))
    }

    /// Reads the service that users refer to by `id`.
    ///
    /// Errors: `ESRCH`.
    pub(crate) fn with_service<R>(
        &self,
        id: &ServiceId,
        read: impl FnOnce(&Service) -> R,
    ) -> Outcome<R> {
        self.service(id).map(|service| read(&service))
    }
}

fn is_any_port(key: &ServiceKey) -> bool {
    matches!(
        key,
        ServiceKey::Addr4 {
            port: Be16::ZERO,
            ..
        }
    )
}

fn zero(service: &Service) {
    rcu::read(|rcu| service.for_each_dest(rcu, |dest| dest.stats().zero()));
    service.stats().zero();
}
