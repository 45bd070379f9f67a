// SPDX-License-Identifier: GPL-2.0

//! A record of a case's objects: which were dropped, how often, and in which order.

use kernel::{
    alloc::KVVec,
    prelude::*,
    sync::Arc, //
};
use linux::atomic::{
    Acquire,
    Atomic,
    Relaxed,
    Release, //
};

/// The record in which [`Token`]s note that they are dropped.
pub(crate) struct Ledger {
    /// The number of drops of each.
    drops: KVVec<Atomic<u32>>,
    /// The numbers of those that were, in this order, as far as there is room.
    order: KVVec<Atomic<u32>>,
    total: Atomic<usize>,
}

/// Part of an object: the ledger gets to know when it is dropped.
pub(crate) struct Token {
    ledger: Arc<Ledger>,
    number: u32,
}

impl linux::rcu::Object for Token {
    type Links = ();
}

impl Ledger {
    /// A ledger for the objects with the numbers 0 to `objects - 1`.
    pub(crate) fn new(objects: usize) -> Result<Arc<Self>> {
        let zeroes = || -> Result<_> {
            let mut vec = KVVec::with_capacity(objects, GFP_KERNEL)?;
            for _ in 0..objects {
                vec.push_within_capacity(Atomic::new(0))?;
            }
            Ok(vec)
        };
        let ledger = Self {
            drops: zeroes()?,
            order: zeroes()?,
            total: Atomic::new(0),
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

    /// Returns the number of drops.
    pub(crate) fn dropped(&self) -> usize {
        self.total.load(Acquire)
    }

    /// Returns how often the object with this number was dropped.
    pub(crate) fn drops_of(&self, number: u32) -> u32 {
        let drops = self.drops.get(number as usize);
        drops.map_or(0, |drops| drops.load(Relaxed))
    }

    /// Returns whether each object was dropped once.
    pub(crate) fn each_once(&self) -> bool {
        let once = |drops: &Atomic<u32>| drops.load(Relaxed) == 1;
        self.dropped() == self.drops.len() && self.drops.iter().all(once)
    }

    /// Returns whether these were dropped, in this order, and nothing else.
    pub(crate) fn order_is(&self, numbers: &[u32]) -> bool {
        let same = |(place, &number): (&Atomic<u32>, &u32)| place.load(Relaxed) == number;
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
            drops.fetch_add(1, Relaxed);
        }
        let place = self.ledger.total.load(Relaxed);
        if let Some(place) = self.ledger.order.get(place) {
            place.store(self.number, Relaxed);
        }
        self.ledger.total.fetch_add(1, Release);
    }
}
