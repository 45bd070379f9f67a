// SPDX-License-Identifier: GPL-2.0

//! The operations that users can perform on a network namespace, for all control interfaces. C:
//! `ip_vs_add_service()` etc.
//!
//! Each operation either does everything that it is asked for, or fails and changes nothing.
//!
//! # Context
//!
//! Process context. The operations take the namespace's configuration lock.

mod dests;
mod list;
mod services;

use crate::{
    netns::{
        services::ServiceTables,
        Netns, //
    },
    service::Service,
    walk::Cursor, //
};
use core::ops::ControlFlow;
use ipvs_core::{
    net::{
        Addr,
        Be128,
        Be32, //
    },
    netlink::{
        self,
        service::ServiceId,
        timeout::TimeoutConfig,
        AttrError,
        AF_INET6, //
    },
    tcp, //
};
use kernel::prelude::*;
use linux::jiffies::HZ;

/// The error of a refused operation.
pub(crate) struct ControlError {
    /// The error number for the user.
    pub(crate) errno: Error,
    /// The message for the user.
    pub(crate) message: &'static str,
    /// The netlink attribute of the service or server that is invalid.
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
            errno: Error::from_errno(error.errno.0.wrapping_neg()),
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

/// The result of an operation.
pub(crate) type ControlResult<T = ()> = Result<T, ControlError>;

const NO_SERVICE: ControlError = ControlError::new(ESRCH, "there is no such service");
const NO_DEST: ControlError = ControlError::new(ENOENT, "the service has no such server");

/// Converts an address of a request. `family` must be `AF_INET` or `AF_INET6`.
pub(crate) fn address(family: u16, bytes: &netlink::Addr) -> Addr {
    match family {
        AF_INET6 => Be128::from_bytes(*bytes).into(),
        _ => bytes
            .first_chunk()
            .map_or(Be32::ZERO, |bytes| Be32::from_bytes(*bytes))
            .into(),
    }
}

impl Netns {
    /// Zeroes the statistics of a service and its servers.
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is no such service.
    pub(crate) fn zero_service(&self, id: &ServiceId) -> ControlResult {
        let _config = self.config.lock();
        let service = self.service(id)?;
        zero(&service);
        Ok(())
    }

    /// Zeroes the statistics of all services and servers and of the namespace.
    pub(crate) fn zero_all(&self) {
        let _config = self.config.lock();
        let ServiceTables {
            services, dests, ..
        } = self.service_tables();

        // Servers first, as for one service.
        Cursor::default().for_each(dests, |dest, _| {
            if dest.available() {
                dest.stats().zero();
            }
            ControlFlow::Continue(())
        });
        Cursor::default().for_each(services, |service, _| {
            service.stats().zero();
            ControlFlow::Continue(())
        });
        self.stats().zero();
    }

    /// Sets timeouts. Those that are `None` are left unchanged.
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

    /// Returns the timeouts that users can set, in seconds.
    pub(crate) fn shown_timeouts(&self) -> TimeoutConfig {
        let secs = |ticks: u32| ticks.checked_div(HZ);
        TimeoutConfig {
            tcp: secs(self.timeouts.tcp(tcp::SETTABLE_TCP)),
            tcp_fin: secs(self.timeouts.tcp(tcp::SETTABLE_TCP_FIN)),
            udp: secs(self.timeouts.udp()),
        }
    }
}

fn zero(service: &Service) {
    service.dests.for_each(|_, dest, _| dest.stats().zero());
    service.stats().zero();
}
