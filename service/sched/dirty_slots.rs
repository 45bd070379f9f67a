// SPDX-License-Identifier: GPL-2.0

//! How a server tells the scheduler of its service that it has changed.

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

/// The slots whose servers have changed, for those who look at them.
pub(crate) struct DirtySlots {
    pub(super) slots: dirty_bits::DirtyBits<KVVec<Word>>,
    /// What they look at.
    load_input: LoadInput,
}

impl linux::rcu::Object for DirtySlots {
    type Links = ();
}

impl DirtySlots {
    /// Sleeps.
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

/// Who is told when a server changes.
///
/// A writer changes the server by a read-modify-write that is [`Full`], and calls
/// [`DestNotifier::changed`] then. A reader calls [`DestNotifier::set`], which ends in a full barrier, and
/// looks at the server then. Of two such pairs at least one sees what the other wrote: either the look
/// finds the change, or the change is told.
pub(crate) struct DestNotifier {
    marks: SharedCell<DirtySlots>,
    /// The server's slot plus 1; 0 while nobody wants to be told.
    place: Atomic<u32>,
}

impl DestNotifier {
    pub(crate) const fn new() -> Self {
        Self {
            marks: SharedCell::empty(),
            place: Atomic::new(0),
        }
    }

    /// Says that there was such a change. Any context.
    #[inline]
    pub(crate) fn changed(&self, detail: LoadInput) {
        let Some(slot) = self.place.load(Relaxed).checked_sub(1) else {
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
        self.place.store(place, Relaxed);
        smp_mb(Full);
    }

    /// Nobody is told any more. Under the configuration lock.
    pub(crate) fn forget(&self) {
        self.place.store(0, Relaxed);
        self.marks.exchange(None);
    }
}

/// No server of the service tells anyone any more. Sleeps.
pub(super) fn forget_all(dests: &RcuSlots<Dest>) {
    dests.for_each(|_, dest, _| dest.notifier.forget());
}
