// SPDX-License-Identifier: GPL-2.0

//! Tables of objects that end by themselves when their deadline has passed.
//!
//! An object goes through three states: [`New`], known to its maker alone; published, found by
//! readers under RCU, none of which has a reference; retired, out of the table and kept until the
//! readers that still see it have left. Its deadline is a field of its own, which is cheap to move:
//! the timer looks at it when it fires, and arms itself again.
//!
//! An object is retired by its timer, or by [`Table::clear`] in process context, which waits for
//! the timer. Nothing else does it, so the timer of a retired object is not touched any more.
//!
//! The memory of an object may be kept longer, if its type allows that: see [`EntryRef`].
//!
//! C counterpart: `struct ip_vs_conn` with its timer, reference count and `ip_vs_conn_expire()`.

mod entry;
mod quota;
mod refs;
mod table;

pub use entry::Expiring;
pub use quota::{
    Quota,
    Refused, //
};
pub use refs::{
    EntryRef,
    Holds,
    RefCounted, //
};
pub use table::{
    New,
    Table,
    TableRef, //
};

use crate::table::Hashed;

/// An object with a deadline.
pub trait Entry: Hashed {
    /// Counts who keeps its memory: `()` if only the table does, [`RefCounted`] if each [`EntryRef`]
    /// does too.
    type Holds: Holds;

    /// What a table belongs to, for [`Self::retired`]. It is dropped with the table, in softirq context.
    type Owner: Send + Sync + 'static;

    /// Returns the deadline: the tick (see [`crate::jiffies`]) at which the object ends. It may be moved
    /// at any time. After it was moved to an earlier tick, [`Expiring::mod_earlier`] must be called.
    fn deadline(&self) -> usize;

    /// Returns whether the object may end now that its deadline has passed. If not, it has moved its
    /// deadline to a later tick.
    ///
    /// # Context
    ///
    /// Softirq.
    fn may_end(&self) -> bool;

    /// Tells the object that it has left `table`. Called once, while readers may still see it.
    ///
    /// # Context
    ///
    /// Softirq, or process context in [`Table::clear`].
    fn retired(&self, table: &Table<Self>)
    where
        Self: Sized;
}
