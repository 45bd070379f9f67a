// SPDX-License-Identifier: GPL-2.0

//! Packets on their way through the IPv4 and IPv6 hooks of netfilter.
//!
//! An [`Skb`] is owned and moved: what was handed on can't be used again, and what is kept is
//! freed. Its fields are read and written in Rust; C is called where the kernel has a function
//! that does more than that.
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h)

mod borrowed;
mod checksum;
mod data;
mod tunnel;

pub use borrowed::SkbRef;
pub use checksum::Summed;
pub use data::NoMemory;
pub use tunnel::{
    Encapsulation,
    OuterHeader, //
};

use crate::{
    atomic::{
        Acquire,
        Atomic, //
    },
    bindings,
    netdevice::Device,
    rcu::ReadLocked,
    route::{
        Dst,
        Owned,
        Route, //
    },
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::{
        self,
        NonNull, //
    },
};

/// The bits of a packet that share a union in C (`headers`).
type Headers = bindings::sk_buff__bindgen_ty_4__bindgen_ty_1;

/// A packet, owned.
///
/// Dropping it frees it and counts it as dropped; [`Skb::consume`] frees it without that.
///
/// It is not [`Send`]: it lives in the call that netfilter made, and so inside of its RCU
/// read-side critical section, which the route that it carries may depend on.
///
/// # Invariants
///
/// - The pointer is to a valid `sk_buff`, which nobody else refers to. Its data may be shared with
///   clones.
/// - `data` is where its network header starts, and `len - data_len` bytes from there on are
///   linear.
/// - `protocol` is that of IPv4 or IPv6, and says which of both families the packet is of.
/// - It carries no destination, or one that it may be sent along; one without reference is valid
///   for as long as the value exists.
/// - Its control block is that of its family (`IPCB`, `IP6CB`).
#[repr(transparent)]
pub struct Skb {
    ptr: NonNull<bindings::sk_buff>,
    _not_send: PhantomData<*mut ()>,
}

impl Skb {
    /// Takes a packet from C.
    ///
    /// # Safety
    ///
    /// `ptr` must be as the type invariants demand, and the caller must give up its reference. The
    /// value must not outlive the RCU read-side critical section that is open.
    #[inline]
    pub(crate) unsafe fn from_raw(ptr: NonNull<bindings::sk_buff>) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            ptr,
            _not_send: PhantomData,
        }
    }

    /// Returns the protocol of a packet that still belongs to C, in network byte order.
    ///
    /// # Safety
    ///
    /// `ptr` must be valid.
    #[inline]
    pub(crate) unsafe fn protocol_of(ptr: NonNull<bindings::sk_buff>) -> u16 {
        // SAFETY: By the safety requirement; the union holds the headers.
        unsafe {
            let headers: *const Headers = (&raw const (*ptr.as_ptr()).__bindgen_anon_4).cast();
            (*headers).protocol
        }
    }

    /// Gives the packet to C, which has to free it.
    #[inline]
    pub(crate) fn into_raw(self) -> *mut bindings::sk_buff {
        ManuallyDrop::new(self).ptr.as_ptr()
    }

    /// Returns the pointer for C.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut bindings::sk_buff {
        self.ptr.as_ptr()
    }

    #[inline]
    fn headers(&self) -> *mut Headers {
        // SAFETY: The place is inside of a valid `sk_buff`; nothing is read.
        unsafe { (&raw mut (*self.as_ptr()).__bindgen_anon_4).cast() }
    }

    #[inline]
    fn shared_info(&self) -> *mut bindings::skb_shared_info {
        // SAFETY: By the type invariants `head` and `end` describe the packet's buffer, behind
        // which the shared info lies.
        #[cfg(CONFIG_64BIT)]
        unsafe {
            let skb = self.as_ptr();
            (*skb).head.add((*skb).end as usize).cast()
        }
        // SAFETY: As above. With 32 bits, `end` is a pointer (`NET_SKBUFF_DATA_USES_OFFSET`).
        #[cfg(not(CONFIG_64BIT))]
        unsafe {
            (*self.as_ptr()).end.cast()
        }
    }

    /// Frees the packet that did what it was for.
    pub fn consume(self) {
        // SAFETY: The reference is ours to give up.
        unsafe { bindings::consume_skb(self.into_raw()) };
    }

    /// Returns whether it is an IPv6 packet; if not, it is one of IPv4.
    #[inline]
    pub fn is_ipv6(&self) -> bool {
        const IPV6: u16 = (bindings::ETH_P_IPV6 as u16).to_be();
        // SAFETY: By the type invariants.
        unsafe { (*self.headers()).protocol == IPV6 }
    }

    /// Returns the length of the packet in bytes, from the network header on.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "no IP packet is empty")]
    pub fn len(&self) -> usize {
        // SAFETY: By the type invariants.
        unsafe { (*self.as_ptr()).len as usize }
    }

    /// Returns the firewall mark.
    #[inline]
    pub fn mark(&self) -> u32 {
        // SAFETY: By the type invariants; each variant of the union is plain data.
        unsafe { (*self.headers()).__bindgen_anon_4.mark }
    }

    /// Returns whether the link layer addressed the packet to this host. Not set yet on LOCAL_OUT.
    #[inline]
    pub fn is_for_this_host(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { u32::from(Headers::pkt_type_raw(self.headers())) == bindings::PACKET_HOST }
    }

    /// Returns whether IPVS has handled the packet already.
    #[inline]
    pub fn ipvs_property(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { Headers::ipvs_property_raw(self.headers()) != 0 }
    }

    /// Marks the packet as handled by IPVS.
    #[inline]
    pub fn set_ipvs_property(&mut self) {
        // SAFETY: By the type invariants, and the packet is ours alone.
        unsafe { Headers::set_ipvs_property_raw(self.headers(), 1) };
    }

    /// Allows this host to fragment the packet in spite of its DF bit.
    #[inline]
    pub fn set_ignore_df(&mut self) {
        // SAFETY: By the type invariants, and the packet is ours alone.
        unsafe { Headers::set_ignore_df_raw(self.headers(), 1) };
    }

    /// Returns whether [`Skb::set_ignore_df`], or C, has allowed that.
    #[inline]
    pub fn ignore_df(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { Headers::ignore_df_raw(self.headers()) != 0 }
    }

    #[inline]
    fn dev(&self) -> *mut *mut bindings::net_device {
        // SAFETY: The place is inside of a valid `sk_buff`; in the IP layer, the union holds it.
        unsafe {
            let list = &raw mut (*self.as_ptr()).__bindgen_anon_1.__bindgen_anon_1;
            &raw mut (*list).__bindgen_anon_1.dev
        }
    }

    /// Returns the device that the packet came in by; `None` on LOCAL_OUT.
    #[inline]
    pub fn device(&self) -> Option<&Device> {
        // SAFETY: By the type invariants.
        let dev = unsafe { *self.dev() };
        // SAFETY: A device stays valid until a grace period after the packets that point to it are
        // flushed, and `self` lives in a read-side critical section.
        unsafe { Device::from_ptr(dev) }
    }

    /// Makes the device that the packet's route goes out by its device, if it has none yet.
    pub(crate) fn set_device_from_route(&mut self) {
        if self.device().is_some() {
            return;
        }
        if let Some(dev) = self.route().and_then(Dst::device_of_skb) {
            let dev = dev.as_ptr();
            // SAFETY: By the type invariants, and the packet is ours alone.
            unsafe { *self.dev() = dev };
        }
    }

    /// Makes `device` the packet's.
    pub(crate) fn set_device(&mut self, device: *mut bindings::net_device) {
        // SAFETY: By the type invariants, and the packet is ours alone.
        unsafe { *self.dev() = device };
    }

    /// Returns whether a full socket sent the packet, one that has more than a `sock_common`.
    #[inline]
    pub fn has_full_socket(&self) -> bool {
        // SAFETY: By the type invariants.
        let sk = unsafe { (*self.as_ptr()).sk };
        // SAFETY: A packet's socket stays valid with the packet.
        !sk.is_null() && unsafe { bindings::linux_sk_fullsock(sk) }
    }

    /// Returns whether the packet has any socket, be it by early demultiplexing.
    #[inline]
    pub fn has_socket(&self) -> bool {
        // SAFETY: By the type invariants.
        !unsafe { (*self.as_ptr()).sk }.is_null()
    }

    /// Returns whether the socket that sent the packet asks for it not to be defragmented
    /// (`IP_NODEFRAG`, of raw sockets).
    #[inline]
    pub fn is_nodefrag(&self) -> bool {
        // SAFETY: By the type invariants.
        self.has_socket() && unsafe { bindings::linux_skb_nodefrag(self.as_ptr()) }
    }

    /// Takes the packet from its socket, if it has one.
    #[inline]
    pub fn orphan(&mut self) {
        // SAFETY: By the type invariants; the union holds the destructor in the IP layer.
        let destructor = unsafe {
            (*self.as_ptr())
                .__bindgen_anon_3
                .__bindgen_anon_1
                .destructor
        };
        if destructor.is_some() {
            // SAFETY: By the type invariants.
            unsafe { bindings::linux_skb_orphan(self.as_ptr()) };
        }
    }

    /// Forgets when the packet was received, so that it is not taken for a time to send it at.
    #[inline]
    pub fn clear_timestamp(&mut self) {
        // SAFETY: By the type invariants, and the packet is ours alone. A type other than 0 says
        // that the time is one of delivery already.
        unsafe {
            if Headers::tstamp_type_raw(self.headers()) == 0 {
                (*self.as_ptr()).__bindgen_anon_2.tstamp = 0;
            }
        }
    }

    /// Returns whether the buffer, and so every byte of the packet, is shared with a clone.
    #[inline]
    pub fn is_cloned(&self) -> bool {
        // SAFETY: By the type invariants.
        if unsafe { bindings::sk_buff::cloned_raw(self.as_ptr()) } == 0 {
            return false;
        }
        // SAFETY: As above; other owners change `dataref` atomically.
        let dataref = unsafe {
            Atomic::<u32>::from_ptr((&raw mut (*self.shared_info()).dataref.counter).cast())
        };
        dataref.load(Acquire) & bindings::SKB_DATAREF_MASK != 1
    }

    /// Returns whether the packet stands for several, which are segmented further down (GSO).
    #[inline]
    pub fn is_gso(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { (*self.shared_info()).gso_size != 0 }
    }

    /// Returns whether the packet, or each segment of it, fits into `mtu` bytes.
    #[inline]
    pub fn fits(&self, mtu: u32) -> bool {
        self.len() <= mtu as usize
            || self.is_gso()
                // SAFETY: By the type invariants, and it is a GSO packet.
                && unsafe { bindings::skb_gso_validate_network_len(self.as_ptr(), mtu) }
    }

    /// Returns whether the route of an IPv4 packet was chosen among several paths as it came in.
    #[inline]
    pub(crate) fn is_ipv4_multipath(&self) -> bool {
        if self.is_ipv6() {
            return false;
        }
        // SAFETY: By the type invariants, the control block is an `inet_skb_parm`, for which there is
        // room in it.
        let flags = unsafe {
            let parm = (&raw const (*self.as_ptr()).cb).cast::<bindings::inet_skb_parm>();
            (*parm).flags
        };
        flags & bindings::LINUX_IPSKB_MULTIPATH != 0
    }

    /// Returns the length in bytes of the longest fragment that an IPv6 packet was reassembled
    /// from, 0 if it came as a whole.
    #[inline]
    pub fn ipv6_frag_max_size(&self) -> u32 {
        if !self.is_ipv6() {
            return 0;
        }
        // SAFETY: By the type invariants, the control block is an `inet6_skb_parm`, for which there
        // is room in it.
        let size = unsafe {
            let parm = (&raw const (*self.as_ptr()).cb).cast::<bindings::inet6_skb_parm>();
            (*parm).frag_max_size
        };
        u32::from(size)
    }

    #[inline]
    fn refdst(&self) -> *mut usize {
        // SAFETY: The place is inside of a valid `sk_buff`; in the IP layer, the union holds it.
        unsafe {
            let dst = &raw mut (*self.as_ptr()).__bindgen_anon_3.__bindgen_anon_1;
            &raw mut (*dst)._skb_refdst
        }
    }

    /// Returns the route that the packet takes.
    #[inline]
    pub fn route(&self) -> Option<&Dst> {
        // SAFETY: By the type invariants.
        let refdst = unsafe { *self.refdst() };
        let dst = (refdst & bindings::SKB_DST_PTRMASK as usize) as *const bindings::dst_entry;
        // SAFETY: By the type invariants it is null or a route that lives while the packet has it,
        // and it takes `&mut self` to change that.
        unsafe { Dst::from_ptr(dst) }
    }

    /// Gives back the route that the packet has. The place is to be filled anew.
    #[inline]
    fn drop_route(&mut self) {
        // SAFETY: By the type invariants.
        let refdst = unsafe { *self.refdst() };
        if refdst & bindings::SKB_DST_NOREF as usize == 0 {
            // SAFETY: The packet owns a reference, or the pointer is null, which is allowed.
            unsafe { bindings::dst_release(refdst as *mut bindings::dst_entry) };
        }
    }

    #[inline]
    fn put_route(&mut self, refdst: usize) {
        self.drop_route();
        self.set_slow_gro();
        // SAFETY: By the type invariants, and the packet is ours alone.
        unsafe { *self.refdst() = refdst };
    }

    /// Takes the route from the packet.
    #[inline]
    pub(super) fn clear_route(&mut self) {
        self.drop_route();
        // SAFETY: By the type invariants, and the packet is ours alone.
        unsafe { *self.refdst() = 0 };
    }

    /// Notes that there is more to give back than GRO looks at.
    #[inline]
    pub(crate) fn set_slow_gro(&mut self) {
        // SAFETY: By the type invariants, and the packet is ours alone.
        unsafe { Headers::set_slow_gro_raw(self.headers(), 1) };
    }

    /// Sends the packet another way, along a route that RCU keeps alive. One of the other family is
    /// not taken: the packet has none then.
    #[inline]
    pub fn set_route_noref<'rcu, R: Route>(&mut self, rt: &'rcu R, _rcu: ReadLocked<'rcu>) {
        if self.is_ipv6() != R::IS_IPV6 {
            return self.clear_route();
        }
        // INVARIANT: The section that protects `rt` is the one that `self` lives in, or inside of
        // it; whoever queues the packet takes a reference first (`skb_dst_force()`), as does the
        // hook that lets it go on where no other section follows (`hold_route()`).
        self.put_route(rt.as_ptr() as usize | bindings::SKB_DST_NOREF as usize);
    }

    /// Returns the route as C has it, for comparison.
    #[inline]
    pub(crate) fn raw_route(&self) -> usize {
        // SAFETY: By the type invariants.
        unsafe { *self.refdst() }
    }

    /// Returns whether the packet has a counted reference to its route.
    #[inline]
    pub(crate) fn has_own_route(&self) -> bool {
        let refdst = self.raw_route();
        refdst != 0 && refdst & bindings::SKB_DST_NOREF as usize == 0
    }

    /// Keeps the route of the packet beyond the read-side critical section. Returns whether there
    /// still is one.
    #[cold]
    pub(crate) fn hold_route(&mut self) -> bool {
        // SAFETY: By the type invariants, in the section that protects the route.
        unsafe { bindings::linux_skb_dst_force(self.as_ptr()) }
    }

    /// Sends the packet another way, along a route of its own. One of the other family is not
    /// taken: the packet has none then.
    #[inline]
    pub fn set_route<R: Route>(&mut self, rt: Owned<R>) {
        if self.is_ipv6() != R::IS_IPV6 {
            return self.clear_route();
        }
        // INVARIANT: The reference moves into the packet.
        self.put_route(rt.into_raw() as usize);
    }

    /// Takes the route from the packet, with a reference. The packet has none then. `None` if there
    /// was none of the family of `R`, or none that is still in use.
    pub fn take_route<R: Route>(&mut self) -> Option<Owned<R>> {
        if !self.route().is_some_and(Dst::is_of::<R>) {
            return None;
        }
        // SAFETY: By the type invariants, and the packet is ours alone.
        let refdst = unsafe { self.refdst().replace(0) };
        let dst = (refdst & bindings::SKB_DST_PTRMASK as usize) as *mut bindings::dst_entry;
        if refdst & bindings::SKB_DST_NOREF as usize != 0
            // SAFETY: By the type invariants the route is valid as long as the packet exists.
            && !unsafe { bindings::linux_dst_hold_safe(dst) }
        {
            return None;
        }
        // SAFETY: The family was looked at; the reference was the packet's, or was taken just now.
        unsafe { Owned::from_raw(dst) }
    }
}

impl Drop for Skb {
    fn drop(&mut self) {
        // SAFETY: The reference is ours to give up; there is no socket to report to.
        unsafe {
            bindings::sk_skb_reason_drop(
                ptr::null(),
                self.as_ptr(),
                bindings::skb_drop_reason_SKB_DROP_REASON_NOT_SPECIFIED,
            )
        };
    }
}
