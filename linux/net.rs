// SPDX-License-Identifier: GPL-2.0

//! Network namespaces, and what a module keeps for each of them.
//!
//! C header: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)

use crate::{
    bindings,
    rcu::Reader, //
};
use core::{
    marker::PhantomData,
    pin::Pin,
    sync::atomic::{
        AtomicPtr,
        Ordering::Relaxed, //
    },
};
use kernel::{
    prelude::*,
    types::{
        ForeignOwnable,
        Opaque, //
    },
};

/// A network namespace.
#[repr(transparent)]
pub struct Net(Opaque<bindings::net>);

// SAFETY: `struct net` is shared by design.
unsafe impl Send for Net {}
// SAFETY: As above.
unsafe impl Sync for Net {}

impl Net {
    /// The namespace behind a pointer from C.
    ///
    /// # Safety
    ///
    /// `ptr` must be valid for `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::net) -> &'a Self {
        // SAFETY: By the safety requirement; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The namespace for C.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut bindings::net {
        self.0.get()
    }

    /// The namespace that the machine started with.
    pub fn init() -> &'static Self {
        // SAFETY: It is static.
        unsafe { Self::from_raw(&raw mut bindings::init_net) }
    }

    /// Whether it belongs to the user namespace that the machine started with.
    pub fn is_of_init_user_ns(&self) -> bool {
        // SAFETY: The field is constant once the namespace is set up.
        let user_ns = unsafe { (*self.as_ptr()).user_ns };
        core::ptr::eq(user_ns, &raw const bindings::init_user_ns)
    }

    /// The first port that needs no privilege: 1024, unless its users set another.
    #[inline]
    pub fn first_unprivileged_port(&self) -> u16 {
        // SAFETY: The field may change at any time, as a whole.
        let port = unsafe {
            core::ptr::read_volatile(&raw const (*self.as_ptr()).ipv4.sysctl_ip_prot_sock)
        };
        port as u16
    }

    /// Whether this is the namespace that the machine started with.
    pub fn is_init(&self) -> bool {
        core::ptr::eq(self.as_ptr(), &raw const bindings::init_net)
    }
}

/// A reference to a namespace from what that namespace itself owns, as [`PerNet::new`] gets it.
///
/// # Invariants
///
/// The namespace outlives the value.
pub struct OwnNet {
    net: core::ptr::NonNull<Net>,
}

// SAFETY: It gives out `&Net`, which is `Sync`.
unsafe impl Send for OwnNet {}
// SAFETY: As above.
unsafe impl Sync for OwnNet {}

impl core::ops::Deref for OwnNet {
    type Target = Net;

    #[inline]
    fn deref(&self) -> &Net {
        // SAFETY: By the type invariant.
        unsafe { self.net.as_ref() }
    }
}

/// What a module keeps for each namespace.
pub trait PerNet: Send + Sync + Sized + 'static {
    /// What those of all namespaces are made with.
    type Common: Send + Sync + 'static;

    /// Makes it, when a namespace is born or the module is loaded. May sleep.
    fn new(net: OwnNet, common: &Self::Common) -> Result<Pin<KBox<Self>>>;

    /// Stops what reaches it from outside, when the namespace dies or the module is unloaded. A
    /// grace period passes between this and its drop. May sleep.
    fn shut(self: Pin<&Self>);

    /// Where the registration keeps its identity; one static for each type.
    fn registry() -> &'static Registry;
}

/// The identity of a [`PerNet`] type among all that the kernel knows.
pub struct Registry {
    ops: Opaque<bindings::pernet_operations>,
    id: Opaque<u32>,
    common: AtomicPtr<c_void>,
}

// SAFETY: Written while a registration is made, by C; read-only afterwards.
unsafe impl Sync for Registry {}

impl Registry {
    /// For a static.
    pub const fn new() -> Self {
        Self {
            ops: Opaque::zeroed(),
            id: Opaque::zeroed(),
            common: AtomicPtr::new(core::ptr::null_mut()),
        }
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

/// A registered [`PerNet`] type: every namespace has its value while this exists.
///
/// # Invariants
///
/// `common` is what the registry points to.
pub struct Registration<T: PerNet> {
    _common: Pin<KBox<T::Common>>,
    _type: PhantomData<fn() -> T>,
}

impl<T: PerNet> Registration<T> {
    /// Makes the value for every namespace there is, and for those to come. May sleep.
    pub fn new(common: T::Common) -> Result<Self> {
        let common = KBox::pin(common, GFP_KERNEL)?;
        let registry = T::registry();
        registry
            .common
            .store(core::ptr::from_ref(&*common).cast_mut().cast(), Relaxed);
        let ops = bindings::pernet_operations {
            init: Some(init::<T>),
            pre_exit: Some(pre_exit::<T>),
            exit: Some(exit::<T>),
            id: registry.id.get(),
            size: size_of::<*mut c_void>(),
            ..Default::default()
        };
        // SAFETY: The registry is used by this registration alone, and is static.
        unsafe { registry.ops.get().write(ops) };
        // SAFETY: Just initialised; it stays registered until `drop`.
        kernel::error::to_result(unsafe { bindings::register_pernet_subsys(registry.ops.get()) })?;
        // INVARIANT: Stored above.
        Ok(Self {
            _common: common,
            _type: PhantomData,
        })
    }
}

impl<T: PerNet> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: Registered in `new`.
        unsafe { bindings::unregister_pernet_subsys(T::registry().ops.get()) };
        // What the namespaces had may refer to what they had in common.
        crate::rcu::drain();
    }
}

/// Where a namespace keeps its value.
///
/// # Safety
///
/// `T` must be registered, or be about to be.
unsafe fn slot<T: PerNet>(net: *mut bindings::net) -> *mut *mut c_void {
    // SAFETY: The id was given at the registration.
    unsafe { bindings::ipvs_net_generic(net, *T::registry().id.get()) }.cast()
}

impl Net {
    /// This namespace's value, or `None` if it has none (yet, or any more).
    pub fn get<'rcu, T: PerNet>(&self, _rcu: Reader<'rcu>) -> Option<Pin<&'rcu T>> {
        // SAFETY: Whoever can call this has the module loaded; a grace period lies between the
        // moment that the slot is emptied and the value's drop.
        let value = unsafe { core::ptr::read_volatile(slot::<T>(self.as_ptr())) };
        // SAFETY: As above: null, or a pinned value that lives for `'rcu`.
        unsafe {
            value
                .cast::<T>()
                .as_ref()
                .map(|value| Pin::new_unchecked(value))
        }
    }
}

/// # Safety
///
/// Called by the kernel for a registered `T`.
unsafe extern "C" fn init<T: PerNet>(net: *mut bindings::net) -> c_int {
    let own = OwnNet {
        // INVARIANT: A namespace outlives what it owns, since `exit` comes first.
        // SAFETY: The kernel passes a valid namespace.
        net: core::ptr::NonNull::from(unsafe { Net::from_raw(net) }),
    };
    // SAFETY: Stored before the registration, and dropped after it.
    let common = unsafe { &*T::registry().common.load(Relaxed).cast::<T::Common>() };
    match T::new(own, common) {
        Ok(value) => {
            // SAFETY: The slot is this namespace's own.
            unsafe { core::ptr::write_volatile(slot::<T>(net), value.into_foreign()) };
            0
        }
        Err(error) => error.to_errno(),
    }
}

/// # Safety
///
/// As for [`init`], for a namespace whose `init` succeeded.
unsafe extern "C" fn pre_exit<T: PerNet>(net: *mut bindings::net) {
    // SAFETY: Filled in `init`, emptied in `exit`.
    let value = unsafe { *slot::<T>(net) };
    if let Some(value) = core::ptr::NonNull::new(value.cast::<T>()) {
        // SAFETY: As above; the value is pinned.
        unsafe { Pin::new_unchecked(value.as_ref()) }.shut();
    }
}

/// # Safety
///
/// As for [`pre_exit`], a grace period after it.
unsafe extern "C" fn exit<T: PerNet>(net: *mut bindings::net) {
    // SAFETY: The slot is this namespace's own.
    let value = unsafe {
        let slot = slot::<T>(net);
        let value = *slot;
        core::ptr::write_volatile(slot, core::ptr::null_mut());
        value
    };
    if value.is_null() {
        return;
    }
    crate::rcu::synchronize();
    // SAFETY: Came from `into_foreign` in `init`, and no reader is left that may see it.
    drop(unsafe { Pin::<KBox<T>>::from_foreign(value) });
}
