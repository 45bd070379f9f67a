// SPDX-License-Identifier: GPL-2.0

//! Lists of services and servers as they are at one time: nothing is added or removed while one is
//! made.

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
    /// What `show` makes of the services, up to `limit` of them; those of which it makes nothing
    /// don't count. May sleep; `show` may not.
    ///
    /// Errors: `ENOMEM`.
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

    /// The same for the servers of a service, the last one added first.
    ///
    /// Errors: `ESRCH`, `ENOMEM`.
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
