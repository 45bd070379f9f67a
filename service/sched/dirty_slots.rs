// SPDX-License-Identifier: GPL-2.0

//! Notifies the scheduler of a service about changed servers. The set of changed slots is
//! [`ipvs_core::sched::dirty_bits`].

use crate::service::dest::Dest;
use ipvs_core::sched::{
    dirty_bits,
    LoadInput, //
};
use kernel::prelude::*;
use linux::{
    atomic::{
        smp_mb, //
        Atomic,
        Full,
        InlineAtomic,
        Relaxed,
    },
    rcu::{
        Shared,
        SharedCell, //
    },
    rcu_slots::RcuSlots, //
};

/// A word of [`DirtySlots`]. Inline, since each new connection may set a bit.
pub(crate) struct Word(InlineAtomic<u64>);

impl dirty_bits::Word for Word {
    #[inline]
    fn load(&self) -> u64 {
        self.0.load(Relaxed)
    }

    #[inline]
    fn fetch_or(&self, mask: u64) -> u64 {
        self.0.fetch_or(mask, Full)
    }

    #[inline]
    fn take(&self) -> u64 {
        self.0.xchg(0, Full)
    }
}

/// The set of slots whose servers have changed.
pub(crate) struct DirtySlots {
    pub(super) slots: dirty_bits::DirtyBits<KVVec<Word>>,
    /// The changes that are of interest.
    load_input: LoadInput,
}

impl linux::rcu::Object for DirtySlots {
    type Links = ();
}

impl DirtySlots {
    /// Creates an empty set. Sleeps.
    pub(super) fn new(slots: usize, load_input: LoadInput) -> Result<Shared<Self>> {
        let count = dirty_bits::DirtyBits::<KVVec<Word>>::words_for(slots);
        let mut words = KVVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            words.push_within_capacity(Word(InlineAtomic::new(0)))?;
        }
        let slots = dirty_bits::DirtyBits::new(words, slots);
        Shared::pin_init(try_init!(Self { slots, load_input }? Error), GFP_KERNEL)
    }
}

/// The recipient of notifications about a server's changes.
///
/// Whoever changes a server writes the change first, with [`Full`], and then calls
/// [`DestNotifier::changed`]. A scheduler that wants notifications calls [`DestNotifier::set`]
/// first and reads the server then. All these operations have a single order, in which either the
/// read comes after the change, or the change is notified.
pub(crate) struct DestNotifier {
    dirty_slots: SharedCell<DirtySlots>,
    /// The server's slot plus 1; 0 if there is no recipient.
    place: Atomic<u32>,
}

impl DestNotifier {
    pub(crate) const fn new() -> Self {
        Self {
            dirty_slots: SharedCell::empty(),
            place: Atomic::new(0),
        }
    }

    /// Notifies about a change. Any context.
    #[inline]
    pub(crate) fn changed(&self, detail: LoadInput) {
        let Some(slot) = self.place.load(Relaxed).checked_sub(1) else {
            return;
        };
        linux::rcu::read(|rcu| {
            if let Some(dirty_slots) = self.dirty_slots.get(rcu) {
                if detail <= dirty_slots.load_input {
                    dirty_slots.slots.mark(slot as usize);
                }
            }
        });
    }

    /// Sets the recipient. Under the configuration lock.
    pub(super) fn set(&self, dirty_slots: &Shared<DirtySlots>, slot: usize) {
        let Some(place) = u32::try_from(slot)
            .ok()
            .and_then(|slot| slot.checked_add(1))
        else {
            return;
        };
        // A concurrent notification may go to the wrong set or slot. That costs an unnecessary
        // read, and no change is missed: it was made before the read that follows.
        self.dirty_slots.replace(dirty_slots.clone());
        self.place.store(place, Relaxed);
        smp_mb(Full);
    }

    /// Removes the recipient. Under the configuration lock.
    pub(crate) fn forget(&self) {
        self.place.store(0, Relaxed);
        self.dirty_slots.exchange(None);
    }
}

/// Removes the recipients of all servers of a service. Sleeps.
pub(super) fn forget_all(dests: &RcuSlots<Dest>) {
    dests.for_each(|_, dest, _| dest.notifier.forget());
}
