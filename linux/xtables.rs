// SPDX-License-Identifier: GPL-2.0

//! Matches for the rules of iptables.
//!
//! A match is registered by a C module, which has `THIS_MODULE`, the aliases and the size of what
//! users pass. The functions of its `struct xt_match` are those that [`export_xt_match`] makes of
//! an implementation of [`Match`].
//!
//! C header: [`include/linux/netfilter/x_tables.h`](srctree/include/linux/netfilter/x_tables.h)

use crate::{
    bindings,
    net::Net,
    netfilter::Protocol,
    rcu::ReadLocked,
    skb::SkbRef, //
};
use core::ptr::NonNull;
use kernel::{
    prelude::*,
    transmute::FromBytes, //
};

/// A packet for [`export_xt_match`], which root crates can't look into (C: `struct sk_buff`).
#[doc(hidden)]
pub type RawSkb = bindings::sk_buff;
/// The parameters of a match for [`export_xt_match`] (C: `struct xt_action_param`).
#[doc(hidden)]
pub type RawActionParam = bindings::xt_action_param;
/// The parameters of a check for [`export_xt_match`] (C: `struct xt_mtchk_param`).
#[doc(hidden)]
pub type RawCheckParam = bindings::xt_mtchk_param;

/// The circumstances in which a packet meets a rule. C: `struct nf_hook_state`.
#[derive(Clone, Copy)]
pub struct MatchState<'rcu> {
    protocol: Protocol,
    net: &'rcu Net,
    rcu: ReadLocked<'rcu>,
}

impl<'rcu> MatchState<'rcu> {
    /// Returns the family of the table that the rule is in. C: `xt_family()`.
    #[inline]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Returns the namespace that the packet is in. C: `xt_net()`.
    #[inline]
    pub fn net(&self) -> &'rcu Net {
        self.net
    }

    /// Returns the read-side critical section that the rules are walked in.
    #[inline]
    pub fn rcu(&self) -> ReadLocked<'rcu> {
        self.rcu
    }
}

/// A match of iptables' rules. C: `struct xt_match`.
pub trait Match: 'static {
    /// What a user passes with a rule, as its bytes.
    type Info: FromBytes;

    /// Returns whether a packet matches a rule.
    ///
    /// # Context
    ///
    /// That of the hook that the rule's chain is at: softirq or, on LOCAL_OUT, process context.
    fn matches(packet: SkbRef<'_>, info: &Self::Info, state: MatchState<'_>) -> bool;

    /// Checks a rule that is being added. `family` is that of its table, `NFPROTO_*`, and `protocol`
    /// the same if it is IPv4 or IPv6; packets of others match nothing.
    ///
    /// # Context
    ///
    /// Process context; may sleep.
    ///
    /// # Errors
    ///
    /// What the user gets.
    fn check(net: &Net, family: u8, protocol: Option<Protocol>) -> Result;
}

/// Calls [`Match::matches`] for x_tables.
///
/// # Safety
///
/// `skb` and `param` must be what x_tables passes to the function `match` of a match whose
/// `matchsize` is at least the size of `T::Info`.
pub unsafe fn matches<T: Match>(skb: *const RawSkb, param: *const RawActionParam) -> bool {
    // SAFETY: By the safety requirement: the packet, the rule and the state are valid for this call,
    // and x_tables passes none of them as null.
    let (state, info) = unsafe {
        let info = (*param).__bindgen_anon_2.matchinfo.cast::<T::Info>();
        (&*(*param).state, info)
    };
    let Some(protocol) = Protocol::from_raw(state.pf) else {
        return false;
    };
    let Some(skb) = NonNull::new(skb.cast_mut()) else {
        return false;
    };
    // SAFETY: Rules are walked in a hook of netfilter, and so in a read-side critical section, and
    // all that is given this lifetime below stays in this call.
    let rcu = unsafe { ReadLocked::assume() };
    let state = MatchState {
        protocol,
        // SAFETY: Netfilter passes a namespace that outlives the section.
        net: unsafe { Net::from_raw(state.net) },
        rcu,
    };
    // SAFETY: The packet is in a hook of the IP layer, so it has a network header; while its rule is
    // looked at, nobody changes it, since it has one owner, and data that it shares with clones is
    // read-only.
    let packet = unsafe { SkbRef::from_raw(skb) };
    // SAFETY: x_tables aligns `matchinfo` to 8 bytes, has copied all of it from the user, and does
    // not change it while the rule is in use; any bytes are a valid value.
    let info = unsafe { &*info };
    T::matches(packet, info, state)
}

/// Calls [`Match::check`] for x_tables.
///
/// # Safety
///
/// `param` must be what x_tables passes to `checkentry`.
pub unsafe fn check<T: Match>(param: *const RawCheckParam) -> c_int {
    // SAFETY: By the safety requirement it is valid; the caller's namespace stays for the call.
    let (net, family) = unsafe { (Net::from_raw((*param).net), (*param).family) };
    match T::check(net, family, Protocol::from_raw(family)) {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// Defines the functions `match` and `checkentry` of an `xt_match`, with these names, for C.
///
/// `export_xt_match!(Type, match_name, check_name)`, where `Type` implements [`Match`]. A C file of
/// the module has their prototypes and exports the symbols. Whoever registers them must set
/// `matchsize` to the size of `Type::Info` or more.
#[macro_export]
macro_rules! export_xt_match {
    ($type:ty, $match:ident, $check:ident) => {
        #[expect(unsafe_code, reason = "C calls these by their names")]
        const _: () = {
            /// # Safety
            ///
            /// Called by x_tables only, for a match whose `matchsize` is that of the type.
            #[no_mangle]
            unsafe extern "C" fn $match(
                skb: *const $crate::xtables::RawSkb,
                param: *mut $crate::xtables::RawActionParam,
            ) -> bool {
                // SAFETY: By the safety requirement.
                unsafe { $crate::xtables::matches::<$type>(skb, param) }
            }

            /// # Safety
            ///
            /// Called by x_tables only.
            #[no_mangle]
            unsafe extern "C" fn $check(
                param: *const $crate::xtables::RawCheckParam,
            ) -> ::kernel::ffi::c_int {
                // SAFETY: By the safety requirement.
                unsafe { $crate::xtables::check::<$type>(param) }
            }
        };
    };
}
