// SPDX-License-Identifier: GPL-2.0

//! Applications that say addresses in their TCP connections: changes what they say, and expects the
//! connections that they announce.
//!
//! The functions of nf_nat are called by way of a [`Mangler`], which another module registers, so that
//! this module does not need that one's symbols.
//!
//! C headers: [`include/net/netfilter/nf_nat_helper.h`](srctree/include/net/netfilter/nf_nat_helper.h),
//! [`include/net/netfilter/nf_conntrack_expect.h`](srctree/include/net/netfilter/nf_conntrack_expect.h)

use crate::{
    atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    bindings,
    net::Net,
    nf_conntrack::{
        self,
        Tuple, //
    },
    rcu::{
        self,
        ReadLocked, //
    },
    skb::Skb, //
};
use core::{
    net::IpAddr,
    ops::Range,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::prelude::*;

/// The most ports that an application is registered for.
pub const MAX_PORTS: usize = 8;

/// What the module of an application brings along. Its layout is that of C's: `struct ip_vs_mangler`.
///
/// # Invariants
///
/// It is valid and does not change while it is registered, or a [`ManglerRef`] exists.
#[repr(C)]
pub struct Mangler {
    owner: *mut bindings::module,
    mangle: unsafe extern "C" fn(
        *mut bindings::sk_buff,
        c_uint,
        c_uint,
        c_uint,
        *const c_char,
        c_uint,
    ) -> bool,
    ports: [u16; MAX_PORTS],
    count: c_uint,
}

// SAFETY: By the type invariant it is only read; the module and the function may be used anywhere.
unsafe impl Send for Mangler {}
// SAFETY: As above.
unsafe impl Sync for Mangler {}

impl Mangler {
    /// Returns the ports, in host byte order; 0 is none.
    pub fn ports(&self) -> &[u16] {
        self.ports.get(..self.count as usize).unwrap_or_default()
    }

    /// Keeps the module from being unloaded, unless it is about to be.
    pub fn hold(&self) -> Option<ManglerRef> {
        // SAFETY: By the type invariants the module is there, as its mangler is.
        let counted = unsafe { bindings::try_module_get(self.owner) };
        // INVARIANT: Counted if true.
        counted.then(|| ManglerRef(NonNull::from(self)))
    }
}

/// A mangler whose module is kept from being unloaded.
///
/// # Invariants
///
/// One use of the module is counted.
pub struct ManglerRef(NonNull<Mangler>);

// SAFETY: `Mangler` is `Send` and `Sync`.
unsafe impl Send for ManglerRef {}
// SAFETY: As above.
unsafe impl Sync for ManglerRef {}

impl ManglerRef {
    fn get(&self) -> &Mangler {
        // SAFETY: By the type invariant the module, which it is part of, is there.
        unsafe { self.0.as_ref() }
    }

    /// Replaces the part `range` of the payload of a TCP packet by `text`. The TCP header is at
    /// `offset` from the network header, in bytes. Lengths and checksums are corrected, and from now on
    /// connection tracking adjusts the sequence numbers of the packet's entry.
    ///
    /// C: `nf_nat_mangle_tcp_packet()`.
    ///
    /// # Errors
    ///
    /// Returns `false` if there is no memory, if the packet has no such part, or if connection tracking
    /// has no entry for it.
    #[must_use = "the packet must be dropped if this returns false"]
    pub fn mangle(&self, skb: &mut Skb, offset: usize, range: Range<usize>, text: &[u8]) -> bool {
        let payload = skb.tcp_payload(offset);
        let Ok(Some(part)) = payload.map(|payload| payload.get(range.clone())) else {
            return false;
        };
        // None is longer than a packet, whose length fits.
        let (match_len, text_len) = (part.len() as c_uint, text.len() as c_uint);
        if text.len() > usize::from(u16::MAX) {
            return false;
        }
        // SAFETY: By the type invariants of both. The packet is linear and its own, and the part is
        // inside of its payload. The function keeps the invariants of the packet, of which nothing is
        // borrowed: what is before the part stays, and the length says how much follows.
        unsafe {
            (self.get().mangle)(
                skb.as_ptr(),
                offset as c_uint,
                range.start as c_uint,
                match_len,
                text.as_ptr().cast(),
                text_len,
            )
        }
    }
}

impl Drop for ManglerRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::module_put(self.get().owner) };
    }
}

impl Skb {
    /// Returns the payload of a TCP packet whose TCP header is at `offset`, after making all of the
    /// packet linear and its own. It is empty if the header is malformed.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn tcp_payload(&mut self, offset: usize) -> Result<&[u8], crate::skb::NoMemory> {
        let len = self.len();
        let bytes: &[u8] = self.writable(len)?;
        let tcp = bytes.get(offset..).unwrap_or_default();
        let header_len = tcp.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
        Ok(match header_len {
            20.. => tcp.get(header_len..).unwrap_or_default(),
            _ => &[],
        })
    }
}

/// An application.
pub trait Application: 'static {
    /// Returns where its mangler is registered.
    fn registry() -> &'static Registry;

    /// Checks the ports of a mangler that is to be registered.
    ///
    /// # Errors
    ///
    /// What the module's user gets.
    fn check(ports: &[u16]) -> Result;

    /// Returns what replies look like of a connection that was [expected](expect), if IPVS knows it.
    /// `original` is its direction of requests, `reply` what replies would look like otherwise.
    ///
    /// # Context
    ///
    /// Softirq, or bottom halves disabled, in a read-side critical section.
    fn expected(net: &Net, original: &Tuple, reply: Tuple, rcu: ReadLocked<'_>) -> Option<Tuple>;
}

/// Where the mangler of an application is registered.
pub struct Registry {
    mangler: Atomic<*mut Mangler>,
    /// The function of the application's expectations, by which they are found again.
    expectfn: Atomic<usize>,
}

impl Registry {
    /// Makes one without a mangler.
    #[expect(clippy::new_without_default, reason = "for statics")]
    pub const fn new() -> Self {
        Self {
            mangler: Atomic::new(ptr::null_mut()),
            expectfn: Atomic::new(0),
        }
    }

    /// Returns the mangler, if one is registered.
    #[inline]
    pub fn get<'rcu>(&self, _rcu: ReadLocked<'rcu>) -> Option<&'rcu Mangler> {
        // SAFETY: It is null, or a mangler that is unregistered a grace period before it goes.
        unsafe { self.mangler.load(Acquire).as_ref() }
    }
}

/// Registers a mangler. Returns 0 or a negative errno: what [`Application::check`] says, or `EBUSY`.
///
/// # Safety
///
/// `mangler` must be valid and not change until it was [unregistered](unregister). Calls of both must
/// not be concurrent; process context.
pub unsafe fn register<T: Application>(mangler: *const Mangler) -> c_int {
    let registry = T::registry();
    // SAFETY: By the safety requirement.
    if let Err(error) = T::check(unsafe { (*mangler).ports() }) {
        return error.to_errno();
    }
    if !registry.mangler.load(Relaxed).is_null() {
        return EBUSY.to_errno();
    }
    let expectfn: unsafe extern "C" fn(*mut bindings::nf_conn, *mut bindings::nf_conntrack_expect) =
        expected::<T>;
    registry.expectfn.store(expectfn as usize, Relaxed);
    registry.mangler.store(mangler.cast_mut(), Release);
    0
}

/// Unregisters a mangler, which nobody uses when this returns. Sleeps.
///
/// # Safety
///
/// `mangler` must have been [registered](register), and the use count of its owner be 0 for good.
pub unsafe fn unregister<T: Application>(_mangler: *const Mangler) {
    let registry = T::registry();
    registry.mangler.store(ptr::null_mut(), Relaxed);
    rcu::synchronize();
    // No packet expects anything any more, but what was expected may not have come yet.
    let expectfn = registry.expectfn.load(Relaxed);
    // SAFETY: The function and what it is given fit.
    unsafe {
        bindings::nf_ct_expect_iterate_destroy(
            Some(has_expectfn),
            ptr::with_exposed_provenance_mut(expectfn),
        )
    };
}

/// Returns whether the function of an expectation is `expectfn`.
///
/// # Safety
///
/// `expectation` must be valid.
unsafe extern "C" fn has_expectfn(
    expectation: *mut bindings::nf_conntrack_expect,
    expectfn: *mut c_void,
) -> bool {
    // SAFETY: By the safety requirement.
    unsafe { *expectfn_of(expectation) == expectfn.addr() }
}

/// Returns the place of the function of an expectation.
///
/// # Safety
///
/// `expectation` must be valid.
unsafe fn expectfn_of(expectation: *mut bindings::nf_conntrack_expect) -> *mut usize {
    let offset = bindings::LINUX_NF_CONNTRACK_EXPECT_EXPECTFN;
    // SAFETY: By the safety requirement; it is inside of the object.
    unsafe { expectation.byte_add(offset).cast() }
}

/// Expects a connection because of what a packet says: from `src`, with any port, to `dst`. Does nothing
/// if connection tracking has no entry for the packet, or none that a helper looks at.
///
/// C: `nf_ct_expect_related()`.
pub fn expect<T: Application>(skb: &mut Skb, protocol: u8, src: IpAddr, dst: (IpAddr, u16)) {
    let expectfn = T::registry().expectfn.load(Relaxed);
    let Some(entry) = skb.conntrack_entry() else {
        return;
    };
    let tuple = Tuple::new(protocol, (src, 0), dst);
    let port = dst.1.to_be();
    // SAFETY: The packet keeps its entry, which stays while this runs. The addresses and the port are
    // copied. The expectation has one reference, which is given back.
    unsafe {
        let expectation = bindings::nf_ct_expect_alloc(entry.as_ptr());
        if expectation.is_null() {
            return;
        }
        bindings::nf_ct_expect_init(
            expectation,
            0,
            tuple.as_raw().src.l3num as u8,
            &raw const tuple.as_raw().src.u3,
            &raw const tuple.as_raw().dst.u3,
            protocol,
            ptr::null(),
            &raw const port,
        );
        expectfn_of(expectation).write(expectfn);
        bindings::nf_ct_expect_related_report(expectation, 0, 0, 0);
        bindings::nf_ct_expect_put(expectation);
    }
}

/// Sets what replies to an expected connection look like: the function of its expectation.
///
/// # Safety
///
/// `ct` must be a valid entry that is not confirmed, in a read-side critical section.
unsafe extern "C" fn expected<T: Application>(
    ct: *mut bindings::nf_conn,
    _expectation: *mut bindings::nf_conntrack_expect,
) {
    // SAFETY: By the safety requirement; all of this stays in this call.
    unsafe {
        let rcu = ReadLocked::assume();
        let net = Net::from_raw(bindings::linux_nf_ct_net(ct));
        nf_conntrack::alter_reply(ct, |original, reply| T::expected(net, original, reply, rcu));
    }
}

/// Defines the functions with these names by which the module of an application registers and
/// unregisters its [`Mangler`].
///
/// `export_application!(Type, register_name, unregister_name)`, where `Type` implements
/// [`Application`]. A C file of the module has their prototypes and exports the symbols.
#[macro_export]
macro_rules! export_application {
    ($type:ty, $register:ident, $unregister:ident) => {
        #[expect(unsafe_code, reason = "C calls these by their names")]
        const _: () = {
            /// # Safety
            ///
            /// As for [`$crate::nf_nat::register`].
            #[no_mangle]
            unsafe extern "C" fn $register(
                mangler: *const $crate::nf_nat::Mangler,
            ) -> ::kernel::ffi::c_int {
                // SAFETY: By the safety requirement.
                unsafe { $crate::nf_nat::register::<$type>(mangler) }
            }

            /// # Safety
            ///
            /// As for [`$crate::nf_nat::unregister`].
            #[no_mangle]
            unsafe extern "C" fn $unregister(mangler: *const $crate::nf_nat::Mangler) {
                // SAFETY: By the safety requirement.
                unsafe { $crate::nf_nat::unregister::<$type>(mangler) }
            }
        };
    };
}
