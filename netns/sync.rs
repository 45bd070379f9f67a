// SPDX-License-Identifier: GPL-2.0

//! The daemons of a namespace that synchronise connections with other directors, and what waits to be
//! sent by the master. C: `struct ipvs_master_sync_state`, `ipvs->mcfg`, `ipvs->bcfg`.
//!
//! A connection belongs to one of the master's queues by its hash, so that what is said of it is sent in
//! order. Each queue has a lock of its own, which packets hold while they add an entry, and a thread that
//! sends. In the C module one lock serves all of them.

use crate::settings::Settings;
use core::{
    fmt,
    net::IpAddr, //
};
use ipvs_core::{
    net::Address,
    netlink::IF_NAME_LEN,
    sync::{
        self,
        Entry,
        Full,
        Message,
        Version, //
    }, //
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
        Full as FullOrder,
        InlineAtomic,
        Relaxed, //
    },
    jiffies,
    kthread::Waker,
    module::ModuleRef,
    new_spinlock_bh,
    rcu::{
        self,
        ReadLocked,
        Shared,
        SharedCell, //
    },
    spinlock::SpinLockBh, //
};

/// The number of datagrams that wake the sender at once (C: `IPVS_SYNC_WAKEUP_RATE`). With fewer it
/// waits for more, for a short time.
pub(crate) const MANY: usize = 8;

/// The length up to which a datagram counts as one, in bytes.
const USUAL_LEN: usize = 1500;

/// What a daemon does (C: `IP_VS_STATE_*`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It sends.
    Master = 1,
    /// It receives.
    Backup = 2,
}

impl Role {
    /// Returns the role of this number.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [Self::Master, Self::Backup]
            .into_iter()
            .find(|role| role.bit() == number)
    }

    /// Returns the number, which is the role's bit in [`Settings::sync_state`].
    pub(crate) fn bit(self) -> u32 {
        self as u32
    }
}

/// The name of a network device.
#[derive(Clone, Copy)]
pub(crate) struct DeviceName([u8; IF_NAME_LEN + 1]);

impl DeviceName {
    /// Takes the name from bytes: what is before the first NUL, as far as it fits. C:
    /// `strscpy()`.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut name = [0; IF_NAME_LEN + 1];
        let before_nul = bytes.iter().take_while(|&&byte| byte != 0);
        for (to, from) in name.iter_mut().zip(before_nul.take(IF_NAME_LEN)) {
            *to = *from;
        }
        Self(name)
    }

    /// Returns the name as a string for C.
    pub(crate) fn as_c_str(&self) -> &CStr {
        // The last byte is NUL always.
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }

    /// Returns the bytes of the name.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

/// The settings of a daemon. C: `struct ipvs_sync_daemon_cfg`.
pub(crate) struct DaemonConfig {
    pub(crate) interface: DeviceName,
    /// The number that datagrams carry, of which the last byte is sent; a backup with 0 takes all.
    pub(crate) sync_id: u32,
    /// The longest UDP payload that is sent or received, in bytes.
    pub(crate) max_len: u16,
    pub(crate) group: IpAddr,
    /// The port of the first thread; each other one has the next.
    pub(crate) port: u16,
    pub(crate) ttl: u8,
}

/// A daemon that runs.
pub(crate) struct Daemon {
    pub(crate) config: DaemonConfig,
    /// Dropping stops them. They are of various types, which this module need not know.
    _threads: KVec<KBox<dyn Send + Sync>>,
    _use: ModuleRef,
}

impl Daemon {
    /// Makes a daemon of threads that run. It uses the module as long as it exists.
    pub(crate) fn new(
        config: DaemonConfig,
        threads: KVec<KBox<dyn Send + Sync>>,
        module: ModuleRef,
    ) -> Self {
        Self {
            config,
            _threads: threads,
            _use: module,
        }
    }
}

/// The daemons, under their lock.
pub(crate) struct Daemons {
    pub(crate) master: Option<Daemon>,
    pub(crate) backup: Option<Daemon>,
    /// The number of threads of each.
    pub(crate) threads: usize,
    /// The namespace is being destroyed: none is started any more.
    pub(crate) closed: bool,
}

impl Daemons {
    /// Returns the daemon of a role.
    pub(crate) fn of(&mut self, role: Role) -> &mut Option<Daemon> {
        match role {
            Role::Master => &mut self.master,
            Role::Backup => &mut self.backup,
        }
    }
}

/// What a namespace has for synchronisation.
#[pin_data]
pub(crate) struct SyncState {
    /// The number of the namespace, which the names of threads contain (C: `ipvs->gen`).
    pub(crate) number: u32,
    settings: Arc<Settings>,
    /// The queues, while a master runs.
    queues: SharedCell<Queues>,
    #[pin]
    pub(crate) daemons: Mutex<Daemons>,
}

impl SyncState {
    /// Makes that of the namespace with this number, without daemons.
    pub(crate) fn new(number: u32, settings: Arc<Settings>) -> impl PinInit<Self> {
        pin_init!(Self {
            number,
            settings,
            queues: SharedCell::empty(),
            daemons <- new_mutex!(
                Daemons {
                    master: None,
                    backup: None,
                    threads: 1,
                    closed: false,
                },
                "ipvs_sync"
            ),
        })
    }

    /// Returns the queues; `None` without a master.
    #[inline]
    pub(crate) fn queues<'rcu>(
        &self,
        rcu: ReadLocked<'rcu>,
    ) -> Option<rcu::Borrowed<'rcu, Queues>> {
        self.queues.get(rcu)
    }

    /// Lets packets see that a daemon runs, or that it does not any more.
    fn announce(&self, role: Role, runs: bool) {
        let state = self.settings.sync_state.get();
        let bit = role.bit() as i32;
        self.settings.sync_state.set(match runs {
            true => state | bit,
            false => state & !bit,
        });
    }

    /// Makes a daemon the running one of its role, a master with these queues. The lock on the daemons is
    /// held.
    pub(crate) fn begin(
        &self,
        daemons: &mut Daemons,
        role: Role,
        daemon: Daemon,
        queues: Option<Shared<Queues>>,
    ) {
        if let Some(queues) = queues {
            self.queues.replace(queues);
        }
        *daemons.of(role) = Some(daemon);
        self.announce(role, true);
    }

    /// Stops the daemon of a role, and returns whether there was one. The lock on the daemons is held. May
    /// sleep.
    pub(crate) fn end(&self, daemons: &mut Daemons, role: Role) -> bool {
        let daemon = daemons.of(role).take();
        if daemon.is_some() {
            self.announce(role, false);
        }
        if role == Role::Master {
            if let Some(queues) = self.queues.exchange(None) {
                for queue in &queues.queues {
                    queue.close();
                }
            }
        }
        daemon.is_some()
    }

    /// Stops all daemons for good, when the namespace ends. May sleep.
    pub(crate) fn close(&self) {
        let mut daemons = self.daemons.lock();
        daemons.closed = true;
        self.end(&mut daemons, Role::Master);
        self.end(&mut daemons, Role::Backup);
    }
}

/// The queues of a master, one for each thread.
pub(crate) struct Queues {
    queues: KVec<Shared<Queue>>,
}

impl rcu::Object for Queues {
    type Links = ();
}

impl Queues {
    /// Makes so many queues, which take nothing yet. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(count: usize, settings: &Arc<Settings>) -> Result<Shared<Self>> {
        let mut queues = KVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            let queue = Shared::pin_init(Queue::new(settings.clone()), GFP_KERNEL)?;
            queues.push(queue, GFP_KERNEL)?;
        }
        Shared::pin_init(try_init!(Self { queues }? Error), GFP_KERNEL)
    }

    /// Returns the queue with this number.
    pub(crate) fn get(&self, number: usize) -> Option<&Shared<Queue>> {
        self.queues.get(number)
    }

    /// Returns the queue of the connection with this hash.
    #[inline]
    pub(crate) fn of_hash(&self, hash: u32) -> Option<&Queue> {
        // There is a power of 2 of them.
        let mask = self.queues.len().wrapping_sub(1);
        self.queues.get(hash as usize & mask).map(|queue| &**queue)
    }
}

/// How the datagrams of a queue are made, and who sends them.
pub(crate) struct Sender {
    pub(crate) sync_id: u8,
    pub(crate) max_len: u16,
    pub(crate) waker: Waker,
}

/// What waits to be sent by one thread of a master.
#[pin_data]
pub(crate) struct Queue {
    settings: Arc<Settings>,
    #[pin]
    filling: SpinLockBh<Filling>,
    /// The number of datagrams that are ready and not sent yet.
    waiting: InlineAtomic<usize>,
    /// The number of entries that were lost: the queue was full, or there was no memory.
    lost: InlineAtomic<u64>,
}

struct Filling {
    sender: Option<Sender>,
    /// The datagram that entries are added to.
    current: Option<KBox<Datagram>>,
    /// Those that are ready, the last one first.
    ready: Chain,
}

impl rcu::Object for Queue {
    type Links = ();
}

/// A datagram to be sent.
pub(crate) struct Datagram {
    message: Message,
    bytes: KVec<u8>,
    /// The tick at which it was begun.
    begun: usize,
    next: Option<KBox<Datagram>>,
}

impl Datagram {
    fn new(version: Version, sync_id: u8, len: usize) -> Option<KBox<Self>> {
        let mut bytes = KVec::from_elem(0, len, GFP_ATOMIC).ok()?;
        let message = Message::begin(&mut bytes, version, sync_id);
        let datagram = Self {
            message,
            bytes,
            begun: jiffies::now(),
            next: None,
        };
        KBox::new(datagram, GFP_ATOMIC).ok()
    }

    /// Returns the bytes to be sent.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes
            .get(..self.message.total_len())
            .unwrap_or(&self.bytes)
    }

    /// Returns the number of entries.
    pub(crate) fn entries(&self) -> u8 {
        self.message.entries()
    }
}

/// Datagrams in a row.
#[derive(Default)]
pub(crate) struct Chain(Option<KBox<Datagram>>);

impl Chain {
    fn push(&mut self, mut datagram: KBox<Datagram>) {
        datagram.next = self.0.take();
        self.0 = Some(datagram);
    }

    fn reversed(self) -> Self {
        let mut reversed = Self::default();
        for datagram in self {
            reversed.push(datagram);
        }
        reversed
    }
}

impl Iterator for Chain {
    type Item = KBox<Datagram>;

    fn next(&mut self) -> Option<KBox<Datagram>> {
        let mut datagram = self.0.take()?;
        self.0 = datagram.next.take();
        Some(datagram)
    }
}

impl Drop for Chain {
    /// One after the other: a long chain would need a deep stack.
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

impl Queue {
    fn new(settings: Arc<Settings>) -> impl PinInit<Self> {
        pin_init!(Self {
            settings,
            filling <- new_spinlock_bh!(
                Filling {
                    sender: None,
                    current: None,
                    ready: Chain::default(),
                },
                "ipvs_sync_queue"
            ),
            waiting: InlineAtomic::new(0),
            lost: InlineAtomic::new(0),
        })
    }

    /// Takes entries from now on.
    pub(crate) fn open(&self, sender: Sender) {
        self.filling.lock().sender = Some(sender);
    }

    /// Takes no more entries, and forgets those that wait.
    fn close(&self) {
        let mut filling = self.filling.lock();
        let old = (
            filling.sender.take(),
            filling.current.take(),
            core::mem::take(&mut filling.ready),
        );
        drop(filling);
        drop(old);
    }

    /// Adds an entry to the current datagram, which is ready to be sent when the next one does not fit. C:
    /// the end of `ip_vs_sync_conn()`.
    ///
    /// # Context
    ///
    /// Any.
    pub(crate) fn push<A: Address>(&self, version: Version, entry: &Entry<'_, A>) {
        let mut filling = self.filling.lock();
        let filling = &mut *filling;
        let Some(sender) = &filling.sender else {
            return;
        };
        if let Some(current) = &mut filling.current {
            let Datagram { message, bytes, .. } = &mut **current;
            if message.version() == version && message.add(bytes, entry).is_ok() {
                return;
            }
        }
        if let Some(ready) = filling.current.take() {
            self.make_ready(&mut filling.ready, ready, &sender.waker);
        }
        let needed = version
            .header_len()
            .saturating_add(sync::size(version, entry));
        let len = needed.max(usize::from(sender.max_len));
        let Some(mut datagram) = Datagram::new(version, sender.sync_id, len) else {
            self.lose(1);
            return;
        };
        let Datagram { message, bytes, .. } = &mut *datagram;
        match message.add(bytes, entry) {
            Ok(()) => filling.current = Some(datagram),
            Err(Full) => self.lose(1),
        }
    }

    /// Lets a datagram be sent, unless too many wait already. C: `sb_queue_tail()`.
    fn make_ready(&self, ready: &mut Chain, datagram: KBox<Datagram>, waker: &Waker) {
        // One of up to 64 KiB counts as the usual ones that it could be.
        let each = datagram.bytes.len().div_ceil(USUAL_LEN);
        let taken = self.waiting.load(Relaxed).saturating_mul(each);
        if taken >= self.settings.sync_qlen_max.get() {
            self.lose(datagram.entries().into());
            return;
        }
        ready.push(datagram);
        let waiting = self.waiting.fetch_add(1, FullOrder).wrapping_add(1);
        if waiting == 1 || waiting == MANY {
            waker.wake();
        }
    }

    #[cold]
    fn lose(&self, entries: u64) {
        self.lost.add(entries, Relaxed);
    }

    /// Returns the number of entries that were lost since the last call.
    pub(crate) fn take_lost(&self) -> u64 {
        self.lost.xchg(0, Relaxed)
    }

    /// Returns the number of datagrams that are ready and not sent yet.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Takes all datagrams that are ready; if there are none, the current one if it was begun at least
    /// `age` ticks ago.
    pub(crate) fn take(&self, age: usize) -> Chain {
        let mut filling = self.filling.lock();
        let mut chain = core::mem::take(&mut filling.ready);
        if chain.0.is_none() {
            let now = jiffies::now();
            let is_old = |datagram: &KBox<Datagram>| now.wrapping_sub(datagram.begun) >= age;
            if filling.current.as_ref().is_some_and(is_old) {
                if let Some(current) = filling.current.take() {
                    self.waiting.add(1, Relaxed);
                    chain.push(current);
                }
            }
        }
        drop(filling);
        chain.reversed()
    }

    /// Counts out a datagram that [`Self::take`] gave.
    pub(crate) fn sent(&self) {
        self.waiting.fetch_sub(1, Relaxed);
    }
}
