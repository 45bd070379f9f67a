// SPDX-License-Identifier: GPL-2.0

//! The lookup table of the schedulers `dh`, `sh` and `mh`. [`ipvs_core::sched::by_hash`] computes
//! it and looks servers up in it.

use super::{
    dests_view::DestView,
    Change, //
};
use crate::service::dest::Dest;
use ipvs_core::sched::{
    by_hash::{
        Member,
        NO_SERVER, //
    },
    ByHash,
    SchedRequest,
    Server, //
};
use kernel::prelude::*;
use linux::{
    rcu::{
        ReadLocked,
        Shared,
        SharedCell, //
    },
    rcu_slots::RcuSlots, //
};

/// The lookup table: the server of each bucket. It is immutable; readers see either the old or the
/// new one.
pub(super) struct LookupTable {
    dests: KVVec<SharedCell<Dest>>,
    /// For each bucket, the number of a server in `dests`.
    buckets: KVVec<u32>,
}

fn member(dest: &Dest, change: Option<Change<'_>>) -> Member {
    let (weight, last_weight) = match change {
        Some(Change::Add(other, weight)) if core::ptr::eq(&**other, dest) => (weight, weight),
        Some(Change::Weigh(other, weight)) if core::ptr::eq(other, dest) => {
            let last = if weight != 0 {
                weight
            } else {
                dest.last_weight()
            };
            (weight, last)
        }
        _ => (dest.weight(), dest.last_weight()),
    };
    Member {
        addr: dest.addr(),
        port: dest.port(),
        weight,
        last_weight,
        setup: Default::default(),
    }
}

impl linux::rcu::Object for LookupTable {
    type Links = ();
}

impl LookupTable {
    /// Computes the table for the servers as they will be after the change. `None` if there are too
    /// many of them. Sleeps.
    pub(super) fn new(
        kind: ByHash,
        rcu_slots: &RcuSlots<Dest>,
        change: Option<Change<'_>>,
    ) -> Result<Option<Shared<Self>>> {
        let room = rcu_slots.count().saturating_add(1);
        let mut dests = KVVec::with_capacity(room, GFP_KERNEL)?;
        let mut members = KVVec::with_capacity(room, GFP_KERNEL)?;
        let mut take = |dest: Shared<Dest>| -> Result {
            members.push_within_capacity(member(&dest, change))?;
            dests.push_within_capacity(SharedCell::new(dest))?;
            Ok(())
        };
        if let Some(Change::Add(dest, _)) = change {
            take(dest.clone())?;
        }
        let mut taken = Ok(());
        rcu_slots.for_each(|_, dest, _| {
            let goes = matches!(change, Some(Change::Remove(other))
                if core::ptr::eq(other, dest.get()));
            if let (Ok(()), false, Some(dest)) = (taken, goes, dest.share()) {
                taken = take(dest);
            }
        });
        taken?;

        let mut buckets = KVVec::from_elem(NO_SERVER, kind.table_size(), GFP_KERNEL)?;
        if kind.fill(&mut members, &mut buckets).is_err() {
            return Ok(None);
        }
        let map = Shared::pin_init(try_init!(Self { dests, buckets }? Error), GFP_KERNEL)?;
        Ok(Some(map))
    }

    /// Picks the server for a new connection.
    #[inline]
    pub(super) fn pick<'rcu>(
        &self,
        kind: ByHash,
        request: &SchedRequest,
        flags: u32,
        rcu: ReadLocked<'rcu>,
    ) -> Option<DestView<'rcu>> {
        kind.pick(request, flags, |bucket| {
            let number = *self.buckets.get(bucket)?;
            self.dests.get(number as usize)?.get(rcu).map(DestView)
        })
    }
}
