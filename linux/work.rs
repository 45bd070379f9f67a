// SPDX-License-Identifier: GPL-2.0

//! Work that runs later, in process context, once or again and again.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use crate::{
    atomic::{
        Full,
        InlineAtomic, //
    },
    bindings, //
};
use kernel::{
    ffi::{
        c_int,
        c_ulong, //
    },
    prelude::*,
    sync::LockClassKey,
    types::Opaque, //
};

/// The time at which work runs again.
pub enum Next {
    /// Not before someone schedules it.
    Done,
    /// After so many ticks, unless it is cancelled meanwhile.
    After(usize),
    /// After so many ticks, unless it is cancelled meanwhile; [`Work::hurry`] does not make it sooner. For
    /// work that has failed, and would fail again at once.
    Retry(usize),
}

/// The function of a work item.
pub trait Run: Send + Sync + 'static {
    /// Does it. May sleep, and take its time: it runs on the queue for long work.
    ///
    /// Runs on one CPU at a time. If the work is scheduled meanwhile, it runs once more.
    fn run(&self) -> Next;
}

/// Work that can be scheduled; cancelled, and waited for, when dropped.
///
/// It owns `T`, the data that it works on: nothing that is dropped sooner can be reached from it.
///
/// # Invariants
///
/// `inner.work` is initialised with [`callback`] for `T`.
pub struct Work<T: Run> {
    inner: Pin<KBox<Inner<T>>>,
}

#[pin_data]
struct Inner<T> {
    #[pin]
    work: Opaque<bindings::delayed_work>,
    /// Set if the work is to run at once, or a retry is pending, and it has not run since.
    hurried: InlineAtomic<bool>,
    run: T,
}

// SAFETY: The kernel guards the work item by its own locks, and `T` may be shared.
unsafe impl<T: Run> Send for Inner<T> {}
// SAFETY: As above.
unsafe impl<T: Run> Sync for Inner<T> {}

impl<T: Run> Work<T> {
    /// Makes work that is not scheduled. `class` is for lock debugging, `name` for its reports:
    /// each kind of work should have its own.
    pub fn new(run: T, name: &'static CStr, class: Pin<&'static LockClassKey>) -> Result<Self> {
        let inner = KBox::pin_init(
            pin_init!(Inner {
                work <- Opaque::ffi_init(|work: *mut bindings::delayed_work| {
                    // SAFETY: `work` is where the item will stay; `callback` and the timer function
                    // fit an item embedded in an `Inner<T>` and a delayed work.
                    unsafe {
                        bindings::init_work_with_key(
                            &raw mut (*work).work,
                            Some(callback::<T>),
                            false,
                            name.as_char_ptr(),
                            class.as_ptr(),
                        );
                        bindings::timer_init_key(
                            &raw mut (*work).timer,
                            Some(bindings::delayed_work_timer_fn),
                            bindings::TIMER_IRQSAFE,
                            // All kinds share this class, and a class has one name.
                            c"delayed work".as_char_ptr(),
                            kernel::static_lock_class!().as_ptr(),
                        );
                    }
                }),
                hurried: InlineAtomic::new(false),
                run,
            }),
            GFP_KERNEL,
        )?;
        // INVARIANT: Initialised above.
        Ok(Self { inner })
    }

    /// Runs the work after `delay` ticks. Any context. Does nothing if it is already waiting to
    /// run, however long that will take.
    pub fn schedule(&self, delay: usize) {
        self.inner.schedule(delay);
    }

    /// Runs the work at once, also if it waits to run later, unless it waits to try again
    /// ([`Next::Retry`]). Any context.
    ///
    /// Of those who are in a hurry before it runs, the first one queues it; what the others have done
    /// before is seen by the same run.
    pub fn hurry(&self) {
        // Also if it is set: whoever clears it sees then what was done before this.
        if self.inner.hurried.xchg(true, Full) {
            return;
        }
        self.inner.reschedule(0);
    }

    /// Makes it neither wait nor run any more. May sleep, so not under a lock that the work takes.
    /// It can be scheduled again afterwards.
    pub fn cancel(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::cancel_delayed_work_sync(self.inner.work.get()) };
        self.inner.hurried.xchg(false, Full);
    }
}

impl<T: Run> Drop for Work<T> {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<T> Inner<T> {
    fn schedule(&self, delay: usize) {
        // SAFETY: The item is initialised, by the invariant of `Work`, and stays until it was
        // cancelled.
        unsafe {
            bindings::queue_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                bindings::system_dfl_long_wq,
                self.work.get(),
                delay as c_ulong,
            )
        };
    }

    /// Runs the work after `delay` ticks, however long it would have waited otherwise.
    fn reschedule(&self, delay: usize) {
        // SAFETY: As in `schedule`.
        unsafe {
            bindings::mod_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                bindings::system_dfl_long_wq,
                self.work.get(),
                delay as c_ulong,
            )
        };
    }
}

/// # Safety
///
/// Must only be called by the workqueue, for the item of an `Inner<T>`.
unsafe extern "C" fn callback<T: Run>(work: *mut bindings::work_struct) {
    let delayed = work
        .cast::<u8>()
        .wrapping_sub(core::mem::offset_of!(bindings::delayed_work, work))
        .cast::<Opaque<bindings::delayed_work>>();
    // SAFETY: The item is in an `Inner<T>`, and its owner waits for this call before it is freed.
    let inner = unsafe { &*kernel::container_of!(delayed, Inner<T>, work) };
    inner.hurried.xchg(false, Full);
    match inner.run.run() {
        Next::Done => {}
        Next::After(delay) => inner.schedule(delay),
        Next::Retry(delay) => {
            // Before the work is queued, so that it is cleared by the run that this leads to.
            inner.hurried.xchg(true, Full);
            // Somebody who was in a hurry while it ran has queued it to run at once.
            inner.reschedule(delay);
        }
    }
}
