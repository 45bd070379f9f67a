// SPDX-License-Identifier: GPL-2.0

//! What becomes of the objects of a case: which were dropped, how often, and in which order.

use core::sync::atomic::{
    AtomicU32,
    AtomicUsize,
    Ordering, //
};
use kernel::{
    alloc::KVVec,
    prelude::*,
    sync::Arc, //
};

/// Where [`Token`]s note that they are dropped.
pub(crate) struct NetnsStats {
    /// How often each was.
    drops: KVVec<AtomicU32>,
    /// The numbers of those that were, in this order, as far as there is room.
    order: KVVec<AtomicU32>,
    total: AtomicUsize,
}

/// Part of an object: the ledger gets to know when it is dropped.
pub(crate) struct Token {
    ledger: Arc<NetnsStats>,
    number: u32,
}

impl NetnsStats {
    /// A ledger for the objects with the numbers 0 to `objects - 1`.
    pub(crate) fn new(objects: usize) -> Result<Arc<Self>> {
        let zeroes = || -> Result<_> {
            let mut vec = KVVec::with_capacity(objects, GFP_KERNEL)?;
            for _ in 0..objects {
                vec.push_within_capacity(AtomicU32::new(0))?;
            }
            Ok(vec)
        };
        let ledger = Self {
            drops: zeroes()?,
            order: zeroes()?,
            total: AtomicUsize::new(0),
        };
        Ok(Arc::new(ledger, GFP_KERNEL)?)
    }

    /// A token for the object with this number.
    pub(crate) fn token(self: &Arc<Self>, number: u32) -> Token {
        Token {
            ledger: self.clone(),
            number,
        }
    }

    /// How many drops there were.
    pub(crate) fn dropped(&self) -> usize {
        self.total.load(Ordering::Acquire)
    }

    /// How often the object with this number was dropped.
    pub(crate) fn drops_of(&self, number: u32) -> u32 {
        let drops = self.drops.get(number as usize);
        drops.map_or(0, |drops| drops.load(Ordering::Relaxed))
    }

    /// Whether each object was dropped once.
    pub(crate) fn each_once(&self) -> bool {
        let once = |drops: &AtomicU32| drops.load(Ordering::Relaxed) == 1;
        self.dropped() == self.drops.len() && self.drops.iter().all(once)
    }

    /// Whether these were dropped, in this order, and nothing else.
    pub(crate) fn order_is(&self, numbers: &[u32]) -> bool {
        let same = |(place, &number): (&AtomicU32, &u32)| place.load(Ordering::Relaxed) == number;
        self.dropped() == numbers.len() && self.order.iter().zip(numbers).all(same)
    }
}

impl Token {
    /// The number of the object.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if let Some(drops) = self.ledger.drops.get(self.number as usize) {
            drops.fetch_add(1, Ordering::Relaxed);
        }
        let place = self.ledger.total.load(Ordering::Relaxed);
        if let Some(place) = self.ledger.order.get(place) {
            place.store(self.number, Ordering::Relaxed);
        }
        self.ledger.total.fetch_add(1, Ordering::Release);
    }
}
