// SPDX-License-Identifier: GPL-2.0

//! Hooks, the packets that go through them, and fragments.

use crate::{
    events::{
        happened,
        Event, //
    },
    net::{
        lock,
        Net,
        OwnNet,
        PerNet, //
    },
    rcu::ReadLocked,
    skb::Skb, //
};
use kernel::prelude::*;
use std::sync::{
    atomic::{
        AtomicBool,
        Ordering::SeqCst, //
    },
    Arc, //
};

pub const NF_IP_PRI_NAT_SRC: i32 = 100;
pub const NF_IP_PRI_NAT_DST: i32 = -100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookNum {
    LocalIn,
    Forward,
    LocalOut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Ipv4,
    Ipv6,
}

#[must_use = "the packet is freed if nobody passes it on"]
#[derive(Debug)]
pub enum Verdict {
    Accept(Skb),
    Drop(Skb),
    Refuse(Skb),
    Stolen,
}

#[derive(Clone, Copy)]
pub struct HookState<'rcu> {
    net: &'rcu Net,
    hook: HookNum,
}

impl<'rcu> HookState<'rcu> {
    pub fn net(&self) -> &'rcu Net {
        self.net
    }

    pub fn hook(&self) -> HookNum {
        self.hook
    }
}

pub trait Hook: 'static {
    type Context: PerNet;

    const PROTOCOL: Protocol;
    const HOOK: HookNum;
    const PRIORITY: i32;

    fn run<'rcu>(
        cx: Pin<&'rcu Self::Context>,
        skb: Skb,
        state: &HookState<'rcu>,
        rcu: ReadLocked<'rcu>,
    ) -> Verdict;
}

type Run = fn(&Net, Skb) -> Verdict;

fn run<H: Hook>(net: &Net, skb: Skb) -> Verdict {
    // SAFETY: `Net::pass` is in a read-side critical section.
    let rcu = unsafe { ReadLocked::assume() };
    match net.get::<H::Context>(rcu) {
        Some(cx) => H::run(cx, skb, &HookState { net, hook: H::HOOK }, rcu),
        None => Verdict::Accept(skb),
    }
}

#[derive(Clone, Copy)]
struct Ops {
    protocol: Protocol,
    hook: HookNum,
    priority: i32,
    run: Run,
}

pub struct HookOps<C> {
    ops: Ops,
    _context: std::marker::PhantomData<fn(&C)>,
}

impl<C: PerNet> HookOps<C> {
    pub const fn new<H: Hook<Context = C>>() -> Self {
        Self {
            ops: Ops {
                protocol: H::PROTOCOL,
                hook: H::HOOK,
                priority: H::PRIORITY,
                run: run::<H>,
            },
            _context: std::marker::PhantomData,
        }
    }
}

pub(crate) struct Registered {
    ops: Ops,
    owner: Arc<()>,
}

pub struct Registration {
    owner: Arc<()>,
    net: OwnNet,
}

impl Registration {
    pub fn new<C: PerNet>(net: &OwnNet, hooks: &'static [HookOps<C>]) -> Result<Self> {
        if !kernel::memory::permits(GFP_KERNEL) {
            return Err(ENOMEM);
        }
        let owner = Arc::new(());
        let mut registered = lock(&net.hooks);
        registered.extend(hooks.iter().map(|hook| Registered {
            ops: hook.ops,
            owner: owner.clone(),
        }));
        registered.sort_by_key(|hook| hook.ops.priority);
        Ok(Self {
            owner,
            net: net.clone(),
        })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.net.hooks).retain(|hook| !Arc::ptr_eq(&hook.owner, &self.owner));
        crate::rcu::synchronize();
    }
}

impl Net {
    /// Returns the number of registered hooks.
    pub fn hooks(&self) -> usize {
        lock(&self.hooks).len()
    }

    /// Passes a packet to the hooks of one place. C: `nf_hook_slow()`.
    pub fn pass(&self, hook: HookNum, mut skb: Skb) -> Verdict {
        let protocol = match skb.is_ipv6() {
            false => Protocol::Ipv4,
            true => Protocol::Ipv6,
        };
        let hooks = lock(&self.hooks);
        let here = |ops: &Ops| ops.protocol == protocol && ops.hook == hook;
        let hooks: Vec<Ops> = hooks.iter().map(|hook| hook.ops).filter(here).collect();
        for ops in hooks {
            let section = kernel::sync::rcu::read_lock();
            let verdict = (ops.run)(self, skb);
            drop(section);
            match verdict {
                Verdict::Accept(passed) => skb = passed,
                other => return other,
            }
        }
        Verdict::Accept(skb)
    }
}

pub fn send_local_out(skb: Skb, _net: &Net) {
    if skb.route().is_some() {
        happened(Event::Sent(skb.into_packet()));
    }
}

pub fn ip_local_out(skb: Skb, _net: &Net) {
    if skb.route().is_some() {
        happened(Event::Tunnelled(skb.into_packet()));
    }
}

static HAS_IPV6: AtomicBool = AtomicBool::new(true);

pub fn has_ipv6() -> bool {
    HAS_IPV6.load(SeqCst)
}

pub struct Defrag6(#[allow(dead_code, reason = "one user more")] OwnNet);

impl Defrag6 {
    pub fn new(net: &OwnNet) -> Result<Self> {
        if !kernel::memory::permits(GFP_KERNEL) {
            return Err(ENOMEM);
        }
        Ok(Self(net.clone()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefragUser {
    VsIn,
    VsFwd,
    VsOut,
}

/// Keeps a fragment, unless it is the last one: then it gives what the test said the whole is.
pub fn defrag(skb: Skb, net: &Net, _user: DefragUser) -> Option<Skb> {
    if skb.is_ipv6() {
        return Some(skb);
    }
    drop(skb);
    lock(&net.reassembled).take().map(Skb::new)
}

impl Net {
    /// Says what the next fragment makes whole.
    pub fn reassemble(&self, whole: crate::skb::Packet) {
        *lock(&self.reassembled) = Some(whole);
    }
}
