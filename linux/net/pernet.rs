// SPDX-License-Identifier: GPL-2.0

//! State of a module in each network namespace.
//!
//! C counterpart: `struct pernet_operations`, `net_generic()`.

use super::{
    slot::{
        Slot,
        Users, //
    },
    Net,
    OwnNet,
    WeakNet, //
};
use crate::{
    atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    bindings,
    printk::{
        Log,
        Permit, //
    },
    rcu::{
        self,
        ReadLocked, //
    },
};
use core::{
    marker::PhantomData,
    pin::Pin,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    },
    types::Opaque, //
};

/// The state that a module has in each network namespace.
///
/// When namespaces die, the kernel calls [`Self::shut`] for all of them, waits for one grace period, and
/// then drops their values. So neither of the two should wait for a grace period of its own.
///
/// C counterpart: `struct pernet_operations`.
pub trait PerNet: Send + Sync + Sized + 'static {
    /// The data that all namespaces share; [`Self::new`] gets it.
    type Common: Send + Sync + 'static;

    /// Creates the state, when a namespace is created or the module is loaded. `weak` is for what may
    /// outlive it, and leads nowhere once [`Self::shut`] was called. May sleep.
    fn new(net: OwnNet, weak: WeakNet, common: &Self::Common) -> Result<Pin<KBox<Self>>>;

    /// Stops hooks, works and files that lead to the state, when the namespace dies or the module is
    /// unloaded. [`Net::get`] does not find it afterwards, and a grace period passes before its drop.
    /// May sleep.
    fn shut(self: Pin<&Self>);

    /// Returns the static that identifies the type to the kernel.
    fn registry() -> &'static Registry<Self>;
}

/// The memory that the kernel allocates for a registered type in each namespace.
struct PerNetMemory<T: 'static> {
    slot: Slot<T>,
    users: Users,
    /// What a [`WeakNet`] is made of, with a reference; null while there is none.
    weak: Atomic<*mut Atomic<*mut bindings::net>>,
    rcu: Opaque<bindings::callback_head>,
}

impl<T: 'static> PerNetMemory<T> {
    /// Makes the way to the namespace that the memory belongs to.
    ///
    /// # Safety
    ///
    /// `net` must be that namespace, and [`Self::cut_weak`] be called a grace period before it ends.
    unsafe fn new_weak(&self, net: &Net) -> Result<WeakNet> {
        // SAFETY: By the safety requirement.
        let weak = unsafe { WeakNet::new(net)? };
        self.weak.store(weak.clone().into_raw(), Relaxed);
        Ok(weak)
    }

    /// Makes the way lead nowhere, and drops the memory's part of it.
    fn cut_weak(&self) {
        let weak = self.weak.load(Relaxed);
        if !weak.is_null() {
            self.weak.store(core::ptr::null_mut(), Relaxed);
            // SAFETY: From `into_raw`, and taken back once.
            unsafe { WeakNet::from_raw(weak) }.cut();
        }
    }
}

/// The identity of a [`PerNet`] type among all that the kernel knows.
pub struct Registry<T: 'static> {
    ops: Opaque<bindings::pernet_operations>,
    /// The number that the kernel has given, for itself.
    given: Opaque<u32>,
    /// The number for readers; 0 while the type is not registered.
    id: Atomic<u32>,
    common: Atomic<*mut c_void>,
    in_use: Atomic<bool>,
    _type: PhantomData<fn() -> T>,
}

// SAFETY: `ops` and `given` are written while a registration is made, by whoever has set `in_use`, and
// are the kernel's otherwise; the rest is atomic.
unsafe impl<T: 'static> Sync for Registry<T> {}

impl<T: 'static> Registry<T> {
    /// Creates an identity that is not registered, for a static.
    pub const fn new() -> Self {
        Self {
            ops: Opaque::zeroed(),
            given: Opaque::zeroed(),
            id: Atomic::new(0),
            common: Atomic::new(core::ptr::null_mut()),
            in_use: Atomic::new(false),
            _type: PhantomData,
        }
    }

    /// Returns the entry of a namespace for the value with this number, or `None` if it has no such entry.
    ///
    /// # Safety
    ///
    /// `net` must be valid for as long as the entry is used, in a read-side critical section or under
    /// the lock of pernet operations.
    #[inline]
    unsafe fn entry<'a>(
        net: *mut bindings::net,
        id: u32,
    ) -> Option<&'a Atomic<*mut PerNetMemory<T>>> {
        // The address depends on what is loaded, as with `rcu_dereference()`, so nothing of the array
        // is read as it was before it was published.
        // SAFETY: A valid namespace has an array of entries. It may be replaced by a longer one, and
        // is freed a grace period after that.
        let entries = unsafe { Atomic::from_ptr(&raw mut (*net).gen).load(Relaxed) };
        let entries = entries.cast::<bindings::net_generic>();
        // SAFETY: As above.
        let len = unsafe { (*entries).__bindgen_anon_1.s.as_ref().len };
        // The first entries are where the length is.
        if id == 0 || id >= len {
            return None;
        }
        // SAFETY: In the array, which holds pointers; those of one id are for one type.
        Some(unsafe {
            &*entries
                .cast::<Atomic<*mut PerNetMemory<T>>>()
                .add(id as usize)
        })
    }

    /// Returns the entry of a namespace, for an operation that the kernel calls.
    ///
    /// # Safety
    ///
    /// The kernel must be calling an operation of the type for `net`, and the entry not be used
    /// afterwards.
    unsafe fn own_entry<'a>(
        &self,
        net: *mut bindings::net,
    ) -> Option<&'a Atomic<*mut PerNetMemory<T>>> {
        // SAFETY: By the safety requirement; the number was written before the first call.
        unsafe { Self::entry(net, *self.given.get()) }
    }

    /// Returns the memory of a namespace, for an operation that the kernel calls.
    ///
    /// # Safety
    ///
    /// As for [`Self::own_entry`].
    unsafe fn memory<'a>(&self, net: *mut bindings::net) -> Option<&'a PerNetMemory<T>> {
        // SAFETY: By the safety requirement. The kernel has zeroed it, which makes it empty.
        unsafe { self.own_entry(net)?.load(Relaxed).as_ref() }
    }
}

impl<T: 'static> Default for Registry<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The registration of a [`PerNet`] type: every namespace has its state while this exists.
///
/// # Invariants
///
/// `common` is what the registry points to, and the registry is in use by this alone.
pub struct Registration<T: PerNet> {
    _common: Pin<KBox<T::Common>>,
    _type: PhantomData<fn() -> T>,
}

impl<T: PerNet> Registration<T> {
    /// Creates the state of every namespace there is, and of those to come. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the type is registered; the errors of [`PerNet::new`]; `ENOMEM`.
    pub fn new(common: T::Common) -> Result<Self> {
        let common = KBox::pin(common, GFP_KERNEL)?;
        let registry = T::registry();
        if registry.in_use.xchg(true, Acquire) {
            return Err(EBUSY);
        }
        registry
            .common
            .store(core::ptr::from_ref(&*common).cast_mut().cast(), Relaxed);
        let ops = bindings::pernet_operations {
            init: Some(init::<T>),
            pre_exit: Some(pre_exit::<T>),
            exit: Some(exit::<T>),
            id: registry.given.get(),
            size: size_of::<PerNetMemory<T>>(),
            ..Default::default()
        };
        // SAFETY: The registry is used by this registration alone, and is static.
        unsafe { registry.ops.get().write(ops) };
        // SAFETY: Just initialised; it stays registered until `drop`.
        let registered = unsafe { bindings::register_pernet_subsys(registry.ops.get()) };
        if let Err(error) = kernel::error::to_result(registered) {
            // What was made before the failure is gone, but may wait to be freed, as in `drop`.
            rcu::drain();
            registry.in_use.store(false, Release);
            return Err(error);
        }
        // Now each namespace has an entry of ours, or a zeroed one if it is being made just now. Before
        // that there may have been one that somebody else has left behind. Who sees the number sees
        // the entries.
        // SAFETY: The kernel has written it, and changes it no more.
        registry.id.store(unsafe { *registry.given.get() }, Release);
        // INVARIANT: Stored above.
        Ok(Self {
            _common: common,
            _type: PhantomData,
        })
    }
}

impl<T: PerNet> Drop for Registration<T> {
    fn drop(&mut self) {
        let registry = T::registry();
        // The number can be another one's as soon as the kernel has it back. It waits for a grace period
        // before that.
        registry.id.store(0, Relaxed);
        // SAFETY: Registered in `new`.
        unsafe { bindings::unregister_pernet_subsys(registry.ops.get()) };
        // What the namespaces had may refer to what they had in common. Hooks that a value had until
        // its drop may still be running, but not for longer than there are readers of its memory,
        // which this waits for as well.
        rcu::drain();
        registry.in_use.store(false, Release);
    }
}

impl Net {
    /// Returns this namespace's state; `None` if it has none yet or any more, or if the type is not
    /// registered with all namespaces yet or any more.
    #[inline]
    pub fn get<'rcu, T: PerNet>(&self, rcu: ReadLocked<'rcu>) -> Option<Pin<&'rcu T>> {
        let id = T::registry().id.load(Acquire);
        // SAFETY: A reference to a namespace is valid.
        let entry = unsafe { Registry::<T>::entry(self.as_ptr(), id) }?;
        // SAFETY: In each namespace that there was when the type was registered the entry is ours: it
        // leads to the memory that `init` found there, until `exit` cleared it; the memory is freed a grace
        // period later. In one that was made since then, it is zero before. And the number
        // has been the type's own for as long as a reader may have it.
        unsafe { entry.load(Relaxed).as_ref() }?.slot.get(rcu)
    }
}

static LOG: Log = Log::new(c"net");

/// Waits until nobody has a reference to a namespace that ends.
fn wait_for_users(users: &Users) {
    /// The time from one look to the next, in milliseconds.
    const PAUSE: i64 = 10;
    /// The number of looks from one message to the next.
    const PATIENCE: u32 = 1000;

    let mut looks = 0u32;
    while !users.none() {
        looks = looks.wrapping_add(1);
        if looks % PATIENCE == 0 {
            LOG.warning(
                Permit::unlimited(),
                format_args!("a namespace can't end: a module refers to it"),
            );
        }
        fsleep(Delta::from_millis(PAUSE));
    }
}

/// # Safety
///
/// Called by the kernel for a registered `T`.
unsafe extern "C" fn init<T: PerNet>(net: *mut bindings::net) -> c_int {
    // SAFETY: The kernel has just made the memory, and changes no entries meanwhile.
    let Some(memory) = (unsafe { T::registry().memory(net) }) else {
        return ENOMEM.to_errno();
    };
    // SAFETY: The kernel passes a valid namespace. It neither ends nor is the memory freed before
    // this or `exit` has waited for the users.
    let own = unsafe { OwnNet::new(NonNull::from(Net::from_raw(net)), &memory.users) };
    // SAFETY: Stored before the registration, and dropped after it.
    let common = unsafe { &*T::registry().common.load(Relaxed).cast::<T::Common>() };
    // SAFETY: The kernel calls `pre_exit` a grace period before the namespace ends, or this fails, and
    // cuts the way and waits for one itself.
    let weak = unsafe { memory.new_weak(Net::from_raw(net)) };
    match weak.and_then(|weak| T::new(own, weak, common)) {
        Ok(value) => {
            memory.slot.publish(value);
            0
        }
        Err(error) => {
            memory.cut_weak();
            wait_for_users(&memory.users);
            // The kernel frees the memory at once.
            // SAFETY: As for the memory.
            if let Some(entry) = unsafe { T::registry().own_entry(net) } {
                entry.store(core::ptr::null_mut(), Relaxed);
                rcu::synchronize();
            }
            error.to_errno()
        }
    }
}

/// # Safety
///
/// As for [`init`], for a namespace whose `init` succeeded.
unsafe extern "C" fn pre_exit<T: PerNet>(net: *mut bindings::net) {
    // SAFETY: The memory is there until `exit`.
    if let Some(memory) = unsafe { T::registry().memory(net) } {
        if let Some(value) = memory.slot.owned() {
            value.shut();
        }
        memory.slot.withdraw();
        memory.cut_weak();
    }
}

/// # Safety
///
/// As for [`pre_exit`], a grace period after it.
unsafe extern "C" fn exit<T: PerNet>(net: *mut bindings::net) {
    let registry = T::registry();
    // SAFETY: As for `pre_exit`.
    let Some(memory) = (unsafe { registry.memory(net) }) else {
        return;
    };
    // SAFETY: The kernel has waited since `pre_exit`.
    drop(unsafe { memory.slot.take() });
    wait_for_users(&memory.users);

    // The kernel would free the memory and leave its address behind, where readers of a namespace that
    // is still referred to would find it.
    // SAFETY: As for the memory.
    if let Some(entry) = unsafe { registry.own_entry(net) } {
        entry.store(core::ptr::null_mut(), Relaxed);
    }
    // SAFETY: `rcu` is used by nobody else. The kernel does not find the memory any more.
    unsafe { rcu::call(memory.rcu.get(), free_memory::<T>) };
}

/// Frees the memory of a namespace after its readers.
///
/// # Safety
///
/// `rcu` must be that field of a [`PerNetMemory<T>`] that nobody finds or uses any more.
unsafe extern "C" fn free_memory<T: PerNet>(rcu: *mut bindings::callback_head) {
    let offset = core::mem::offset_of!(PerNetMemory<T>, rcu);
    // SAFETY: By the safety requirement; the kernel has allocated the memory with `kzalloc()`.
    unsafe { bindings::kfree(rcu.byte_sub(offset).cast()) };
    rcu::called();
}
