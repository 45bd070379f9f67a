// SPDX-License-Identifier: GPL-2.0

//! A backup: receives what a master sends. C: `sync_thread_backup()`, `ip_vs_process_message()`.

use super::apply::apply;
use crate::{
    log,
    netns::{
        sync::DaemonConfig,
        Netns, //
    },
};
use ipvs_core::sync::{
    Datagram,
    Fault, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use linux::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    kthread::{
        Main,
        This,
        Thread, //
    },
    net::WeakNet,
    rcu,
    sched::cond_resched,
    socket::UdpSocket, //
};

/// The ticks that a thread waits after an error of its socket.
const PAUSE: usize = 1;

/// What a thread of a backup works on.
#[pin_data]
pub(super) struct Receiving {
    net: WeakNet,
    socket: UdpSocket,
    sync_id: u32,
    /// Set when the thread is to end.
    ends: Atomic<bool>,
    /// Where datagrams are received. Only the thread locks it.
    #[pin]
    buffer: Mutex<KVVec<u8>>,
}

impl Receiving {
    /// Makes what the thread works on. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(net: WeakNet, socket: UdpSocket, config: &DaemonConfig) -> Result<Arc<Self>> {
        let buffer = KVVec::from_elem(0, config.max_len.into(), GFP_KERNEL)?;
        let receiving = try_pin_init!(Self {
            net,
            socket,
            sync_id: config.sync_id,
            ends: Atomic::new(false),
            buffer <- new_mutex!(buffer, "ipvs_sync_buffer"),
        }? Error);
        Arc::pin_init(receiving, GFP_KERNEL)
    }

    /// Calls `then` with the namespace, unless that has begun to end.
    fn with_netns(&self, then: impl FnOnce(&Netns)) {
        rcu::read(|rcu| {
            if let Some(netns) = self.net.get(rcu).and_then(|net| Netns::of(net, rcu)) {
                then(&netns);
            }
        });
    }

    fn complain(&self, fault: Fault) {
        self.with_netns(|netns| log::sync_fault(netns.net(), fault));
    }

    /// Takes over what a datagram tells. Entries before one that ends it count.
    fn process(&self, bytes: &[u8]) {
        // The C module never finds a number above 255 in a datagram.
        let Ok(sync_id) = u8::try_from(self.sync_id) else {
            return;
        };
        let datagram = match Datagram::parse(bytes, sync_id) {
            Ok(datagram) => datagram,
            Err(Fault::SyncId(_)) => return,
            Err(fault) => return self.complain(fault),
        };
        for entry in datagram.entries() {
            match entry {
                Ok(entry) => self.with_netns(|netns| {
                    let [threshold, _] = netns.settings.sync_threshold.get();
                    apply(netns, &entry, threshold as u32);
                }),
                Err(fault) => self.complain(fault),
            }
            // Each is a reading of RCU-protected data of its own, and there may be hundreds.
            cond_resched();
        }
    }
}

/// The function of a thread.
pub(super) struct Reader(pub(super) Arc<Receiving>);

impl Main for Reader {
    fn main(&self, this: &This) {
        let receiving = &*self.0;
        let mut buffer = receiving.buffer.lock();
        while !receiving.ends.load(Relaxed) && !this.should_stop() {
            match receiving.socket.receive(&mut buffer) {
                Ok(len) => {
                    // Nothing was received: the socket was shut down.
                    if receiving.ends.load(Relaxed) {
                        return;
                    }
                    if let Some(bytes) = buffer.get(..len) {
                        receiving.process(bytes);
                    }
                }
                Err(error) => {
                    receiving.with_netns(|netns| log::sync_not_received(netns.net(), error));
                    this.sleep(PAUSE);
                }
            }
            cond_resched();
        }
    }
}

/// A thread of a backup that runs. When it is dropped, it is stopped.
pub(super) struct Running {
    receiving: Arc<Receiving>,
    _thread: Thread<Reader>,
}

impl Running {
    pub(super) fn new(receiving: Arc<Receiving>, thread: Thread<Reader>) -> Self {
        Self {
            receiving,
            _thread: thread,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.receiving.ends.store(true, Relaxed);
        self.receiving.socket.shut_down();
    }
}
