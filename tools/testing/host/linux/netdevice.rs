// SPDX-License-Identifier: GPL-2.0

//! Network devices. A test makes them; they stay for good.

use crate::{
    net::Net,
    rcu::ReadLocked, //
};
use kernel::prelude::*;
use std::{
    marker::PhantomData,
    net::Ipv4Addr,
    sync::{
        atomic::{
            AtomicBool,
            Ordering::SeqCst, //
        },
        Mutex,
        OnceLock,
        PoisonError, //
    },
};

#[derive(Debug)]
pub struct Device {
    pub name: &'static str,
    is_loopback: bool,
    running: AtomicBool,
    /// Computes the checksum of SCTP packets.
    pub sctp_crc: AtomicBool,
}

impl Device {
    pub fn make(name: &'static str, is_loopback: bool) -> &'static Self {
        Box::leak(Box::new(Self {
            name,
            is_loopback,
            running: AtomicBool::new(true),
            sctp_crc: AtomicBool::new(false),
        }))
    }

    /// A namespace has the device `sync`.
    pub fn by_name<'rcu>(_net: &Net, name: &CStr, _rcu: ReadLocked<'rcu>) -> Option<&'rcu Self> {
        static SYNC: OnceLock<&'static Device> = OnceLock::new();
        (name == c"sync").then(|| *SYNC.get_or_init(|| Self::make("sync", false)))
    }

    pub fn index(&self) -> i32 {
        7
    }

    pub fn mtu(&self) -> u32 {
        1500
    }

    pub fn ipv4_addr(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 9, 1)
    }

    pub fn is_loopback(&self) -> bool {
        self.is_loopback
    }

    pub fn is_running(&self) -> bool {
        self.running.load(SeqCst)
    }

    pub(crate) fn is_blackhole(&self) -> bool {
        false
    }

    pub fn computes_sctp_crc(&self) -> bool {
        self.sctp_crc.load(SeqCst)
    }

    pub fn hard_header_len(&self) -> usize {
        14
    }

    pub fn reserved_space(&self) -> usize {
        16
    }

    /// Takes the device down and tells whoever wants to know.
    pub fn take_down(&self, net: &Net) {
        self.running.store(false, SeqCst);
        let handlers = HANDLERS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for gone in handlers {
            gone(net, self);
        }
    }
}

pub trait Handler: 'static {
    fn gone(net: &Net, device: &Device);
}

type Gone = fn(&Net, &Device);

static HANDLERS: Mutex<Vec<Gone>> = Mutex::new(Vec::new());

pub struct Notifier<H: Handler>(PhantomData<fn() -> H>);

impl<H: Handler> Notifier<H> {
    pub fn new() -> Result<Self> {
        HANDLERS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(H::gone);
        Ok(Self(PhantomData))
    }
}

impl<H: Handler> Drop for Notifier<H> {
    fn drop(&mut self) {
        // There is one module, with one handler.
        HANDLERS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
    }
}
