// SPDX-License-Identifier: GPL-2.0

//! Netfilter hooks for IPv4 and IPv6.
//!
//! C header: [`include/linux/netfilter.h`](srctree/include/linux/netfilter.h)

use crate::{
    bindings,
    net::{
        Net,
        OwnNet,
        PerNet, //
    },
    rcu::ReadLocked,
    skb::Skb, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    prelude::*, //
};

/// Before connection tracking's SNAT.
pub const NF_IP_PRI_NAT_SRC: i32 = bindings::nf_ip_hook_priorities_NF_IP_PRI_NAT_SRC;
/// Before connection tracking's DNAT.
pub const NF_IP_PRI_NAT_DST: i32 = bindings::nf_ip_hook_priorities_NF_IP_PRI_NAT_DST;

/// A place on the way of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookNum {
    /// It came in and is for this host.
    LocalIn,
    /// It came in and is for another host.
    Forward,
    /// This host sends it.
    LocalOut,
}

impl HookNum {
    const fn as_raw(self) -> u32 {
        match self {
            Self::LocalIn => bindings::nf_inet_hooks_NF_INET_LOCAL_IN,
            Self::Forward => bindings::nf_inet_hooks_NF_INET_FORWARD,
            Self::LocalOut => bindings::nf_inet_hooks_NF_INET_LOCAL_OUT,
        }
    }
}

/// A family of network protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Protocol {
    pub(crate) const fn as_raw(self) -> u8 {
        let raw = match self {
            Self::Ipv4 => bindings::NFPROTO_IPV4,
            Self::Ipv6 => bindings::NFPROTO_IPV6,
        };
        raw as u8
    }

    /// Returns the protocol with this number (C: `NFPROTO_*`), if it is one of these.
    pub(crate) const fn from_raw(raw: u8) -> Option<Self> {
        match raw as u32 {
            bindings::NFPROTO_IPV4 => Some(Self::Ipv4),
            bindings::NFPROTO_IPV6 => Some(Self::Ipv6),
            _ => None,
        }
    }

    /// Returns the number that the link layer has for it.
    const fn ethertype(self) -> u16 {
        let raw = match self {
            Self::Ipv4 => bindings::ETH_P_IP,
            Self::Ipv6 => bindings::ETH_P_IPV6,
        };
        (raw as u16).to_be()
    }
}

/// The verdict of a hook on a packet.
#[must_use = "the packet is freed if nobody passes it on"]
pub enum Verdict {
    /// It goes on.
    Accept(Skb),
    /// It is freed, and if this host sent it, the sender gets an error.
    Drop(Skb),
    /// It is freed, and if this host sent it, the sender is refused: on LOCAL_OUT `connect()` and
    /// `send()` fail at once with `ECONNREFUSED`. TCP takes any other error for one that may pass,
    /// and sends again (C: `NF_DROP_ERR(-ECONNREFUSED)`).
    Refuse(Skb),
    /// It was sent, queued or freed.
    Stolen,
}

/// The circumstances that a hook runs in.
#[derive(Clone, Copy)]
pub struct HookState<'rcu> {
    net: &'rcu Net,
    hook: HookNum,
}

impl<'rcu> HookState<'rcu> {
    /// Returns the namespace that the packet is in.
    #[inline]
    pub fn net(&self) -> &'rcu Net {
        self.net
    }

    /// Returns the hook that the packet passes.
    #[inline]
    pub fn hook(&self) -> HookNum {
        self.hook
    }
}

/// A function that packets pass.
pub trait Hook: 'static {
    /// The state of a namespace that it works on.
    type Context: PerNet;
    /// The protocol whose packets pass it.
    const PROTOCOL: Protocol;
    /// The hook at which packets pass it.
    const HOOK: HookNum;
    /// When they do so there; the lowest comes first.
    const PRIORITY: i32;

    /// Decides on a packet. Runs in softirq context or, on LOCAL_OUT, in process context, with
    /// bottom halves enabled.
    fn run<'rcu>(
        cx: Pin<&'rcu Self::Context>,
        skb: Skb,
        state: &HookState<'rcu>,
        rcu: ReadLocked<'rcu>,
    ) -> Verdict;
}

/// [`Verdict::Refuse`], as C has it: the error is in the upper half.
const REFUSED: c_uint = bindings::NF_DROP | bindings::ECONNREFUSED << bindings::NF_VERDICT_QBITS;

/// Calls `H` for netfilter.
///
/// # Safety
///
/// Called by netfilter only, for a [`Registration`] with `H`.
unsafe extern "C" fn trampoline<H: Hook>(
    _priv: *mut c_void,
    raw: *mut bindings::sk_buff,
    state: *const bindings::nf_hook_state,
) -> c_uint {
    // SAFETY: Netfilter calls its hooks in a read-side critical section, and all that is given
    // this lifetime below stays in this call.
    let rcu = unsafe { ReadLocked::assume() };
    let state = HookState {
        // SAFETY: Netfilter passes a valid state, with a namespace that outlives the section.
        net: unsafe { Net::from_raw((*state).net) },
        hook: H::HOOK,
    };
    let Some(cx) = state.net.get::<H::Context>(rcu) else {
        return bindings::NF_ACCEPT;
    };
    let Some(ptr) = NonNull::new(raw) else {
        return bindings::NF_ACCEPT;
    };
    // What a device passed under another name is not for us.
    // SAFETY: Netfilter passes a valid packet.
    if unsafe { Skb::protocol_of(ptr) } != H::PROTOCOL.ethertype() {
        return bindings::NF_ACCEPT;
    }
    // SAFETY: Netfilter hands the packet over, and takes it back with the verdict. IPv4 and IPv6
    // have unshared packets in their hooks, with `data` at the network header, their own control
    // block, and a destination that such packets may be sent along; `protocol` was looked at.
    let skb = unsafe { Skb::from_raw(ptr) };
    let came_by = skb.raw_route();
    match H::run(cx, skb, &state, rcu) {
        Verdict::Accept(mut skb) => {
            // After LOCAL_OUT the packet goes on outside of this section, which alone protects a
            // route without reference that it got here. The one it came with is its sender's.
            let verdict = if matches!(H::HOOK, HookNum::LocalOut)
                && skb.raw_route() != came_by
                && !skb.has_own_route()
                && !skb.hold_route()
            {
                bindings::NF_DROP
            } else {
                bindings::NF_ACCEPT
            };
            hand_back(skb, raw, verdict)
        }
        Verdict::Drop(skb) => hand_back(skb, raw, bindings::NF_DROP),
        Verdict::Refuse(skb) => hand_back(skb, raw, REFUSED),
        Verdict::Stolen => bindings::NF_STOLEN,
    }
}

/// Gives a packet back to netfilter, which goes by the pointer that it passed. It knows nothing of
/// another packet: such a one is freed, and its own has gone elsewhere.
#[inline]
fn hand_back(skb: Skb, passed: *mut bindings::sk_buff, verdict: c_uint) -> c_uint {
    if skb.as_ptr() != passed {
        return bindings::NF_STOLEN;
    }
    skb.into_raw();
    verdict
}

/// A hook, to be registered.
#[repr(transparent)]
pub struct HookOps<C> {
    ops: bindings::nf_hook_ops,
    _context: PhantomData<fn(&C)>,
}

// SAFETY: It is not changed; its pointers are to functions.
unsafe impl<C> Sync for HookOps<C> {}

impl<C: PerNet> HookOps<C> {
    /// Describes the hook `H`.
    pub const fn new<H: Hook<Context = C>>() -> Self {
        // SAFETY: All bits zero are a valid `nf_hook_ops`: pointers and numbers.
        let mut ops: bindings::nf_hook_ops = unsafe { core::mem::zeroed() };
        ops.hook = Some(trampoline::<H>);
        ops.pf = H::PROTOCOL.as_raw();
        ops.hooknum = H::HOOK.as_raw();
        ops.priority = H::PRIORITY;
        Self {
            ops,
            _context: PhantomData,
        }
    }
}

/// Hooks that the packets of one namespace pass while this exists.
///
/// Packets may be in the hooks for another grace period: what a hook uses comes from its namespace
/// ([`Net::get`]) or is static.
///
/// # Invariants
///
/// The `count` hooks at `ops`, which are static, are registered in `net`.
pub struct Registration {
    ops: NonNull<bindings::nf_hook_ops>,
    count: c_uint,
    net: OwnNet,
}

// SAFETY: Hooks may be unregistered by anybody.
unsafe impl Send for Registration {}
// SAFETY: There is nothing to be done with a `&Registration`.
unsafe impl Sync for Registration {}

impl Registration {
    /// Registers `hooks` for the packets of `net`. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `E2BIG` if there are too many hooks.
    pub fn new<C: PerNet>(net: &OwnNet, hooks: &'static [HookOps<C>]) -> Result<Self> {
        let count = c_uint::try_from(hooks.len()).map_err(|_| E2BIG)?;
        // A hook is its description alone.
        let ops = NonNull::from(hooks).cast::<bindings::nf_hook_ops>();
        // SAFETY: The namespace is valid, the hooks are described in full, and stay where they are.
        // Netfilter does not write to them.
        to_result(unsafe { bindings::nf_register_net_hooks(net.as_ptr(), ops.as_ptr(), count) })?;
        // INVARIANT: Just registered.
        Ok(Self {
            ops,
            count,
            net: net.clone(),
        })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe {
            bindings::nf_unregister_net_hooks(self.net.as_ptr(), self.ops.as_ptr(), self.count);
        }
    }
}

/// Sends a packet, from where packets of this host start, through LOCAL_OUT along its route. One
/// without a route is freed.
#[inline]
pub fn send_local_out(skb: Skb, net: &Net) {
    if skb.route().is_none() {
        return;
    }
    // SAFETY: Packet and namespace are valid, the packet has a route, and is given up.
    unsafe {
        if skb.is_ipv6() {
            bindings::linux_nf_local_out6(net.as_ptr(), skb.into_raw());
        } else {
            bindings::linux_nf_local_out(net.as_ptr(), skb.into_raw());
        }
    }
}

/// Sends a packet that this host made: with length and, for IPv4, checksum of its header filled in,
/// otherwise as [`send_local_out`].
#[inline]
pub fn ip_local_out(skb: Skb, net: &Net) {
    if skb.route().is_none() {
        return;
    }
    // SAFETY: Packet and namespace are valid, the packet has a route, and is given up; the socket
    // is its own.
    unsafe {
        let sk = (*skb.as_ptr()).sk;
        if skb.is_ipv6() {
            bindings::ip6_local_out(net.as_ptr(), sk, skb.into_raw());
        } else {
            bindings::ip_local_out(net.as_ptr(), sk, skb.into_raw());
        }
    }
}

/// Returns whether this kernel was started with IPv6.
pub fn has_ipv6() -> bool {
    // SAFETY: It only reads a setting.
    unsafe { bindings::linux_ipv6_mod_enabled() }
}

/// IPv6 fragments are put together before the packets of a namespace pass other hooks, while this
/// exists.
///
/// # Invariants
///
/// `net` counts it as a user.
pub struct Defrag6 {
    net: OwnNet,
}

impl Defrag6 {
    /// Puts the fragments of `net` together from now on. May sleep.
    pub fn new(net: &OwnNet) -> Result<Self> {
        // SAFETY: The namespace is valid.
        to_result(unsafe { bindings::nf_defrag_ipv6_enable(net.as_ptr()) })?;
        // INVARIANT: It counts.
        Ok(Self { net: net.clone() })
    }
}

impl Drop for Defrag6 {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::nf_defrag_ipv6_disable(self.net.as_ptr()) };
    }
}

/// The user that reassembles fragments. Fragments of different users do not mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefragUser {
    /// IPVS on LOCAL_IN (C: `IP_DEFRAG_VS_IN`).
    VsIn,
    /// IPVS on FORWARD (C: `IP_DEFRAG_VS_FWD`).
    VsFwd,
    /// IPVS on LOCAL_OUT (C: `IP_DEFRAG_VS_OUT`).
    VsOut,
}

/// Keeps a fragment of an IPv4 packet until the others are there as well. Then the packet is returned, whole and
/// with a right header checksum; `None` until then, and if it came to nothing.
pub fn defrag(skb: Skb, net: &Net, user: DefragUser) -> Option<Skb> {
    if skb.is_ipv6() {
        return Some(skb);
    }
    let user = match user {
        DefragUser::VsIn => bindings::ip_defrag_users_IP_DEFRAG_VS_IN,
        DefragUser::VsFwd => bindings::ip_defrag_users_IP_DEFRAG_VS_FWD,
        DefragUser::VsOut => bindings::ip_defrag_users_IP_DEFRAG_VS_OUT,
    };
    let raw = skb.into_raw();
    // SAFETY: Packet and namespace are valid; unless it returns 0, the packet is taken.
    if unsafe { bindings::linux_ip_defrag(net.as_ptr(), raw, user) } != 0 {
        return None;
    }
    let ptr = NonNull::new(raw)?;
    // SAFETY: The packet is ours again, under its old address and with a new header.
    unsafe {
        bindings::ip_send_check((*raw).data.cast());
        Some(Skb::from_raw(ptr))
    }
}
