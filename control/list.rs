// SPDX-License-Identifier: GPL-2.0

//! Lists services and servers in a consistent state: nothing is added or removed meanwhile.

use super::ControlResult;
use crate::{
    netns::Netns,
    service::dest::Dest,
    service::Service,
    walk::Cursor, //
};
use core::ops::ControlFlow;
use ipvs_core::netlink::service::ServiceId;
use kernel::prelude::*;

impl Netns {
    /// Returns what `show` returns for the services, up to `limit` results. Services for which it
    /// returns `None` do not count.
    ///
    /// # Context
    ///
    /// May sleep; `show` must not.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn list_services<T>(
        &self,
        limit: usize,
        show: impl Fn(&Service) -> Option<T>,
    ) -> Result<KVVec<T>> {
        let _config = self.config.lock();
        let room = limit.min(self.service_tables().services.count());
        let mut list = KVVec::with_capacity(room, GFP_KERNEL)?;
        Cursor::default().for_each(&self.service_tables().services, |service, _| {
            if list.len() == room {
                return ControlFlow::Break(());
            }
            let _ = show(&service).map(|shown| list.push_within_capacity(shown));
            ControlFlow::Continue(())
        });
        Ok(list)
    }

    /// Returns what `show` returns for the servers of a service, the one added last first.
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is no such service, `ENOMEM`.
    pub(crate) fn list_dests<T>(
        &self,
        service: &ServiceId,
        limit: usize,
        show: impl Fn(&Dest) -> Option<T>,
    ) -> ControlResult<KVVec<T>> {
        let _config = self.config.lock();
        let service = self.service(service)?;
        let room = limit.min(service.dests.count());
        let mut list = KVVec::with_capacity(room, GFP_KERNEL).map_err(Error::from)?;
        service.dests.for_each(|_, dest, _| {
            if list.len() < room {
                let _ = show(&dest).map(|shown| list.push_within_capacity(shown));
            }
        });
        Ok(list)
    }
}
