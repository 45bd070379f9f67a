// SPDX-License-Identifier: GPL-2.0

//! Connection tracking: the entries that packets belong to.
//!
//! C headers: [`include/net/netfilter/nf_conntrack.h`](srctree/include/net/netfilter/nf_conntrack.h),
//! [`include/net/netfilter/nf_conntrack_core.h`](srctree/include/net/netfilter/nf_conntrack_core.h)

#[cfg(not(CONFIG_NF_CONNTRACK))]
compile_error!("the kernel has no connection tracking: CONFIG_NF_CONNTRACK is not set");

use crate::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    bindings,
    net::{
        Net,
        OwnNet, //
    },
    netfilter::Protocol,
    rcu::ReadLocked,
    skb::Skb, //
};
use core::{
    marker::PhantomData,
    net::IpAddr,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    prelude::*, //
};

/// The flow of packets in one direction. C: `struct nf_conntrack_tuple`.
pub struct Tuple(bindings::nf_conntrack_tuple);

impl Tuple {
    /// Makes the tuple of a flow of packets with ports. Both addresses must be of the same family.
    pub fn new(protocol: u8, src: (IpAddr, u16), dst: (IpAddr, u16)) -> Self {
        let mut tuple = Self(bindings::nf_conntrack_tuple::default());
        tuple.0.src.l3num = match src.0 {
            IpAddr::V4(_) => bindings::AF_INET as u16,
            IpAddr::V6(_) => bindings::AF_INET6 as u16,
        };
        tuple.0.dst.protonum = protocol;
        tuple.set_src(src.0, Some(src.1));
        tuple.set_dst(dst.0, Some(dst.1));
        tuple
    }

    /// Returns the source's address and port. C: `src`.
    pub fn src(&self) -> (IpAddr, u16) {
        // SAFETY: The union holds the port in its first two bytes.
        let port = unsafe { (&raw const self.0.src.u).cast::<u16>().read() };
        (self.addr(&self.0.src.u3), u16::from_be(port))
    }

    /// Returns the destination's address and port. C: `dst`.
    pub fn dst(&self) -> (IpAddr, u16) {
        // SAFETY: As in `src`.
        let port = unsafe { (&raw const self.0.dst.u).cast::<u16>().read() };
        (self.addr(&self.0.dst.u3), u16::from_be(port))
    }

    fn addr(&self, inet: &bindings::nf_inet_addr) -> IpAddr {
        // SAFETY: All bytes of the union are always initialized, and any are valid for each member.
        unsafe {
            match u32::from(self.0.src.l3num) {
                bindings::AF_INET => IpAddr::V4(u32::from_be(inet.ip).into()),
                _ => IpAddr::V6(inet.in6.in6_u.u6_addr8.into()),
            }
        }
    }

    pub(crate) fn as_raw(&self) -> &bindings::nf_conntrack_tuple {
        &self.0
    }

    /// Returns the protocol number. C: `dst.protonum`.
    pub fn protocol(&self) -> u8 {
        self.0.dst.protonum
    }

    /// Sets the source address, which must be of the tuple's family, and the port unless it is `None`.
    pub fn set_src(&mut self, addr: IpAddr, port: Option<u16>) {
        self.0.src.u3 = inet_addr(addr);
        if let Some(port) = port {
            // SAFETY: The union holds the port in its first two bytes, and has no others.
            unsafe { (&raw mut self.0.src.u).cast::<u16>().write(port.to_be()) };
        }
    }

    /// Sets the destination address, which must be of the tuple's family, and the port unless it is
    /// `None`.
    pub fn set_dst(&mut self, addr: IpAddr, port: Option<u16>) {
        self.0.dst.u3 = inet_addr(addr);
        if let Some(port) = port {
            // SAFETY: As in `set_src`.
            unsafe { (&raw mut self.0.dst.u).cast::<u16>().write(port.to_be()) };
        }
    }
}

/// Returns an address as C has it, with the unused bytes 0, since tuples are compared as a whole.
fn inet_addr(addr: IpAddr) -> bindings::nf_inet_addr {
    let mut inet = bindings::nf_inet_addr { all: [0; 4] };
    match addr {
        IpAddr::V4(addr) => inet.ip = addr.to_bits().to_be(),
        IpAddr::V6(addr) => inet.in6.in6_u.u6_addr8 = addr.octets(),
    }
    inet
}

/// The entry that a packet belongs to. C: `struct nf_conn`, `enum ip_conntrack_info`.
///
/// # Invariants
///
/// `ct` is the entry of a packet that is borrowed for `'a`, which holds a reference to it.
pub struct Entry<'a> {
    ct: NonNull<bindings::nf_conn>,
    info: bindings::ip_conntrack_info,
    _skb: PhantomData<&'a mut Skb>,
}

impl Entry<'_> {
    fn status(&self) -> usize {
        let offset = bindings::LINUX_NF_CONN_STATUS;
        // SAFETY: By the type invariant; the field, a word, changes atomically.
        let status = unsafe { Atomic::<usize>::from_ptr(self.ct.as_ptr().byte_add(offset).cast()) };
        status.load(Relaxed)
    }

    pub(crate) fn as_ptr(&self) -> *mut bindings::nf_conn {
        self.ct.as_ptr()
    }

    /// Returns whether sequence numbers of the entry's packets can be adjusted. C: `nfct_seqadj()`.
    pub fn has_seqadj(&self) -> bool {
        // SAFETY: By the type invariant.
        !unsafe { bindings::linux_nfct_seqadj(self.ct.as_ptr()) }.is_null()
    }

    /// Makes it possible to adjust sequence numbers of the entry's packets, if the entry [is
    /// unconfirmed](Self::is_unconfirmed). Returns `false` if not. C: `nfct_seqadj_ext_add()`.
    pub fn add_seqadj(&mut self) -> bool {
        self.has_seqadj()
            || self.is_unconfirmed()
                // SAFETY: By the type invariant; an entry that is not confirmed belongs to this packet.
                && !unsafe { bindings::linux_nfct_seqadj_ext_add(self.ct.as_ptr()) }.is_null()
    }

    /// Returns whether the entry has been confirmed: other packets may find it.
    #[inline]
    pub fn is_confirmed(&self) -> bool {
        self.status() & bindings::ip_conntrack_status_IPS_CONFIRMED as usize != 0
    }

    /// Returns whether the entry is new and belongs to this packet alone, so that [`Self::set_reply`]
    /// may change it.
    #[inline]
    pub fn is_unconfirmed(&self) -> bool {
        use bindings as b;
        // A template of the raw table, which several packets share, is confirmed.
        const SHARED: b::ip_conntrack_status =
            b::ip_conntrack_status_IPS_CONFIRMED | b::ip_conntrack_status_IPS_DYING;
        self.status() & SHARED as usize == 0
    }

    /// Returns whether the packet goes in the direction of the entry's first packet. C:
    /// `CTINFO2DIR()`.
    #[inline]
    pub fn is_original(&self) -> bool {
        self.info < bindings::ip_conntrack_info_IP_CT_IS_REPLY
    }

    /// Returns the tuple of replies.
    pub fn reply(&self) -> Tuple {
        // SAFETY: By the type invariant; it is plain data.
        Tuple(unsafe { bindings::linux_nf_ct_reply_tuple(self.ct.as_ptr()).read() })
    }

    /// Sets the tuple that replies will have. Does nothing unless the entry [is
    /// unconfirmed](Self::is_unconfirmed). C: `nf_conntrack_alter_reply()`.
    pub fn set_reply(&mut self, reply: Tuple) {
        if self.is_unconfirmed() {
            // SAFETY: By the type invariant. An entry that is not confirmed is in no table, and no
            // other packet has it.
            unsafe { set_reply(self.ct.as_ptr(), reply) };
        }
    }
}

impl Skb {
    /// Returns the conntrack word of the packet: a pointer, with a state in its lowest bits (C:
    /// `_nfct`).
    #[inline]
    fn conntrack(&self) -> usize {
        // SAFETY: By the type invariants.
        unsafe { (*self.as_ptr())._nfct }
    }

    /// Returns the entry that connection tracking has for the packet. C: `nf_ct_get()`.
    #[inline]
    pub fn conntrack_entry(&mut self) -> Option<Entry<'_>> {
        const INFO: usize = !(bindings::NFCT_PTRMASK as usize);
        let word = self.conntrack();
        let ct = NonNull::new((word & !INFO) as *mut bindings::nf_conn)?;
        // INVARIANT: The word's pointer is to an entry, with a reference.
        Some(Entry {
            ct,
            info: (word & INFO) as bindings::ip_conntrack_info,
            _skb: PhantomData,
        })
    }

    /// Confirms the packet's entry, if it has one that was not confirmed yet. C:
    /// `nf_conntrack_confirm()`.
    ///
    /// # Errors
    ///
    /// Returns `false` if the packet must be dropped, since another packet's entry clashes with its
    /// own, or its own is being deleted.
    #[must_use = "the packet must be dropped if this returns false"]
    pub fn confirm_conntrack(&mut self) -> bool {
        if self.conntrack() & bindings::NFCT_PTRMASK as usize == 0 {
            return true;
        }
        // SAFETY: By the type invariants; a hook's context is what it is for.
        let verdict = unsafe { bindings::linux_nf_conntrack_confirm(self.as_ptr()) };
        verdict as u32 == bindings::NF_ACCEPT
    }

    /// Makes connection tracking forget the packet.
    #[inline]
    pub fn reset_conntrack(&mut self) {
        if self.conntrack() & bindings::NFCT_PTRMASK as usize != 0 {
            // SAFETY: By the type invariants.
            unsafe { bindings::linux_nf_reset_ct(self.as_ptr()) };
        }
        // SAFETY: By the type invariants, and the packet is ours alone.
        unsafe { (*self.as_ptr())._nfct = 0 };
    }

    /// Makes connection tracking forget the packet if it knows it, and leave it alone from now on.
    #[inline]
    pub fn set_untracked(&mut self) {
        if self.conntrack() & bindings::NFCT_PTRMASK as usize != 0 {
            self.reset_conntrack();
            self.set_slow_gro();
            // SAFETY: By the type invariants, and the packet is ours alone. There is no pointer
            // along with the state, so no reference either.
            unsafe {
                (*self.as_ptr())._nfct = bindings::ip_conntrack_info_IP_CT_UNTRACKED as usize
            };
        }
    }
}

/// Changes the tuple that replies to an entry will have. `change` gets that of the original direction
/// and that of replies.
///
/// # Safety
///
/// `ct` must be valid, not confirmed, and nobody else's.
pub(crate) unsafe fn alter_reply(
    ct: *mut bindings::nf_conn,
    change: impl FnOnce(&Tuple, Tuple) -> Option<Tuple>,
) {
    // SAFETY: By the safety requirement; tuples are plain data.
    let (original, reply) = unsafe {
        (
            Tuple(bindings::linux_nf_ct_original_tuple(ct).read()),
            Tuple(bindings::linux_nf_ct_reply_tuple(ct).read()),
        )
    };
    if let Some(reply) = change(&original, reply) {
        // SAFETY: By the safety requirement.
        unsafe { set_reply(ct, reply) };
    }
}

/// Sets the tuple that replies to an entry will have.
///
/// # Safety
///
/// As for [`alter_reply`].
unsafe fn set_reply(ct: *mut bindings::nf_conn, mut reply: Tuple) {
    // A packet that is found by the tuple is taken to have its direction.
    reply.0.dst.dir = bindings::ip_conntrack_dir_IP_CT_DIR_REPLY as u8;
    // SAFETY: By the safety requirement.
    unsafe { bindings::linux_nf_conntrack_alter_reply(ct, &raw const reply.0) };
}

/// Deletes the confirmed entry with this tuple in the original direction, in the default zone, if
/// there is one.
///
/// C: `nf_conntrack_find_get()`, `nf_ct_kill()`.
///
/// # Context
///
/// Any but hard interrupts.
pub fn kill(net: &Net, original: &Tuple, _rcu: ReadLocked<'_>) {
    // SAFETY: The namespace is valid, and connection tracking goes on in it: it is registered before
    // and unregistered after any module that needs its symbols.
    let hash =
        unsafe { bindings::linux_nf_conntrack_find_get(net.as_ptr(), &raw const original.0) };
    if hash.is_null() {
        return;
    }
    // SAFETY: The hash is part of an entry, to which a reference was taken, and given back after use.
    unsafe {
        let ct = bindings::linux_nf_ct_tuplehash_to_ctrack(hash);
        bindings::nf_ct_delete(ct, 0, 0);
        bindings::linux_nf_ct_put(ct);
    }
}

/// Tracks the packets of a namespace and family while this exists, whether or not rules ask for it.
/// C: `nf_ct_netns_get()`.
///
/// # Invariants
///
/// `net` counts it as a user for `protocol`.
pub struct Tracking {
    net: OwnNet,
    protocol: Protocol,
}

impl Tracking {
    /// Starts to track, unless that was done before. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and others of registering hooks.
    pub fn new(net: &OwnNet, protocol: Protocol) -> Result<Self> {
        // SAFETY: The namespace is valid.
        to_result(unsafe { bindings::nf_ct_netns_get(net.as_ptr(), protocol.as_raw()) })?;
        // INVARIANT: It counts.
        Ok(Self {
            net: net.clone(),
            protocol,
        })
    }
}

impl Drop for Tracking {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::nf_ct_netns_put(self.net.as_ptr(), self.protocol.as_raw()) };
    }
}
