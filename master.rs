// SPDX-License-Identifier: GPL-2.0

//! The master: sends connections, when packets change them or after some time. C: `ip_vs_sync_conn()`,
//! `sync_thread_master()`.

use crate::{
    conn::{
        template::PublishedTemplate,
        Conn,
        PublishedConn, //
    },
    family::Family,
    log,
    netns::{
        sync::{
            Queue,
            Role,
            MANY, //
        },
        Netns, //
    },
    proto,
    settings::Settings, //
};
use ipvs_core::{
    flow::ServiceKey,
    net::{
        Address,
        Be16, //
    },
    netlink::AF_INET6,
    sync::{
        Entry,
        PeEntry,
        Rules,
        Subject,
        Version,
        TEMPLATE_ASSURED, //
    },
};
use kernel::prelude::*;
use linux::{
    jiffies::{
        self,
        HZ, //
    },
    kthread::{
        Main,
        This, //
    },
    net::{
        Net,
        WeakNet, //
    },
    rcu::{
        self,
        ReadLocked,
        Shared, //
    },
    socket::UdpSocket, //
};

/// How long a sender waits for more datagrams when there are few, in ticks (C: `IPVS_SYNC_SEND_DELAY`).
const SEND_DELAY: usize = (HZ / 50) as usize;

/// The age at which a datagram that is not full is sent, in ticks (C: `IPVS_SYNC_FLUSH_TIME`).
const FLUSH_TIME: usize = 2 * HZ as usize;

/// How often a sender looks for one, in ticks (C: `IPVS_SYNC_CHECK_PERIOD`).
const CHECK_PERIOD: usize = HZ as usize;

/// The ticks after which it is tried again to send to a socket without room.
const AGAIN: usize = 1;

impl Settings {
    /// Returns whether a master runs.
    #[inline]
    pub(crate) fn has_sync_master(&self) -> bool {
        self.sync_state.get() & Role::Master.bit() as i32 != 0
    }

    /// Returns whether requests are left alone since this is a backup only. C: `sysctl_backup_only()`.
    #[inline]
    pub(crate) fn is_backup_only(&self) -> bool {
        self.sync_state.get() & Role::Backup.bit() as i32 != 0 && self.backup_only.is_set()
    }

    fn sync_rules(&self) -> Rules {
        let [threshold, period] = self.sync_threshold.get();
        Rules {
            threshold,
            period,
            refresh_period: self.sync_refresh_period.get() as u32,
            retries: self.sync_retries.get(),
            hz: HZ,
        }
    }

    fn datagram_version(&self) -> Version {
        match self.sync_version.get() {
            0 => Version::V0,
            _ => Version::V1,
        }
    }
}

/// Sends the connection of a request, if it is due, and then its template or control connection. `counted`
/// is what [`Conn::count_packet`] has returned. C: `ip_vs_sync_conn()`.
///
/// # Context
///
/// Any.
#[cold]
#[inline(never)]
pub(crate) fn request<'rcu, F: Family>(
    netns: &'rcu Netns,
    conn: &PublishedConn<F>,
    hash: u32,
    counted: Option<u32>,
    rcu: ReadLocked<'rcu>,
) {
    let packets = match (conn.sent(), counted) {
        (Some(sent), _) => sent.count_packet(),
        (None, Some(packets)) => packets,
        // From now on it is counted there.
        (None, None) => {
            let packets = conn.packets().into();
            let _ = conn.begin_sent(packets);
            packets
        }
    };
    offer(netns, conn, hash, packets as i32, rcu);
}

/// The most control connections that are sent after one. FTP's own have none; a chain of more is somebody's
/// who wants to keep the host busy.
const CONTROLS: usize = 2;

/// Sends a connection after `packets` packets if it is due, and what controls it.
fn offer<'rcu, F: Family>(
    netns: &'rcu Netns,
    conn: &PublishedConn<F>,
    hash: u32,
    packets: i32,
    rcu: ReadLocked<'rcu>,
) {
    let (mut conn, mut hash, mut packets) = (conn, hash, packets);
    let version = netns.settings.datagram_version();
    for _ in 0..=CONTROLS {
        let is_sent = send_conn(netns, conn, hash, packets, version, rcu);
        // Version 0 leaves out what controls a connection that is not sent itself.
        if version == Version::V0 && !is_sent {
            return;
        }
        if let Some(template) = conn.template() {
            return use_of_template(netns, template, rcu);
        }
        let Some((control, its_hash)) = control_conn(netns, conn, rcu) else {
            return;
        };
        let [threshold, _] = netns.settings.sync_threshold.get();
        (conn, hash, packets) = (control, its_hash, threshold);
    }
}

/// Returns the control connection that has announced a data connection, and its hash.
fn control_conn<'rcu, F: Family>(
    netns: &'rcu Netns,
    conn: &Conn<F>,
    rcu: ReadLocked<'rcu>,
) -> Option<(&'rcu PublishedConn<F>, u32)> {
    let state = netns.state::<F>();
    let request = conn.parent()?.request();
    let hash = request.hash(&state.conn_key);
    Conn::find_request(&state.conns, hash, rcu, &request).map(|control| (control, hash))
}

/// Returns whether a template is among what controls a connection. C: `in_persistence()`.
fn is_persistent<'rcu, F: Family>(
    netns: &'rcu Netns,
    conn: &Conn<F>,
    rcu: ReadLocked<'rcu>,
) -> bool {
    conn.template().is_some()
        || control_conn(netns, conn, rcu).is_some_and(|(control, _)| control.template().is_some())
}

/// Sends a connection if it is due; returns whether it was.
fn send_conn<'rcu, F: Family>(
    netns: &'rcu Netns,
    conn: &PublishedConn<F>,
    hash: u32,
    packets: i32,
    version: Version,
    rcu: ReadLocked<'rcu>,
) -> bool {
    let settings = &netns.settings;
    if version == Version::V0 && F::AF == AF_INET6 {
        return false;
    }
    if settings.sync_persist_mode.is_set() && is_persistent(netns, conn, rcu) {
        return false;
    }
    let (rules, now, bits) = (settings.sync_rules(), jiffies::now(), conn.bits());
    let timeout = proto::timeout(conn.protocol(), bits, &netns.timeouts);
    let begin = || conn.begin_sent(packets as u32).ok();
    // Without such a period it does not matter since when the connection exists.
    let since_now = rules.refresh_period != 0 && timeout < 10 * HZ;
    let sent = conn.sent().or_else(|| since_now.then(begin).flatten());
    let subject = Subject {
        template: false,
        protocol: conn.protocol().number(),
        state: bits.state(),
        old_state: match sent {
            Some(sent) => sent.state(),
            // Who has told of it knows it in this state.
            None if bits.synced() => bits.state(),
            None => 0,
        },
        timeout: timeout as usize,
    };
    let end = sent.map_or(now & !3, |sent| sent.end());
    let Some(due) = rules.due(&subject, end, packets, now) else {
        return false;
    };
    let Some(sent) = sent.or_else(begin) else {
        return false;
    };
    let end = sent.end();
    if !sent.note(bits.state(), end, due.endtime) && !due.force {
        return false;
    }
    let entry = Entry {
        protocol: conn.protocol().number(),
        caddr: conn.caddr(),
        vaddr: conn.vaddr(),
        daddr: conn.daddr(),
        cport: conn.cport(),
        vport: conn.vport(),
        dport: conn.dport(),
        flags: bits.told(),
        state: bits.state(),
        fwmark: conn.dest().map_or(0, |dest| mark(&dest.key().service)),
        timeout: timeout / HZ,
        seqs: None,
        pe: None,
    };
    push(netns, hash, version, &entry, rcu);
    true
}

/// Counts a packet that is sent to the server of a template without a connection, and sends the template
/// if it is due. Version 0 knows no such templates.
///
/// # Context
///
/// Any.
#[cold]
pub(crate) fn one_packet<F: Family>(
    netns: &Netns,
    template: &PublishedTemplate<F>,
    rcu: ReadLocked<'_>,
) {
    if netns.settings.datagram_version() == Version::V1 {
        use_of_template(netns, template, rcu);
    }
}

/// Counts a use of a template, and sends it if it is due.
fn use_of_template<F: Family>(netns: &Netns, template: &PublishedTemplate<F>, rcu: ReadLocked<'_>) {
    let settings = &netns.settings;
    let sent = template.sent();
    let packets = sent.count_packet();
    let version = settings.datagram_version();
    if version == Version::V0 && F::AF == AF_INET6 {
        return;
    }
    let key = template.key();
    let state = match template.is_assured() {
        true => TEMPLATE_ASSURED,
        false => 0,
    };
    let (end, timeout) = (sent.end(), template.timeout());
    let subject = Subject {
        template: true,
        protocol: key.protocol,
        state,
        old_state: sent.state(),
        timeout: timeout as usize,
    };
    let rules = settings.sync_rules();
    let Some(due) = rules.due(&subject, end, packets as i32, jiffies::now()) else {
        return;
    };
    if !sent.note(state, end, due.endtime) && !due.force {
        return;
    }
    let pe = template.pe().map(|data| {
        let (name, data) = data.shown();
        PeEntry {
            name: name.as_bytes(),
            data,
        }
    });
    let entry = Entry {
        protocol: key.protocol,
        caddr: key.src,
        vaddr: key.dst,
        daddr: F::Addr::of(template.server_addr()).unwrap_or_default(),
        cport: Be16::ZERO,
        vport: key.dst_port,
        dport: template.dport(),
        flags: template.told(settings.conntrack.is_set()),
        state,
        fwmark: template.dest().map_or(0, |dest| mark(&dest.key().service)),
        timeout: timeout / HZ,
        seqs: None,
        pe,
    };
    let hash = key.hash(&netns.state::<F>().conn_key);
    push(netns, hash, version, &entry, rcu);
}

/// Returns the firewall mark of a service; 0 if it has an address.
fn mark(service: &ServiceKey) -> u32 {
    match service {
        ServiceKey::Fwmark { mark, .. } => *mark,
        ServiceKey::Addr { .. } => 0,
    }
}

fn push<A: Address>(
    netns: &Netns,
    hash: u32,
    version: Version,
    entry: &Entry<'_, A>,
    rcu: ReadLocked<'_>,
) {
    if let Some(queues) = netns.sync.queues(rcu) {
        if let Some(queue) = queues.get().of_hash(hash) {
            queue.push(version, entry);
        }
    }
}

/// The function of a thread that sends what is in a queue.
pub(crate) struct Sending {
    net: WeakNet,
    queue: Shared<Queue>,
    socket: UdpSocket,
}

impl Sending {
    pub(crate) fn new(net: WeakNet, queue: Shared<Queue>, socket: UdpSocket) -> Self {
        Self { net, queue, socket }
    }

    /// Sends a datagram. Waits while the socket has no room, unless the thread is to stop.
    fn send(&self, datagram: &[u8], this: &This) {
        loop {
            match self.socket.send(datagram) {
                Err(EAGAIN) if this.sleep(AGAIN) => {}
                Err(EAGAIN) | Ok(()) => return,
                Err(error) => return self.with_net(|net| log::sync_not_sent(net, error)),
            }
        }
    }

    /// Calls `then` with the namespace, unless that has begun to end.
    fn with_net(&self, then: impl FnOnce(&Net)) {
        rcu::read(|rcu| {
            if let Some(net) = self.net.get(rcu) {
                then(net);
            }
        });
    }
}

impl Main for Sending {
    fn main(&self, this: &This) {
        while this.wait(CHECK_PERIOD, || self.queue.waiting() != 0) {
            if self.queue.waiting() != 0 && !this.wait(SEND_DELAY, || self.queue.waiting() >= MANY)
            {
                return;
            }
            for datagram in self.queue.take(FLUSH_TIME) {
                if this.should_stop() {
                    return;
                }
                self.send(datagram.bytes(), this);
                self.queue.sent();
            }
            let lost = self.queue.take_lost();
            if lost != 0 {
                self.with_net(|net| log::sync_lost(net, lost));
            }
        }
    }
}
