// SPDX-License-Identifier: GPL-2.0

//! Services: adding, changing and removing them. C: `ip_vs_add_service()` and its kin.

use super::{
    address,
    ControlError,
    ControlResult,
    NO_SERVICE, //
};
use crate::{
    hook,
    log,
    netns::{
        Config,
        Netns,
        ServiceCounts, //
    },
    schedule::FTPPORT,
    service::trash::Open, //
    service::Service,
};
use core::sync::atomic::{
    AtomicU32,
    Ordering::Relaxed, //
};
use ipvs_core::{
    flow::ServiceKey,
    ipv4::{
        PROTO_TCP,
        PROTO_UDP, //
    },
    net::Be16,
    netlink::{
        service::{
            ServiceId,
            ServiceSpec, //
        },
        AF_INET6,
        IPVS_SVC_ATTR_NETMASK,
        IPVS_SVC_ATTR_PE_NAME,
        IPVS_SVC_ATTR_PROTOCOL,
        IPVS_SVC_ATTR_SCHED_NAME, //
    },
    pe::PeKind,
    sched::SchedulerKind, //
};
use kernel::prelude::*;
use linux::{
    module::ModuleRef,
    net::Net,
    netfilter::{
        self,
        Defrag6, //
    },
    rcu::{
        self,
        ReadLocked,
        Shared, //
    },
};

/// The key of a service that exists or may come to exist. C looks up any protocol it is asked for;
/// what can't exist yet is not found.
fn service_key(id: &ServiceId) -> Option<ServiceKey> {
    if id.fwmark != 0 {
        return Some(ServiceKey::Fwmark {
            family: id.family as u8,
            mark: id.fwmark,
        });
    }
    Some(ServiceKey::Addr {
        protocol: u8::try_from(id.protocol).ok()?,
        addr: address(id.family, &id.addr),
        port: id.port,
    })
}

/// The scheduler of this name; `None` is the one called "none".
fn scheduler(net: &Net, name: &[u8]) -> ControlResult<Option<SchedulerKind>> {
    if name == b"none" {
        return Ok(None);
    }
    SchedulerKind::from_name(name).map(Some).ok_or_else(|| {
        log::no_scheduler(net, name);
        ControlError::about(
            IPVS_SVC_ATTR_SCHED_NAME,
            ENOENT,
            "there is no such scheduler",
        )
    })
}

/// The persistence engine of this name; an empty one names none.
fn persistence_engine(net: &Net, name: Option<&[u8]>) -> ControlResult<Option<PeKind>> {
    match name {
        None | Some([]) => Ok(None),
        Some(name) => PeKind::from_name(name).map(Some).ok_or_else(|| {
            log::no_engine(net, name);
            ControlError::about(
                IPVS_SVC_ATTR_PE_NAME,
                ENOENT,
                "there is no such persistence engine",
            )
        }),
    }
}

/// Refuses what makes no sense.
fn check_service(
    net: &Net,
    spec: &ServiceSpec<'_>,
) -> ControlResult<(Option<SchedulerKind>, Option<PeKind>)> {
    let kind = scheduler(net, spec.sched_name)?;
    let pe = persistence_engine(net, spec.pe_name)?;
    // For IPv6 it is the length of a prefix.
    if spec.id.family == AF_INET6 && !matches!(spec.netmask.raw(), 1..=128) {
        return Err(ControlError::about(
            IPVS_SVC_ATTR_NETMASK,
            EINVAL,
            "the prefix length of an IPv6 service is not within 1 to 128",
        ));
    }
    Ok((kind, pe))
}

impl Netns {
    /// The service that users refer to by `id`.
    pub(super) fn service(&self, id: &ServiceId) -> ControlResult<Shared<Service>> {
        let key = service_key(id).ok_or(NO_SERVICE)?;
        rcu::read(|rcu| self.find_service(&key, rcu)?.share()).ok_or(NO_SERVICE)
    }

    /// The service with exactly this key. Under RCU.
    #[inline]
    pub(crate) fn find_service<'rcu>(
        &self,
        key: &ServiceKey,
        rcu: ReadLocked<'rcu>,
    ) -> Option<rcu::Borrowed<'rcu, Service>> {
        self.find_hashed(key, key.hash(self.service_key()), rcu)
    }

    /// The same if its hash is known.
    fn find_hashed<'rcu>(
        &self,
        key: &ServiceKey,
        hash: u32,
        rcu: ReadLocked<'rcu>,
    ) -> Option<rcu::Borrowed<'rcu, Service>> {
        self.service_tables()
            .services
            .find(rcu, hash, |service, _| service.key() == key)
    }

    /// How many services of the key's family there are.
    fn counts(&self, key: &ServiceKey) -> &ServiceCounts {
        match key.family() {
            AF_INET6 => &self.v6().service_counts,
            _ => &self.v4().service_counts,
        }
    }

    /// The counters that a service with this key counts for.
    fn counters(&self, key: &ServiceKey) -> (&AtomicU32, Option<&AtomicU32>) {
        let counts = self.counts(key);
        match *key {
            ServiceKey::Fwmark { .. } => (&counts.fwmark, None),
            ServiceKey::Addr { port, .. } => {
                let also = match port {
                    Be16::ZERO => Some(&counts.any_port),
                    FTPPORT => Some(&counts.ftp),
                    _ => None,
                };
                (&counts.addr, also)
            }
        }
    }

    /// Lets packets of a family come in.
    fn hook(&self, config: &mut Config, family: u16) -> Result {
        if family == AF_INET6 && config.hooks6.is_none() {
            let defrag = Defrag6::new(self.net())?;
            let hooks = netfilter::Registration::new(self.net(), &hook::OPS6)?;
            config.hooks6 = Some((hooks, defrag));
        }
        if family != AF_INET6 && config.hooks4.is_none() {
            config.hooks4 = Some(netfilter::Registration::new(self.net(), &hook::OPS4)?);
        }
        Ok(())
    }

    /// Lets no packets of a family come in any more, if there are no services for them.
    fn unhook(&self, config: &mut Config, key: &ServiceKey) {
        if !self.counts(key).none() {
            return;
        }
        match key.family() {
            AF_INET6 => config.hooks6 = None,
            _ => config.hooks4 = None,
        }
    }

    /// Adds a service.
    ///
    /// Errors: `EEXIST`; `ENOENT` for an unknown scheduler; `EINVAL` for an IPv6 prefix length that
    /// makes no sense; `EPROTONOSUPPORT` and `ENOSYS` for what is not supported yet; `ENOMEM`;
    /// those of [`linux::kthread::Thread::new`] for the first service.
    pub(crate) fn add_service(&self, spec: &ServiceSpec<'_>) -> ControlResult {
        let mut config = self.config.lock();
        if config.closed {
            return Err(ControlError::new(ENODEV, "the namespace is going away"));
        }
        let key = service_key(&spec.id).map(|key| (key, key.hash(self.service_key())));
        if key
            .is_some_and(|(key, hash)| rcu::read(|rcu| self.find_hashed(&key, hash, rcu).is_some()))
        {
            return Err(ControlError::new(EEXIST, "the service exists"));
        }
        let (kind, pe) = check_service(self.net(), spec)?;
        const PROTOCOL: ControlError = ControlError::about(
            IPVS_SVC_ATTR_PROTOCOL,
            EPROTONOSUPPORT,
            "services are for TCP and UDP",
        );
        let (key, hash) = key.ok_or(PROTOCOL)?;
        if let ServiceKey::Addr { protocol, .. } = key {
            if protocol != PROTO_TCP && protocol != PROTO_UDP {
                return Err(PROTOCOL);
            }
        }

        let named = (
            spec.id.protocol as u8,
            address(spec.id.family, &spec.id.addr),
            spec.id.port,
        );
        let service = Service::new(key, hash, named, kind, self.settings.clone())
            .inspect_err(|&error| log::scheduler_failed(self.net(), kind, &key, error))?;
        let service = Shared::pin_init(service, GFP_KERNEL)?;
        service.configure(spec, pe);
        let in_use = ModuleRef::new(kernel::module::this_module::<crate::LocalModule>()).ok_or(
            ControlError::new(ENOPROTOOPT, "the module is being unloaded"),
        )?;
        config.uses.reserve(1, GFP_KERNEL).map_err(Error::from)?;
        self.hook(&mut config, key.family())?;
        if let Err(error) = self.estimation.start() {
            self.unhook(&mut config, &key);
            return Err(error.into());
        }

        // Nothing fails from here on.
        self.sweep_later(&service);
        let _ = config.uses.push_within_capacity(in_use);
        let (counter, also) = self.counters(&key);
        counter.fetch_add(1, Relaxed);
        if let Some(counter) = also {
            counter.fetch_add(1, Relaxed);
        }
        if pe.is_some() {
            self.counts(&key).conn_out.fetch_add(1, Relaxed);
        }
        let _ = self
            .service_tables()
            .services
            .insert(service, |other| other.key() == &key);
        self.resize_later();
        Ok(())
    }

    /// Changes a service.
    ///
    /// Errors: `ESRCH`, and those of [`Netns::add_service`] that still make sense.
    pub(crate) fn edit_service(&self, spec: &ServiceSpec<'_>) -> ControlResult {
        let _config = self.config.lock();
        let service = self.service(&spec.id)?;
        let (kind, pe) = check_service(self.net(), spec)?;
        service
            .scheduler
            .set(kind, &service.dests)
            .inspect_err(|&error| log::scheduler_failed(self.net(), kind, service.key(), error))?;
        self.sweep_later(&service);
        let had_pe = service.pe().is_some();
        service.configure(spec, pe);
        let conn_out = &self.counts(service.key()).conn_out;
        match (had_pe, pe) {
            (false, Some(_)) => _ = conn_out.fetch_add(1, Relaxed),
            (true, None) => _ = conn_out.fetch_sub(1, Relaxed),
            _ => (),
        }
        Ok(())
    }

    /// Removes a service and its servers. Its connections get no more packets through, and end in
    /// their time.
    ///
    /// Errors: `ESRCH`.
    pub(crate) fn delete_service(&self, id: &ServiceId) -> ControlResult {
        let mut config = self.config.lock();
        let service = self.service(id)?;
        self.service_tables().services.remove(&service);
        self.retire_service(&mut config, &mut self.trash.open(), &service);
        self.resize_later();
        self.expire_nodest();
        Ok(())
    }

    /// Ends a service that was removed from the table.
    fn retire_service(&self, config: &mut Config, trash: &mut Open<'_>, service: &Service) {
        let key = service.key();
        let (counter, also) = self.counters(key);
        counter.fetch_sub(1, Relaxed);
        if let Some(counter) = also {
            counter.fetch_sub(1, Relaxed);
        }
        if service.pe().is_some() {
            self.counts(key).conn_out.fetch_sub(1, Relaxed);
        }
        self.unhook(config, key);
        service.scheduler.retire();
        // Each keeps its service as long as it is in the trash.
        trash.reserve(service.dests.count());
        service.dests.clear(|dest| {
            dest.leave();
            trash.put(dest);
        });
        config.uses.pop();
    }

    /// Removes all services.
    pub(crate) fn flush(&self) {
        let mut config = self.config.lock();
        self.flush_locked(&mut config);
    }

    fn flush_locked(&self, config: &mut Config) {
        let mut trash = self.trash.open();
        let services = &self.service_tables().services;
        services.clear(|service| self.retire_service(config, &mut trash, &service));
        drop(trash);
        if !config.closed {
            self.resize_later();
            self.expire_nodest();
        }
    }

    /// Ends all that users have set up; nothing can be added any more. When the namespace dies or
    /// the module goes; what comes next is a grace period, which this need not wait for.
    pub(crate) fn close(&self) {
        let mut config = self.config.lock();
        config.closed = true;
        self.flush_locked(&mut config);
        self.trash.empty();
        self.estimation.shut();
    }

    /// Reads the service that users refer to by `id`.
    ///
    /// Errors: `ESRCH`.
    pub(crate) fn with_service<R>(
        &self,
        id: &ServiceId,
        read: impl FnOnce(&Service) -> R,
    ) -> ControlResult<R> {
        self.service(id).map(|service| read(&service))
    }
}
