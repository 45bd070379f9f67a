// SPDX-License-Identifier: GPL-2.0

//! Kernel threads, each of which ends with the value that stands for it.
//!
//! ```ignore
//! struct Clock;
//!
//! impl Main for Clock {
//!     fn main(&self, this: &This) {
//!         while this.sleep(HZ as usize) {
//!             pr_info!("tick\n");
//!         }
//!     }
//! }
//!
//! let thread = Thread::new(Clock, c"clock", Settings::default())?;
//! thread.start();
//! ```
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use crate::bindings;
use core::{
    marker::PhantomData,
    ops::RangeInclusive,
    ptr::NonNull, //
};
use kernel::{
    cpumask::Cpumask,
    error::{
        from_err_ptr,
        to_result, //
    },
    ffi::{
        c_int,
        c_long,
        c_void, //
    },
    prelude::*,
    sync::aref::ARef,
    task::Task, //
};

/// The nice values that there are.
pub const NICE: RangeInclusive<i32> = bindings::MIN_NICE..=bindings::MAX_NICE as i32;

/// The main function of a thread.
pub trait Main: Send + Sync + 'static {
    /// Does it, once. May sleep. It should return soon after `this` says that it is to stop, since
    /// someone waits for that; it may return sooner.
    fn main(&self, this: &This);
}

/// The thread that runs. It stays with it.
pub struct This(PhantomData<*mut ()>);

/// Wakes a thread that waits. It may outlive the thread.
#[derive(Clone)]
pub struct Waker(ARef<Task>);

impl Waker {
    /// Makes the thread look again at what it waits for. Any context.
    #[inline]
    pub fn wake(&self) {
        // SAFETY: The reference keeps the task's memory; one that has ended is not woken.
        unsafe { bindings::wake_up_process(self.0.as_ptr()) };
    }
}

/// The scheduling of a thread.
#[derive(Clone, Copy, Default)]
pub struct Settings<'a> {
    /// Its nice value, one of [`NICE`].
    pub nice: i32,
    /// The CPUs that the thread may run on. If the machine has none of them for such threads, or
    /// for `None`, the kernel chooses.
    pub cpus: Option<&'a Cpumask>,
}

/// A kernel thread. When it is dropped, it is stopped and waited for, which may sleep; so not under
/// a lock that the thread takes.
///
/// The data that the thread works on belongs to this value, since a thread that is stopped before it first
/// ran never calls its function. It is dropped after the thread has ended.
///
/// # Invariants
///
/// `task` is a kernel thread that [`entry`] for `T` was given to, with a pointer to `_main`, and
/// that nobody else stops.
pub struct Thread<T: Main> {
    task: ARef<Task>,
    _main: KBox<T>,
}

impl<T: Main> Thread<T> {
    /// Makes a thread of this name, of which the first 15 bytes are shown everywhere. It does
    /// nothing before it is started. Process context; may sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a nice value that does not exist; `ENOMEM`; `EAGAIN` if there are too many
    /// threads; `EINTR` if the current process is being killed.
    pub fn new(main: T, name: &CStr, settings: Settings<'_>) -> Result<Self> {
        if !NICE.contains(&settings.nice) {
            return Err(EINVAL);
        }
        let main = KBox::new(main, GFP_KERNEL)?;
        // SAFETY: `entry` fits what it gets. The format takes one string, which is copied.
        let task = from_err_ptr(unsafe {
            bindings::kthread_create_on_node(
                Some(entry::<T>),
                core::ptr::from_ref(&*main).cast_mut().cast::<c_void>(),
                bindings::NUMA_NO_NODE,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })?;
        // SAFETY: A new thread waits to be woken or stopped, so it is there; `Task` is transparent.
        let task = unsafe { NonNull::new_unchecked(task).cast::<Task>().as_ref() };
        // INVARIANT: Just made. A box does not move its value.
        let thread = Self {
            task: task.into(),
            _main: main,
        };
        // SAFETY: By the type invariant.
        unsafe { bindings::set_user_nice(thread.task.as_ptr(), settings.nice as c_long) };
        if let Some(cpus) = settings.cpus {
            // SAFETY: As above; it was not woken yet, and has no preference yet.
            to_result(unsafe {
                bindings::kthread_affine_preferred(thread.task.as_ptr(), cpus.as_raw())
            })?;
        }
        Ok(thread)
    }

    /// Starts it. Any context. Does nothing if it was started before.
    pub fn start(&self) {
        self.waker().wake();
    }

    /// Returns what wakes it when it waits. A wake-up before [`Self::start`] starts it.
    pub fn waker(&self) -> Waker {
        Waker(self.task.clone())
    }
}

impl<T: Main> Drop for Thread<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; it is stopped once, also if it has returned already. None
        // of our code runs in it afterwards.
        unsafe { bindings::kthread_stop(self.task.as_ptr()) };
    }
}

impl This {
    /// Returns whether this thread was asked to stop. C counterpart: `kthread_should_stop()`.
    pub fn should_stop(&self) -> bool {
        // SAFETY: A `This` is only in kernel threads.
        unsafe { bindings::kthread_should_stop() }
    }

    /// Sleeps for so many ticks, or until the thread is to stop. Returns whether it is to go on. It
    /// does not count as load.
    pub fn sleep(&self, ticks: usize) -> bool {
        self.wait(ticks, || false)
    }

    /// Waits for so many ticks, or until `ready` returns `true`, or until the thread is to stop. Returns
    /// whether it is to go on. It does not count as load.
    ///
    /// Whoever makes `ready` return `true` calls [`Waker::wake`] afterwards. `ready` may take locks of
    /// any kind that spins.
    pub fn wait(&self, ticks: usize, ready: impl Fn() -> bool) -> bool {
        let mut left = c_long::try_from(ticks).unwrap_or(c_long::MAX);
        loop {
            // Who stops us, or has something for us, says so first and wakes us then; so the state comes
            // before the questions.
            // SAFETY: The state is that of this thread.
            unsafe { bindings::linux_set_current_state(bindings::TASK_IDLE) };
            if self.should_stop() || left == 0 || ready() {
                // SAFETY: As above.
                unsafe { bindings::linux_set_current_state(bindings::TASK_RUNNING) };
                return !self.should_stop();
            }
            // SAFETY: Process context, and not negative. It returns in the state of running.
            left = unsafe { bindings::schedule_timeout(left) };
        }
    }
}

/// # Safety
///
/// Must only be called by a thread that [`Thread::<T>::new`] made.
unsafe extern "C" fn entry<T: Main>(main: *mut c_void) -> c_int {
    // SAFETY: The thread's `Thread` owns it, and is not dropped before this returns.
    let main = unsafe { &*main.cast::<T>() };
    main.main(&This(PhantomData));
    0
}
