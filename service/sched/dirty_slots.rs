// SPDX-License-Identifier: GPL-2.0

//! How a server tells the scheduler of its service that it has changed.

use crate::service::dest::Dest;
use core::sync::atomic::{
    AtomicU32,
    AtomicU64,
    Ordering::SeqCst, //
};
use ipvs_core::sched::{
    dirty_bits,
    LoadInput, //
};
use kernel::prelude::*;
use linux::{
    rcu::{
        Shared,
        SharedCell, //
    },
    rcu_slots::RcuSlots, //
};

/// The slots whose servers have changed, for those who look at them.
pub(crate) struct DirtySlots {
    pub(super) slots: dirty_bits::DirtyBits<KVVec<AtomicU64>>,
    /// What they look at.
    load_input: LoadInput,
}

impl DirtySlots {
    /// Sleeps.
    pub(super) fn new(slots: usize, load_input: LoadInput) -> Result<Shared<Self>> {
        let count = dirty_bits::DirtyBits::<KVVec<AtomicU64>>::words_for(slots);
        let mut words = KVVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            words.push_within_capacity(AtomicU64::new(0))?;
        }
        let slots = dirty_bits::DirtyBits::new(words, slots);
        Shared::pin_init(try_init!(Self { slots, load_input }? Error), GFP_KERNEL)
    }
}

/// Who is told when a server changes.
///
/// Whoever changes a server does so first, with [`SeqCst`], and calls [`DestNotifier::changed`] then. Who
/// wants to be told calls [`DestNotifier::set`] first and looks at the server then. In the one order that
/// all of these have, either the look comes after the change, or the change is told.
pub(crate) struct DestNotifier {
    marks: SharedCell<DirtySlots>,
    /// The server's slot plus 1; 0 while nobody wants to be told.
    place: AtomicU32,
}

impl DestNotifier {
    pub(crate) const fn new() -> Self {
        Self {
            marks: SharedCell::empty(),
            place: AtomicU32::new(0),
        }
    }

    /// Says that there was such a change. Any context.
    #[inline]
    pub(crate) fn changed(&self, detail: LoadInput) {
        let Some(slot) = self.place.load(SeqCst).checked_sub(1) else {
            return;
        };
        linux::rcu::read(|rcu| {
            if let Some(marks) = self.marks.get(rcu) {
                if detail <= marks.load_input {
                    marks.slots.mark(slot as usize);
                }
            }
        });
    }

    /// From now on, `marks` is told. Under the configuration lock.
    pub(super) fn set(&self, marks: &Shared<DirtySlots>, slot: usize) {
        let Some(place) = u32::try_from(slot)
            .ok()
            .and_then(|slot| slot.checked_add(1))
        else {
            return;
        };
        // A change that is told meanwhile is marked in the wrong set or slot. That costs a look, and
        // nothing is missed: it was made before the look that follows.
        self.marks.replace(marks.clone());
        self.place.store(place, SeqCst);
        core::sync::atomic::fence(SeqCst);
    }

    /// Nobody is told any more. Under the configuration lock.
    pub(crate) fn forget(&self) {
        self.place.store(0, SeqCst);
        self.marks.exchange(None);
    }
}

/// No server of the service tells anyone any more. Sleeps.
pub(super) fn forget_all(dests: &RcuSlots<Dest>) {
    dests.for_each(|_, dest, _| dest.notifier.forget());
}
