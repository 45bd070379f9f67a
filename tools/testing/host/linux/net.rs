// SPDX-License-Identifier: GPL-2.0

//! Network namespaces. A test makes them; the memory of those that have ended stays.

use crate::{
    netfilter,
    rcu::{
        self,
        ReadLocked, //
    },
    route,
    seq_file,
    sysctl, //
};
use kernel::prelude::*;
use std::{
    collections::BTreeMap,
    ffi::c_void,
    marker::PhantomData,
    ptr,
    sync::{
        atomic::{
            AtomicBool,
            AtomicPtr,
            AtomicU16,
            AtomicUsize,
            Ordering::SeqCst, //
        },
        Arc,
        Mutex,
        MutexGuard,
        PoisonError, //
    },
};

#[derive(Default)]
pub struct Net {
    is_first: bool,
    /// The module's state for this namespace: the one that packets see, and the one that exists.
    visible: AtomicPtr<c_void>,
    value: AtomicPtr<c_void>,
    users: AtomicUsize,
    /// Set once it has begun to end.
    is_ending: AtomicBool,
    /// The number of those for whom connection tracking works.
    pub tracking: AtomicUsize,
    unprivileged: AtomicU16,
    /// Set if there are IPsec output policies; and if these let packets pass.
    pub policies: AtomicBool,
    pub policies_pass: AtomicBool,
    pub(crate) routes: Mutex<route::Table>,
    pub(crate) hooks: Mutex<Vec<netfilter::Registered>>,
    pub(crate) reassembled: Mutex<Option<crate::skb::Packet>>,
    pub(crate) files: Mutex<BTreeMap<&'static CStr, seq_file::Show>>,
    pub(crate) sysctls: Mutex<BTreeMap<&'static CStr, sysctl::File>>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

static FIRST: AtomicPtr<Net> = AtomicPtr::new(ptr::null_mut());
static NETS: Mutex<Vec<&'static Net>> = Mutex::new(Vec::new());
static OPS: Mutex<Option<Arc<dyn Ops>>> = Mutex::new(None);

/// Begins anew, with the first namespace alone. No module may be loaded.
pub fn reset() -> &'static Net {
    assert!(lock(&OPS).is_none() || std::thread::panicking());
    lock(&NETS).clear();
    FIRST.store(ptr::null_mut(), SeqCst);
    let first: &Net = Box::leak(Box::new(Net {
        is_first: true,
        unprivileged: AtomicU16::new(1024),
        ..Net::default()
    }));
    FIRST.store(ptr::from_ref(first).cast_mut(), SeqCst);
    lock(&NETS).push(first);
    first
}

impl Net {
    /// Makes another namespace.
    pub fn create() -> Result<&'static Self> {
        let net: &Self = Box::leak(Box::new(Self {
            unprivileged: AtomicU16::new(1024),
            ..Self::default()
        }));
        let ops = lock(&OPS).clone();
        ops.map_or(Ok(()), |ops| ops.init(net))?;
        lock(&NETS).push(net);
        Ok(net)
    }

    /// Ends the namespace.
    pub fn end(&'static self) {
        let ops = lock(&OPS).clone();
        if let Some(ops) = ops {
            ops.exit(self);
        }
        lock(&NETS).retain(|net| !ptr::eq(*net, self));
    }

    pub fn init() -> &'static Self {
        // SAFETY: Namespaces stay.
        unsafe { FIRST.load(SeqCst).as_ref() }.expect("there is a first namespace")
    }

    pub fn is_init(&self) -> bool {
        self.is_first
    }

    pub fn is_of_init_user_ns(&self) -> bool {
        true
    }

    pub fn first_unprivileged_port(&self) -> u16 {
        self.unprivileged.load(SeqCst)
    }

    pub fn get<'rcu, T: PerNet>(&self, _rcu: ReadLocked<'rcu>) -> Option<Pin<&'rcu T>> {
        // SAFETY: The registered type, which is the only one; freed after a grace period.
        let value = unsafe { self.visible.load(SeqCst).cast::<T>().as_ref() };
        // SAFETY: It stays where it is.
        value.map(|value| unsafe { Pin::new_unchecked(value) })
    }

    /// Hands out what the module keeps for this namespace, as to a request, in process context.
    pub fn with<T: PerNet, R>(&self, f: impl FnOnce(Pin<&T>) -> R) -> R {
        // SAFETY: The registered type, which is the only one. Nobody ends the namespace meanwhile.
        let value = unsafe { self.visible.load(SeqCst).cast::<T>().as_ref() };
        // SAFETY: It stays where it is.
        f(value
            .map(|value| unsafe { Pin::new_unchecked(value) })
            .expect("the module is loaded"))
    }

    /// Returns the number of references to the namespace.
    pub fn users(&self) -> usize {
        self.users.load(SeqCst)
    }
}

pub struct OwnNet(&'static Net);

impl OwnNet {
    fn new(net: &'static Net) -> Self {
        net.users.fetch_add(1, SeqCst);
        Self(net)
    }
}

impl Clone for OwnNet {
    fn clone(&self) -> Self {
        Self::new(self.0)
    }
}

impl Drop for OwnNet {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, SeqCst);
    }
}

impl std::ops::Deref for OwnNet {
    type Target = Net;

    fn deref(&self) -> &Net {
        self.0
    }
}

#[derive(Clone)]
pub struct WeakNet(&'static Net);

impl WeakNet {
    pub fn get<'rcu>(&self, _rcu: ReadLocked<'rcu>) -> Option<&'rcu Net> {
        (!self.0.is_ending.load(SeqCst)).then_some(self.0)
    }
}

pub trait PerNet: Send + Sync + Sized + 'static {
    type Common: Send + Sync + 'static;

    fn new(net: OwnNet, weak: WeakNet, common: &Self::Common) -> Result<Pin<KBox<Self>>>;
    fn shut(self: Pin<&Self>);
    fn registry() -> &'static Registry<Self>;
}

pub struct Registry<T: 'static>(PhantomData<fn() -> T>);

impl<T: 'static> Registry<T> {
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: 'static> Default for Registry<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The operations for each namespace.
trait Ops: Send + Sync {
    fn init(&self, net: &'static Net) -> Result;
    fn exit(&self, net: &'static Net);
}

struct OpsOf<T: PerNet>(T::Common);

impl<T: PerNet> Ops for OpsOf<T> {
    fn init(&self, net: &'static Net) -> Result {
        net.is_ending.store(false, SeqCst);
        let made = T::new(OwnNet::new(net), WeakNet(net), &self.0);
        let value = made.inspect_err(|_| assert_unused(net))?;
        // SAFETY: `exit` pins it again.
        let value = KBox::into_raw(unsafe { Pin::into_inner_unchecked(value) });
        net.value.store(value.cast(), SeqCst);
        net.visible.store(value.cast(), SeqCst);
        Ok(())
    }

    fn exit(&self, net: &'static Net) {
        let value = net.value.swap(ptr::null_mut(), SeqCst).cast::<T>();
        if value.is_null() {
            return;
        }
        // SAFETY: From `init`, and taken once.
        let value = unsafe { Pin::new_unchecked(KBox::from_raw(value)) };
        value.as_ref().shut();
        net.visible.store(ptr::null_mut(), SeqCst);
        net.is_ending.store(true, SeqCst);
        rcu::synchronize();
        drop(value);
        rcu::synchronize();
        assert_unused(net);
    }
}

/// Fails the test where the kernel would wait for good.
#[track_caller]
fn assert_unused(net: &Net) {
    rcu::synchronize();
    assert!(
        net.users() == 0 || std::thread::panicking(),
        "a namespace can't end: it is used"
    );
}

pub struct Registration<T: PerNet>(PhantomData<fn() -> T>);

impl<T: PerNet> Registration<T> {
    pub fn new(common: T::Common) -> Result<Self> {
        let ops: Arc<dyn Ops> = Arc::new(OpsOf::<T>(common));
        assert!(lock(&OPS).replace(ops.clone()).is_none());
        let nets = lock(&NETS).clone();
        for (done, net) in nets.iter().enumerate() {
            if let Err(error) = ops.init(net) {
                nets[..done].iter().for_each(|net| ops.exit(net));
                *lock(&OPS) = None;
                return Err(error);
            }
        }
        Ok(Self(PhantomData))
    }
}

impl<T: PerNet> Drop for Registration<T> {
    fn drop(&mut self) {
        let ops = lock(&OPS).take();
        let nets = lock(&NETS).clone();
        for net in nets.iter().rev() {
            ops.iter().for_each(|ops| ops.exit(net));
        }
        rcu::synchronize();
        drop(ops);
        rcu::drain();
    }
}
