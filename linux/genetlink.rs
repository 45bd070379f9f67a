// SPDX-License-Identifier: GPL-2.0

//! Generic netlink families: requests, replies and dumps.
//!
//! A family is a `static`, described by a [`Handler`] and in service while its [`Registration`]
//! lives:
//!
//! ```ignore
//! static FAMILY: Family<MyHandler> = Family::new::<MyModule>();
//! let registration = FAMILY.register(pernet)?;
//! ```
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)

mod message;
mod request;

pub use message::{
    Dump,
    Message, //
};
pub use request::Request;

use crate::{
    bindings,
    net::{
        self,
        PerNet, //
    },
    rcu, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    ffi::c_int,
    prelude::*,
    sync::Arc,
    types::Opaque,
    ModuleMetadata, //
};

/// A rule by which the core checks one top-level attribute before a handler sees it.
#[repr(transparent)]
pub struct Policy(bindings::nla_policy);

// SAFETY: Plain data: no variant that can be built here has a pointer.
unsafe impl Sync for Policy {}

impl Policy {
    /// The attribute has no meaning; its content is not looked at.
    pub const UNSPEC: Self = Self::of(bindings::NLA_UNSPEC);
    /// At least four bytes, a number.
    pub const U32: Self = Self::of(bindings::NLA_U32);
    /// Attributes, or nothing.
    pub const NESTED: Self = Self::of(bindings::NLA_NESTED);

    const fn of(kind: u32) -> Self {
        let mut policy: bindings::nla_policy = pin_init::zeroed();
        policy.type_ = kind as u8;
        Self(policy)
    }
}

/// The requests and dumps that a family answers.
///
/// Methods run in process context and may sleep. They run in parallel: the core takes no lock.
pub trait Handler: Sized + 'static {
    /// The module's state of a network namespace, on which requests work.
    type PerNet: PerNet;

    /// The position at which a dump continues. All zero is the beginning. At most 48 bytes.
    type Position: Zeroable + Copy;

    /// The name under which clients find the family.
    const NAME: &'static CStr;

    /// The version of the protocol.
    const VERSION: u32;

    /// The policy of each top-level attribute, by its number.
    const POLICY: &'static [Policy];

    /// The commands that the family knows.
    const OPS: &'static [Op<Self>];

    /// The first command for which the core also rejects reserved header bits. Commands before it
    /// are as lenient as all were before strict validation came.
    const RESV_START_OP: u8;

    /// Answers a request. An error becomes the errno that the client sees.
    fn request(cmd: u8, request: &Request<'_>, value: Pin<&Self::PerNet>) -> Result;

    /// Writes the next part of a dump: as many messages as fit, which may be none at the end.
    ///
    /// Called again, with what [`Dump::set_position`] left, until it writes nothing.
    fn dump(cmd: u8, request: &Request<'_>, dump: &mut Dump<'_, Self::Position>) -> Result;
}

/// A command of a family. Each needs `CAP_NET_ADMIN` in the initial user namespace.
///
/// Attributes are validated leniently: unknown ones and trailing bytes are ignored, and a dump
/// request is not validated before its handler is called.
#[repr(transparent)]
pub struct Op<T: Handler>(bindings::genl_small_ops, PhantomData<fn(T)>);

impl<T: Handler> Op<T> {
    /// Creates a command that answers requests.
    pub const fn request(cmd: u8) -> Self {
        Self::new(cmd, true, false)
    }

    /// Creates a command that answers dumps.
    pub const fn dump(cmd: u8) -> Self {
        Self::new(cmd, false, true)
    }

    /// Creates a command that answers requests and dumps.
    pub const fn request_and_dump(cmd: u8) -> Self {
        Self::new(cmd, true, true)
    }

    const fn new(cmd: u8, request: bool, dump: bool) -> Self {
        let mut op: bindings::genl_small_ops = pin_init::zeroed();
        op.cmd = cmd;
        op.flags = bindings::GENL_ADMIN_PERM as u8;
        op.validate = (bindings::genl_validate_flags_GENL_DONT_VALIDATE_STRICT
            | bindings::genl_validate_flags_GENL_DONT_VALIDATE_DUMP) as u8;
        if request {
            op.doit = Some(request_callback::<T>);
        }
        if dump {
            op.dumpit = Some(dump_callback::<T>);
        }
        Self(op, PhantomData)
    }
}

/// A generic netlink family.
///
/// # Invariants
///
/// `inner` is filled in as `T` says: `doit` and `dumpit` of its commands are the callbacks for `T`,
/// its policy has `maxattr + 1` entries. Once registered, only the core
/// writes it.
pub struct Family<T: Handler> {
    inner: Opaque<bindings::genl_family>,
    _handler: PhantomData<fn(T)>,
}

// SAFETY: The core guards what it changes in a family by its own locks, and everything else is
// constant.
unsafe impl<T: Handler> Sync for Family<T> {}

impl<T: Handler> Family<T> {
    /// Describes a family that module `M` owns. For `static`s: what doesn't fit fails to compile.
    pub const fn new<M: ModuleMetadata>() -> Self {
        let name = T::NAME.to_bytes_with_nul();
        let mut family: bindings::genl_family = pin_init::zeroed();
        assert!(name.len() <= family.name.len());
        assert!(!T::POLICY.is_empty());
        assert!(T::OPS.len() <= u8::MAX as usize);

        let mut i = 0;
        while i < name.len() {
            family.name[i] = name[i];
            i += 1;
        }
        family.version = T::VERSION;
        family.maxattr = (T::POLICY.len() - 1) as u32;
        family.policy = T::POLICY.as_ptr().cast();
        family.small_ops = T::OPS.as_ptr().cast();
        family.n_small_ops = T::OPS.len() as u8;
        family.resv_start_op = T::RESV_START_OP;
        family.module = M::THIS_MODULE.as_ptr();
        family._bitfield_1 = NETNSOK_PARALLEL_OPS;
        // INVARIANT: All of it comes from `T`, and the assertions bound it.
        Self {
            inner: Opaque::new(family),
            _handler: PhantomData,
        }
    }

    /// Puts the family in service, in every network namespace. `pernet` is kept meanwhile, so that
    /// requests find the value of their namespace.
    pub fn register(
        &'static self,
        pernet: Arc<net::Registration<T::PerNet>>,
    ) -> Result<Registration<T>> {
        // SAFETY: The family and all that it points at are static and, by the type invariant,
        // consistent. A second registration is refused by the core, since the name is taken.
        to_result(unsafe { bindings::genl_register_family(self.inner.get()) })?;
        // INVARIANT: Just registered.
        Ok(Registration {
            family: self,
            _pernet: pernet,
        })
    }
}

/// `netnsok` and `parallel_ops`, the first two bits. The setters that bindgen makes are not `const`.
const NETNSOK_PARALLEL_OPS: bindings::__BindgenBitfieldUnit<[u8; 1]> = {
    let bits: u8 = if cfg!(target_endian = "little") {
        0x03
    } else {
        0xc0
    };
    bindings::__BindgenBitfieldUnit::new([bits])
};

/// A family in service; out of service when dropped.
///
/// A request that runs is waited for. A dump that a client has begun, but not read to its end, holds
/// a reference to the owner module: it can't outlive the family's code.
///
/// # Invariants
///
/// `family` is registered.
pub struct Registration<T: Handler> {
    family: &'static Family<T>,
    _pernet: Arc<net::Registration<T::PerNet>>,
}

impl<T: Handler> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::genl_unregister_family(self.family.inner.get()) };
    }
}

/// # Safety
///
/// Must only be called by the generic netlink core, as `doit` of a [`Family<T>`].
unsafe extern "C" fn request_callback<T: Handler>(
    _skb: *mut bindings::sk_buff,
    info: *mut bindings::genl_info,
) -> c_int {
    // SAFETY: The core passes a request that stays valid during this call, and to no one else.
    let request = unsafe { Request::new(info) };
    let found = rcu::read(|rcu| {
        let value = request.net().get::<T::PerNet>(rcu)?;
        Some(NonNull::from(value.get_ref()))
    });
    let Some(value) = found else {
        return ENODEV.to_errno();
    };
    // SAFETY: A value is pinned, and stays until its namespace dies or its registration is dropped.
    // The client's socket holds a reference to the namespace; the family's registration keeps that
    // of the values, and is not gone before this call has returned.
    let value = unsafe { Pin::new_unchecked(value.as_ref()) };
    match T::request(request.cmd(), &request, value) {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}

/// # Safety
///
/// Must only be called by the generic netlink core, as `dumpit` of a [`Family<T>`].
unsafe extern "C" fn dump_callback<T: Handler>(
    skb: *mut bindings::sk_buff,
    cb: *mut bindings::netlink_callback,
) -> c_int {
    // SAFETY: For a generic netlink dump, `data` is the `genl_dumpit_info` that the core made.
    let info = unsafe { &raw mut (*(*cb).data.cast::<bindings::genl_dumpit_info>()).info };
    // SAFETY: It stays valid during this call, and no one else uses it meanwhile.
    let request = unsafe { Request::new(info) };
    // SAFETY: Both are of the dump that runs, and not used otherwise meanwhile.
    let mut dump = unsafe { Dump::new(skb, cb, &request) };
    match T::dump(request.cmd(), &request, &mut dump) {
        // SAFETY: As above; `dump` is no longer used.
        Ok(()) => (unsafe { (*skb).len }) as c_int,
        Err(e) => e.to_errno(),
    }
}
