// SPDX-License-Identifier: GPL-2.0

//! Network namespaces, and what a module keeps for each of them.
//!
//! C header: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)

mod pernet;
mod slot;

pub use pernet::{
    PerNet,
    Registration,
    Registry, //
};

use crate::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    bindings,
    rcu::ReadLocked, //
};
use core::ptr::NonNull;
use kernel::{
    prelude::*,
    sync::Arc,
    types::Opaque, //
};
use slot::Users;

/// A network namespace.
#[repr(transparent)]
pub struct Net(Opaque<bindings::net>);

// SAFETY: `struct net` is shared by design.
unsafe impl Send for Net {}
// SAFETY: As above.
unsafe impl Sync for Net {}

impl Net {
    /// Wraps a pointer from C.
    ///
    /// # Safety
    ///
    /// `ptr` must be valid for `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::net) -> &'a Self {
        // SAFETY: By the safety requirement; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    /// Returns the pointer for C.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut bindings::net {
        self.0.get()
    }

    /// Returns the initial namespace (C: `init_net`).
    pub fn init() -> &'static Self {
        // SAFETY: It is static.
        unsafe { Self::from_raw(&raw mut bindings::init_net) }
    }

    /// Returns whether it belongs to the initial user namespace.
    pub fn is_of_init_user_ns(&self) -> bool {
        // SAFETY: The field is constant once the namespace is set up.
        let user_ns = unsafe { (*self.as_ptr()).user_ns };
        core::ptr::eq(user_ns, &raw const bindings::init_user_ns)
    }

    /// Returns the first port that needs no privilege: 1024, unless its users have set another.
    #[inline]
    pub fn first_unprivileged_port(&self) -> u16 {
        // SAFETY: The field may change at any time, as a whole.
        let port = unsafe {
            core::ptr::read_volatile(&raw const (*self.as_ptr()).ipv4.sysctl_ip_prot_sock)
        };
        port as u16
    }

    /// Returns whether this is the initial namespace.
    pub fn is_init(&self) -> bool {
        core::ptr::eq(self.as_ptr(), &raw const bindings::init_net)
    }
}

/// A counted reference to a namespace, for what that namespace itself owns: a [`PerNet`] value gets one
/// when it is made, and files and hooks have theirs.
///
/// It may be kept anywhere, since the namespace waits: its last step ([`PerNet`] values are dropped
/// then) does not end before all of these are gone. So whoever keeps one for longer than the value
/// holds up the end of every namespace, and the log says so.
///
/// # Invariants
///
/// The namespace has not ended, and `users`, which counts this reference, exists until it is counted
/// out.
pub struct OwnNet {
    net: NonNull<Net>,
    users: NonNull<Users>,
}

// SAFETY: It gives out `&Net`, which is `Sync`, and the count is atomic.
unsafe impl Send for OwnNet {}
// SAFETY: As above.
unsafe impl Sync for OwnNet {}

impl OwnNet {
    /// Counts a reference.
    ///
    /// # Safety
    ///
    /// `net` must not end, and `users` must be valid, until there is no user.
    unsafe fn new(net: NonNull<Net>, users: &Users) -> Self {
        users.add();
        // INVARIANT: Just counted; the rest is by the safety requirement.
        Self {
            net,
            users: NonNull::from(users),
        }
    }
}

impl Clone for OwnNet {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariant.
        unsafe { Self::new(self.net, self.users.as_ref()) }
    }
}

impl Drop for OwnNet {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { self.users.as_ref() }.remove();
    }
}

/// A way to a namespace for what may outlive it: leads there until the namespace begins to end.
///
/// It holds up nothing. Clones are cheap, and may be dropped in any context.
///
/// # Invariants
///
/// The pointer is null, or to a namespace that does not end before a grace period has passed since it
/// was set to null.
#[derive(Clone)]
pub struct WeakNet(Arc<Atomic<*mut bindings::net>>);

impl WeakNet {
    /// Makes a way to `net`.
    ///
    /// # Safety
    ///
    /// The namespace must not end before a grace period has passed since [`Self::cut`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    unsafe fn new(net: &Net) -> Result<Self> {
        // INVARIANT: By the safety requirement.
        Ok(Self(Arc::new(Atomic::new(net.as_ptr()), GFP_KERNEL)?))
    }

    /// Gives the reference away, for [`Self::from_raw`].
    fn into_raw(self) -> *mut Atomic<*mut bindings::net> {
        Arc::into_raw(self.0).cast_mut()
    }

    /// Takes a reference back.
    ///
    /// # Safety
    ///
    /// `ptr` must be from [`Self::into_raw`], for the first time.
    unsafe fn from_raw(ptr: *mut Atomic<*mut bindings::net>) -> Self {
        // SAFETY: By the safety requirement.
        // INVARIANT: That of the value that was given away.
        Self(unsafe { Arc::from_raw(ptr) })
    }

    /// Leads nowhere from now on.
    fn cut(&self) {
        self.0.store(core::ptr::null_mut(), Relaxed);
    }

    /// Returns the namespace; `None` once it has begun to end, or the module to be unloaded.
    pub fn get<'rcu>(&self, _rcu: ReadLocked<'rcu>) -> Option<&'rcu Net> {
        let net = NonNull::new(self.0.load(Relaxed))?;
        // SAFETY: By the type invariant.
        Some(unsafe { Net::from_raw(net.as_ptr()) })
    }
}

impl core::ops::Deref for OwnNet {
    type Target = Net;

    #[inline]
    fn deref(&self) -> &Net {
        // SAFETY: By the type invariant.
        unsafe { self.net.as_ref() }
    }
}
