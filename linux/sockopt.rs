// SPDX-License-Identifier: GPL-2.0

//! Socket options of a netfilter module: `setsockopt` and `getsockopt` at level `IPPROTO_IP`.
//!
//! A row of options is a `static`, described by a [`Handler`] and in service while its
//! [`Registration`] lives:
//!
//! ```ignore
//! static OPTIONS: Options<MyHandler> = Options::new::<MyModule>();
//! let registration = OPTIONS.register(pernet)?;
//! ```
//!
//! C header: [`include/linux/netfilter.h`](srctree/include/linux/netfilter.h)

use crate::{
    bindings,
    net::{
        self,
        Net,
        PerNet, //
    },
    rcu, //
};
use core::{
    marker::PhantomData,
    ops::Range,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    prelude::*,
    sync::Arc,
    types::Opaque,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    ModuleMetadata, //
};

/// The operations of a range of socket options.
///
/// Methods run in process context and may sleep. They run in parallel, for callers with
/// `CAP_NET_ADMIN` in the user namespace that owns the socket's network namespace; for others the
/// answer is `EPERM`.
pub trait Handler: Sized + 'static {
    /// The module's state of a network namespace, on which options work.
    type PerNet: PerNet;

    /// The numbers of the options that can be set.
    const SET: Range<c_int>;

    /// The numbers of the options that can be got.
    const GET: Range<c_int>;

    /// Sets an option. An error becomes the errno that the caller sees.
    fn set(option: c_int, argument: &Argument<'_>, value: Pin<&Self::PerNet>) -> Result;

    /// Gets an option. An error becomes the errno that the caller sees.
    fn get(option: c_int, answer: &mut Answer<'_>, value: Pin<&Self::PerNet>) -> Result;
}

/// The argument of a `setsockopt()`.
pub struct Argument<'a> {
    from: bindings::sockptr_t,
    len: usize,
    _call: PhantomData<&'a ()>,
}

impl Argument<'_> {
    /// Returns its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads all of it, for an option whose argument has this length.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it has another one; `EFAULT` if it can't be read.
    pub fn read<const N: usize>(&self) -> Result<[u8; N]> {
        if self.len != N {
            return Err(EINVAL);
        }
        let mut bytes = [0; N];
        // SAFETY: `N` bytes are ours to write. In the source, what is not in the caller's memory,
        // where reading may fail, is valid for the length that came with it.
        let left =
            unsafe { bindings::linux_copy_from_sockptr(bytes.as_mut_ptr().cast(), self.from, N) };
        if left == 0 {
            Ok(bytes)
        } else {
            Err(EFAULT)
        }
    }
}

/// The memory of a caller of `getsockopt`, which holds what is asked and gets the answer.
pub struct Answer<'a> {
    ptr: UserPtr,
    len: &'a mut c_int,
}

impl Answer<'_> {
    /// Returns its length in bytes, as the caller says; that may be negative.
    pub fn len(&self) -> c_int {
        *self.len
    }

    /// Returns whether nothing fits into it.
    pub fn is_empty(&self) -> bool {
        *self.len <= 0
    }

    /// Reads its first bytes, which say what is asked for.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is shorter; `EFAULT` if it can't be read.
    pub fn read<const N: usize>(&self) -> Result<[u8; N]> {
        let len = usize::try_from(*self.len).map_err(|_| EINVAL)?;
        if len < N {
            return Err(EINVAL);
        }
        let mut bytes = [0; N];
        UserSlice::new(self.ptr, N)
            .reader()
            .read_slice(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes `bytes` of the answer, `offset` bytes from its beginning.
    ///
    /// # Errors
    ///
    /// `EFAULT` if they can't be written, be it that there is no room for them.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> Result {
        let len = usize::try_from(*self.len).unwrap_or(0);
        let end = offset.checked_add(bytes.len()).ok_or(EFAULT)?;
        if end > len {
            return Err(EFAULT);
        }
        let place = UserSlice::new(self.ptr.wrapping_byte_add(offset), bytes.len());
        place.writer().write_slice(bytes)
    }

    /// Tells the caller that the answer is `len` bytes long; without this, it keeps the length that
    /// it has.
    pub fn set_len(&mut self, len: usize) {
        *self.len = c_int::try_from(len).unwrap_or(c_int::MAX);
    }
}

/// A row of socket options.
///
/// # Invariants
///
/// `inner` is filled in as `T` says: `set` and `get` are the callbacks for `T`. Once registered,
/// only the core writes it.
pub struct Options<T: Handler> {
    inner: Opaque<bindings::nf_sockopt_ops>,
    _handler: PhantomData<fn(T)>,
}

// SAFETY: What the core changes in it, it guards by its own lock; everything else is constant.
unsafe impl<T: Handler> Sync for Options<T> {}

impl<T: Handler> Options<T> {
    /// Describes the options, for sockets of `PF_INET`, that module `M` owns.
    pub const fn new<M: ModuleMetadata>() -> Self {
        let mut ops: bindings::nf_sockopt_ops = pin_init::zeroed();
        ops.pf = bindings::PF_INET as u8;
        ops.set_optmin = T::SET.start;
        ops.set_optmax = T::SET.end;
        ops.set = Some(set_callback::<T>);
        ops.get_optmin = T::GET.start;
        ops.get_optmax = T::GET.end;
        ops.get = Some(get_callback::<T>);
        ops.owner = M::THIS_MODULE.as_ptr();
        // INVARIANT: All of it comes from `T`.
        Self {
            inner: Opaque::new(ops),
            _handler: PhantomData,
        }
    }

    /// Puts the options in service, in every network namespace. `pernet` is kept meanwhile, so that
    /// they find the value of the socket's namespace.
    ///
    /// A module's init function must do this last: a call that runs holds a reference to the
    /// module, for which unloading waits, but not the end of an init function that failed.
    ///
    /// # Errors
    ///
    /// `EBUSY` if some of the numbers are taken.
    pub fn register(
        &'static self,
        pernet: Arc<net::Registration<T::PerNet>>,
    ) -> Result<Registration<T>> {
        // SAFETY: It is static and, by the type invariant, consistent. A second registration is
        // refused by the core before it touches it, since the numbers are taken.
        to_result(unsafe { bindings::nf_register_sockopt(self.inner.get()) })?;
        // INVARIANT: Just registered.
        Ok(Registration {
            options: self,
            _pernet: pernet,
        })
    }
}

/// Socket options in service; out of service when dropped.
///
/// # Invariants
///
/// `options` is registered.
pub struct Registration<T: Handler> {
    options: &'static Options<T>,
    _pernet: Arc<net::Registration<T::PerNet>>,
}

impl<T: Handler> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::nf_unregister_sockopt(self.options.inner.get()) };
    }
}

/// Calls `handle` with the value of the socket's namespace, if the caller may.
///
/// # Safety
///
/// Must only be called in a callback of a registered [`Options<T>`], with the socket that this got.
unsafe fn on_value<T: Handler>(
    sk: *mut bindings::sock,
    handle: impl FnOnce(Pin<&T::PerNet>) -> Result,
) -> c_int {
    // SAFETY: The caller's socket is valid, and keeps its namespace, which keeps its user
    // namespace.
    let (net, capable) = unsafe {
        let net = bindings::linux_sock_net(sk);
        let capable = bindings::ns_capable((*net).user_ns, bindings::CAP_NET_ADMIN as c_int);
        (Net::from_raw(net), capable)
    };
    if !capable {
        return EPERM.to_errno();
    }
    let found = rcu::read(|rcu| {
        let value = net.get::<T::PerNet>(rcu)?;
        Some(NonNull::from(value.get_ref()))
    });
    let Some(value) = found else {
        return ENODEV.to_errno();
    };
    // SAFETY: A value is pinned, and stays until its namespace dies or its registration is dropped.
    // The caller's socket holds a reference to the namespace; this call holds one to the module,
    // which so keeps the registration.
    let value = unsafe { Pin::new_unchecked(value.as_ref()) };
    match handle(value) {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}

/// # Safety
///
/// Must only be called by the core, as `set` of an [`Options<T>`].
unsafe extern "C" fn set_callback<T: Handler>(
    sk: *mut bindings::sock,
    option: c_int,
    from: bindings::sockptr_t,
    len: c_uint,
) -> c_int {
    let argument = Argument {
        from,
        len: len as usize,
        _call: PhantomData,
    };
    // SAFETY: It is this callback's socket.
    unsafe { on_value::<T>(sk, |value| T::set(option, &argument, value)) }
}

/// # Safety
///
/// Must only be called by the core, as `get` of an [`Options<T>`].
unsafe extern "C" fn get_callback<T: Handler>(
    sk: *mut bindings::sock,
    option: c_int,
    user: *mut c_void,
    len: *mut c_int,
) -> c_int {
    let mut answer = Answer {
        ptr: UserPtr::from_ptr(user),
        // SAFETY: The core passes a variable of its own.
        len: unsafe { &mut *len },
    };
    // SAFETY: It is this callback's socket.
    unsafe { on_value::<T>(sk, |value| T::get(option, &mut answer, value)) }
}
