// SPDX-License-Identifier: GPL-2.0

//! Synchronises connections with other directors: the daemons that users start and stop. C:
//! `ip_vs_sync.c`.
//!
//! The master sends what packets do to connections ([`crate::master`]); a backup makes connections of what it
//! receives ([`backup`]). [`ipvs_core::sync`] has the datagrams, and the rules of what is sent when.

pub(crate) mod apply;
mod backup;

use crate::{
    log,
    master,
    netns::{
        sync::{
            Daemon,
            DaemonConfig,
            DeviceName,
            Queues,
            Role,
            Sender, //
        },
        Netns, //
    },
    walk::Cursor, //
};
use core::{
    net::{
        IpAddr,
        Ipv4Addr,
        Ipv6Addr,
        SocketAddr, //
    },
    ops::ControlFlow, //
};
use ipvs_core::{
    net::Addr,
    netlink::{daemon::DaemonSpec, AF_INET6},
    sync::{
        GROUP,
        PORT,
        PORTS_MAX, //
    },
};
use kernel::{
    module::this_module,
    prelude::*,
    str::CString, //
};
use linux::{
    kthread::{
        Main,
        Settings as ThreadSettings,
        Thread, //
    },
    module::ModuleRef,
    netdevice::Device,
    rcu,
    socket::UdpSocket, //
};

/// The lengths of the headers of IP and UDP, which a datagram shares its packet with.
const HEADERS_V4: u32 = 28;
const HEADERS_V6: u32 = 48;

/// The MTU that datagrams are made for, unless users say otherwise; also the least that a backup is made
/// for.
const MTU: u32 = 1500;

/// The least that a backup receives, in bytes.
const MIN_RECEIVED: u32 = 1024;

/// The device that a daemon uses, as it is when the daemon is started.
struct DeviceNow {
    index: i32,
    mtu: u32,
    addr: Ipv4Addr,
}

impl Netns {
    /// Starts a daemon. C: `start_sync_thread()`.
    ///
    /// # Errors
    ///
    /// `ENODEV` if there is no such device; `EINVAL` if there is no such role; `EEXIST` if there is such a
    /// daemon; those of sockets, `ENOMEM`. Nothing is changed then.
    ///
    /// # Context
    ///
    /// Process context. Takes the lock on the daemons; the sockets take the RTNL.
    pub(crate) fn start_daemon(&self, spec: &DaemonSpec<'_>) -> Result {
        let module_use = ModuleRef::new(this_module::<crate::LocalModule>()).ok_or(ENOPROTOOPT)?;
        let mut daemons = self.sync.daemons.lock();
        if daemons.closed {
            return Err(ENODEV);
        }
        let interface = DeviceName::new(spec.interface);
        let device = rcu::read(|rcu| {
            Device::by_name(self.net(), interface.as_c_str(), rcu).map(|device| DeviceNow {
                index: device.index(),
                mtu: device.mtu(),
                addr: device.ipv4_addr(),
            })
        });
        let Some(device) = device else {
            log::no_sync_device(self.net(), &interface);
            return Err(ENODEV);
        };
        let role = Role::from_number(spec.state).ok_or(EINVAL)?;
        if daemons.of(role).is_some() {
            return Err(EEXIST);
        }
        if daemons.master.is_none() && daemons.backup.is_none() {
            let ports = usize::try_from(self.settings.sync_ports.get()).unwrap_or(1);
            daemons.threads = ports.clamp(1, PORTS_MAX);
        }
        let config = config(spec, role, interface, device.mtu);
        let count = daemons.threads;
        let mut threads = KVec::with_capacity(count, GFP_KERNEL)?;
        let queues = match role {
            Role::Master => {
                let queues = Queues::new(count, &self.settings)?;
                for number in 0..count {
                    threads.push(self.master(&config, &device, &queues, number)?, GFP_KERNEL)?;
                }
                Some(queues)
            }
            Role::Backup => {
                self.v4.prepare(true)?;
                self.v6.prepare(true)?;
                for number in 0..count {
                    threads.push(self.backup(&config, &device, number)?, GFP_KERNEL)?;
                }
                None
            }
        };
        log::sync_started(
            self.net(),
            role.name(),
            &config.interface,
            config.sync_id,
            count,
        );
        let daemon = Daemon::new(config, threads, module_use);
        self.sync.begin(&mut daemons, role, daemon, queues);
        Ok(())
    }

    /// Stops a daemon. C: `stop_sync_thread()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such role, `ESRCH` if there is no such daemon.
    ///
    /// # Context
    ///
    /// As for [`Self::start_daemon`].
    pub(crate) fn stop_daemon(&self, role: u32) -> Result {
        let role = Role::from_number(role).ok_or(EINVAL)?;
        let mut daemons = self.sync.daemons.lock();
        if !self.sync.end(&mut daemons, role) {
            return Err(ESRCH);
        }
        log::sync_stopped(self.net(), role.name());
        Ok(())
    }

    /// Returns whether a server is of another family than its service. C:
    /// `ipvs->mixed_address_family_dests`.
    pub(crate) fn has_mixed_families(&self) -> bool {
        let _config = self.config.lock();
        let mut mixed = false;
        Cursor::default().for_each(&self.service_tables().dests, |dest, _| {
            let is_ipv6 = matches!(dest.addr(), Addr::V6(_));
            mixed = dest.available() && is_ipv6 != (dest.key().service.family() == AF_INET6);
            match mixed {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        mixed
    }

    /// Makes a thread of a master, which takes entries when it has been started.
    fn master(
        &self,
        config: &DaemonConfig,
        device: &DeviceNow,
        queues: &Queues,
        number: usize,
    ) -> Result<KBox<dyn Send + Sync>> {
        let group = addr(config, number);
        let socket = UdpSocket::new(&self.net, group.is_ipv6())?;
        socket.multicast_through(device.index, config.ttl)?;
        socket.allow_fragments()?;
        let size = self.settings.sync_sock_size.get();
        if size > 0 {
            socket.set_send_buffer(size)?;
        }
        if group.is_ipv4() {
            socket.bind(&SocketAddr::new(device.addr.into(), 0))?;
        }
        socket.connect(&group)?;
        let queue = queues.get(number).ok_or(EINVAL)?.clone();
        let main = master::Sending::new(self.weak.clone(), queue.clone(), socket);
        let thread = self.thread(main, Role::Master, number)?;
        queue.open(Sender {
            sync_id: config.sync_id as u8,
            max_len: config.max_len,
            waker: thread.waker(),
        });
        thread.start();
        Ok(KBox::new(thread, GFP_KERNEL)?)
    }

    /// Makes a thread of a backup, and starts it.
    fn backup(
        &self,
        config: &DaemonConfig,
        device: &DeviceNow,
        number: usize,
    ) -> Result<KBox<dyn Send + Sync>> {
        let group = addr(config, number);
        let socket = UdpSocket::new(&self.net, group.is_ipv6())?;
        socket.reuse_addr()?;
        let size = self.settings.sync_sock_size.get();
        if size > 0 {
            socket.set_receive_buffer(size)?;
        }
        socket.bind_to_device(device.index)?;
        socket.bind(&group)?;
        socket.join(group.ip(), device.index)?;
        let receiving = backup::Receiving::new(self.weak.clone(), socket, config)?;
        let thread = self.thread(backup::Reader(receiving.clone()), Role::Backup, number)?;
        thread.start();
        Ok(KBox::new(
            backup::Running::new(receiving, thread),
            GFP_KERNEL,
        )?)
    }

    fn thread<M: Main>(&self, main: M, role: Role, number: usize) -> Result<Thread<M>> {
        let name =
            CString::try_from_fmt(fmt!("ipvs-{}:{}:{number}", role.letter(), self.sync.number))?;
        Thread::new(main, &name, ThreadSettings::default())
    }
}

impl Role {
    /// Returns the name in the log.
    fn name(self) -> &'static str {
        match self {
            Self::Master => "MASTER",
            Self::Backup => "BACKUP",
        }
    }

    /// Returns the letter in the names of threads.
    fn letter(self) -> char {
        match self {
            Self::Master => 'm',
            Self::Backup => 'b',
        }
    }
}

/// Returns the settings of a daemon, with defaults for what users have not given, and what they have in
/// its limits.
fn config(spec: &DaemonSpec<'_>, role: Role, interface: DeviceName, mtu: u32) -> DaemonConfig {
    let group = match spec.group {
        None => IpAddr::from(GROUP),
        Some((AF_INET6, addr)) => Ipv6Addr::from(addr).into(),
        Some((_, addr)) => {
            let [a, b, c, d, ..] = addr;
            Ipv4Addr::new(a, b, c, d).into()
        }
    };
    let headers = match group {
        IpAddr::V4(_) => HEADERS_V4,
        IpAddr::V6(_) => HEADERS_V6,
    };
    let most = u32::from(u16::MAX);
    let (mtu, least) = match role {
        Role::Master => (MTU, 1),
        Role::Backup => (mtu.clamp(MTU, most), MIN_RECEIVED),
    };
    let max_len = match u32::from(spec.max_len) {
        0 => mtu.saturating_sub(headers),
        given => given.clamp(least, most.saturating_sub(headers)),
    };
    DaemonConfig {
        interface,
        sync_id: spec.sync_id,
        max_len: max_len as u16,
        group,
        port: match spec.port {
            0 => PORT,
            port => port,
        },
        ttl: match spec.ttl {
            0 => 1,
            ttl => ttl,
        },
    }
}

/// Returns the address of the group, with the port of the thread of this number.
fn addr(config: &DaemonConfig, number: usize) -> SocketAddr {
    SocketAddr::new(config.group, config.port.wrapping_add(number as u16))
}
