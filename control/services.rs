// SPDX-License-Identifier: GPL-2.0

//! Adds, edits and removes services. C: `ip_vs_add_service()` etc.

use super::{
    address,
    ControlError,
    ControlResult,
    NO_SERVICE, //
};
use crate::{
    hook, log,
    netns::{
        services::ServiceCounts,
        Config,
        Netns, //
    },
    service::{
        trash::Open,
        Service, //
    },
};
use ipvs_core::{
    flow::ServiceKey,
    netlink::{
        consts::IP_VS_SVC_F_PERSISTENT,
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
    proto::Protocol,
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
        Shared, //
    },
};

/// Returns the key of a service that exists or may be added. C looks up any protocol; services of
/// unsupported protocols are not found here.
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

/// Looks up a scheduler by its name. `None` for "none".
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

/// Looks up a persistence engine by its name. `None` for an empty name.
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

/// Validates the settings of a service.
fn check_service(
    net: &Net,
    spec: &ServiceSpec<'_>,
) -> ControlResult<(Option<SchedulerKind>, Option<PeKind>)> {
    let kind = scheduler(net, spec.sched_name)?;
    let pe = persistence_engine(net, spec.pe_name)?;
    // For IPv6, the netmask is a prefix length.
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
    /// Looks up the service that users refer to by `id`.
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is none.
    pub(super) fn service(&self, id: &ServiceId) -> ControlResult<Shared<Service>> {
        let key = service_key(id).ok_or(NO_SERVICE)?;
        rcu::read(|rcu| self.service_tables().find_service(&key, rcu)?.share()).ok_or(NO_SERVICE)
    }

    /// Returns the counts of services of the key's family.
    fn counts(&self, key: &ServiceKey) -> &ServiceCounts {
        match key.family() {
            AF_INET6 => &self.v6.service_counts,
            _ => &self.v4.service_counts,
        }
    }

    /// Registers the netfilter hooks of a family.
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

    /// Unregisters the netfilter hooks of a family, if it has no services.
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
    /// # Errors
    ///
    /// - `EEXIST` if it exists.
    /// - `ENOENT` for an unknown scheduler.
    /// - `EINVAL` for an invalid IPv6 prefix length.
    /// - `EPROTONOSUPPORT`, `ENOSYS` for what is not supported yet.
    /// - `ENOMEM`, and those of [`linux::kthread::Thread::new`] for the first service.
    pub(crate) fn add_service(&self, spec: &ServiceSpec<'_>) -> ControlResult {
        let mut config = self.config.lock();
        if config.closed {
            return Err(ControlError::new(ENODEV, "the namespace is going away"));
        }
        let tables = self.service_tables();
        let key = service_key(&spec.id).map(|key| (key, tables.hash(&key)));
        let exists = |(key, hash)| rcu::read(|rcu| tables.find_hashed(&key, hash, rcu).is_some());
        if key.is_some_and(exists) {
            return Err(ControlError::new(EEXIST, "the service exists"));
        }
        let (kind, pe) = check_service(self.net(), spec)?;
        const PROTOCOL: ControlError = ControlError::about(
            IPVS_SVC_ATTR_PROTOCOL,
            EPROTONOSUPPORT,
            "services are for TCP, UDP and SCTP",
        );
        let (key, hash) = key.ok_or(PROTOCOL)?;
        if let ServiceKey::Addr { protocol, .. } = key {
            if Protocol::from_number(protocol).is_none() {
                return Err(PROTOCOL);
            }
        }

        let named = (
            spec.id.protocol as u8,
            address(spec.id.family, &spec.id.addr),
            spec.id.port,
        );
        self.prepare_conns(&key, spec.flags.apply(0), pe)?;
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
        self.counts(&key).add(&key, pe.is_some());
        let _ = tables.services.insert(service, |other| other.key() == &key);
        self.resize_later();
        Ok(())
    }

    /// Allocates what connections of a service with these flags need. May sleep.
    fn prepare_conns(&self, key: &ServiceKey, flags: u32, pe: Option<PeKind>) -> Result {
        let persistent = flags & IP_VS_SVC_F_PERSISTENT != 0 || pe.is_some();
        match key.family() {
            AF_INET6 => self.v6.prepare(persistent),
            _ => self.v4.prepare(persistent),
        }
    }

    /// Edits a service.
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is no such service, and those of [`Netns::add_service`] about settings.
    pub(crate) fn edit_service(&self, spec: &ServiceSpec<'_>) -> ControlResult {
        let _config = self.config.lock();
        let service = self.service(&spec.id)?;
        let (kind, pe) = check_service(self.net(), spec)?;
        self.prepare_conns(service.key(), spec.flags.apply(service.flags()), pe)?;
        service
            .scheduler
            .set(kind, &service.dests)
            .inspect_err(|&error| log::scheduler_failed(self.net(), kind, service.key(), error))?;
        self.sweep_later(&service);
        let had_pe = service.pe().is_some();
        service.configure(spec, pe);
        self.counts(service.key()).change_pe(had_pe, pe.is_some());
        Ok(())
    }

    /// Removes a service and its servers. Packets of its connections are dropped from then on, and
    /// the connections end by their timeouts.
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is no such service.
    pub(crate) fn delete_service(&self, id: &ServiceId) -> ControlResult {
        let mut config = self.config.lock();
        let service = self.service(id)?;
        self.service_tables().services.remove(&service);
        self.retire_service(&mut config, &mut self.trash.open(), &service);
        self.resize_later();
        self.expire_nodest();
        Ok(())
    }

    /// Releases what belongs to a service that was removed from the table.
    fn retire_service(&self, config: &mut Config, trash: &mut Open<'_>, service: &Service) {
        let key = service.key();
        self.counts(key).remove(key, service.pe().is_some());
        self.unhook(config, key);
        if service.is_tracked() {
            config.tracking(key.family()).0.remove();
        }
        service.scheduler.retire();
        // Each server refers to its service while it is in the trash.
        trash.reserve(service.dests.count());
        service.dests.clear(|dest| {
            dest.leave();
            trash.put(dest);
        });
        config.uses.pop();
    }

    /// Removes all services and their servers.
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

    /// Removes everything that users have set up; nothing can be added afterwards. Called when the
    /// namespace or the module is removed. A grace period has to follow, for which this does not
    /// wait.
    pub(crate) fn close(&self) {
        let mut config = self.config.lock();
        config.closed = true;
        self.flush_locked(&mut config);
        self.trash.empty();
        self.estimation.shut();
    }

    /// Calls a function with the service that users refer to by `id`.
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is no such service.
    pub(crate) fn with_service<R>(
        &self,
        id: &ServiceId,
        read: impl FnOnce(&Service) -> R,
    ) -> ControlResult<R> {
        self.service(id).map(|service| read(&service))
    }
}
