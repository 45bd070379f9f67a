// SPDX-License-Identifier: GPL-2.0

//! The settings of a network namespace, which users change with sysctls (see
//! [`crate::ctl::sysctl`]). C: the `sysctl_*` members of `struct netns_ipvs`.
//!
//! Packets read them without a lock: each setting is a single number and takes effect independently
//! of the others.

use crate::defence::Defence;
use ipvs_core::sched::{
    locality::EXPIRATION_SECS,
    Locality, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};
use linux::{
    capability,
    jiffies::HZ,
    memory,
    sysctl::{
        Int,
        Pair,
        Ulong, //
    }, //
};

/// The maximum of `conn_max` (C: `IP_VS_CONN_MAX`).
pub(crate) const CONN_MAX: i32 = if cfg!(target_pointer_width = "64") {
    1 << 30
} else {
    1 << 24
};

/// The default expiration time of lblc and lblcr, in ticks.
const EXPIRATION: i32 = (EXPIRATION_SECS * HZ) as i32;

/// The settings of a namespace.
#[pin_data]
pub(crate) struct Settings {
    /// `backup_only`: while a backup daemon runs, neither send requests nor create connections.
    pub(crate) backup_only: Int,
    /// `cache_bypass`: forward packets to their original destination if a firewall mark service has
    /// no available server.
    pub(crate) cache_bypass: Int,
    /// `conn_lfactor`: the binary logarithm of the connections per bucket above which the tables
    /// grow.
    pub(crate) conn_lfactor: Int,
    /// `conn_max`: the maximum number of connections.
    pub(crate) conn_max: Int,
    /// The maximum that users without `CAP_NET_ADMIN` in the initial user namespace may set
    /// `conn_max` to.
    #[pin]
    conn_max_limit: Mutex<i32>,
    /// `conn_reuse_mode`: which ended connections are replaced by a new one on a SYN or INIT. 0: none.
    /// Otherwise those in TIME_WAIT, CLOSE and, of SCTP, CLOSED, and with bit 1 also those in FIN_WAIT if replies do not
    /// pass the director.
    pub(crate) conn_reuse_mode: Int,
    /// The defence strategies against floods.
    #[pin]
    pub(crate) defence: Defence,
    /// `conntrack`: let connection tracking keep entries for connections.
    pub(crate) conntrack: Int,
    /// `est_nice`: the nice value of the estimation thread.
    pub(crate) est_nice: Int,
    /// `expire_nodest_conn`: end the connections of removed servers at once, and those of servers
    /// with weight 0 on the next SYN or INIT.
    pub(crate) expire_nodest_conn: Int,
    /// `expire_quiescent_template`: do not use a persistence template whose server has weight 0 for
    /// new connections.
    pub(crate) expire_quiescent_template: Int,
    /// `ignore_tunneled`: do not schedule packets decapsulated from protocols that IPVS does not
    /// handle.
    pub(crate) ignore_tunneled: Int,
    /// `lblc_expiration`: the time in ticks after which lblc removes an entry that is not used.
    pub(crate) lblc_expiration: Int,
    /// `lblcr_expiration`: the time in ticks after which lblcr removes an entry that is not used,
    /// and a server from a set that has not changed.
    pub(crate) lblcr_expiration: Int,
    /// `nat_icmp_send`: answer packets of a NAT server that belong to no connection with ICMP
    /// port-unreachable.
    pub(crate) nat_icmp_send: Int,
    /// `run_estimation`: estimate rates.
    pub(crate) run_estimation: Int,
    /// `schedule_icmp`: create connections for ICMP errors about packets that belong to none.
    pub(crate) schedule_icmp: Int,
    /// `sloppy_sctp`: create connections for any SCTP packet but an ABORT, not only for an INIT.
    pub(crate) sloppy_sctp: Int,
    /// `sloppy_tcp`: create connections for any TCP packet, not only for a SYN.
    pub(crate) sloppy_tcp: Int,
    /// `snat_reroute`: route translated replies again.
    pub(crate) snat_reroute: Int,
    /// `svc_lfactor`: the binary logarithm of the services per bucket above which the table grows.
    pub(crate) svc_lfactor: Int,
    /// `sync_persist_mode`: let the master send the template of a persistent connection only.
    pub(crate) sync_persist_mode: Int,
    /// `sync_ports`: the number of threads of a daemon, each with a port of its own. A power of 2.
    pub(crate) sync_ports: Int,
    /// `sync_qlen_max`: the maximum number of datagrams that wait in a queue of the master.
    pub(crate) sync_qlen_max: Ulong,
    /// `sync_refresh_period`: the ticks by which the end of a connection moves before it is sent again.
    /// It is an unsigned number; 0 for any.
    pub(crate) sync_refresh_period: Int,
    /// `sync_retries`: how often a connection is sent again early, an eighth of the refresh period
    /// apart.
    pub(crate) sync_retries: Int,
    /// `sync_sock_size`: the size of the daemons' socket buffers, in bytes; 0 for the default.
    pub(crate) sync_sock_size: Int,
    /// The daemons that run, by the bits of their roles. No user sets it.
    pub(crate) sync_state: Int,
    /// `sync_threshold`: a connection is sent when the remainder of its packets divided by the second
    /// number is the first.
    pub(crate) sync_threshold: Pair,
    /// `sync_version`: the version of the datagrams that the master sends.
    pub(crate) sync_version: Int,
    /// `pmtu_disc`: path MTU discovery for tunnels to servers.
    pub(crate) pmtu_disc: Int,
}

impl Settings {
    /// Creates the settings of a new namespace. `most_conns` is the default of `conn_max`.
    /// `is_init` tells whether it is the initial namespace.
    pub(crate) fn new(most_conns: i32, is_init: bool) -> impl PinInit<Self, Error> {
        // C: `ip_vs_conn_default_load_factor()`, `ip_vs_svc_default_load_factor()`.
        let (conn_lfactor, svc_lfactor) = if is_init { (-4, -3) } else { (-2, -2) };
        try_pin_init!(Self {
            backup_only: Int::new(0),
            cache_bypass: Int::new(0),
            conn_lfactor: Int::new(conn_lfactor),
            conn_max: Int::new(most_conns),
            conn_max_limit <- new_mutex!(most_conns, "ipvs_conn_max"),
            conn_reuse_mode: Int::new(1),
            conntrack: Int::new(0),
            defence <- Defence::new(),
            est_nice: Int::new(0),
            expire_nodest_conn: Int::new(0),
            expire_quiescent_template: Int::new(0),
            ignore_tunneled: Int::new(0),
            lblc_expiration: Int::new(EXPIRATION),
            lblcr_expiration: Int::new(EXPIRATION),
            nat_icmp_send: Int::new(0),
            run_estimation: Int::new(1),
            schedule_icmp: Int::new(0),
            sloppy_sctp: Int::new(0),
            sloppy_tcp: Int::new(0),
            snat_reroute: Int::new(1),
            svc_lfactor: Int::new(svc_lfactor),
            sync_persist_mode: Int::new(0),
            sync_ports: Int::new(1),
            sync_qlen_max: Ulong::new(memory::free_buffer_pages() / 32),
            sync_refresh_period: Int::new(0),
            sync_retries: Int::new(0),
            sync_sock_size: Int::new(0),
            sync_state: Int::new(0),
            sync_threshold: Pair::new([3, 50]),
            sync_version: Int::new(1),
            pmtu_disc: Int::new(1),
        }? Error)
    }

    /// Returns the expiration time of a scheduler in ticks; 0 if it was set to a negative number.
    pub(crate) fn expiration(&self, kind: Locality) -> usize {
        let setting = match kind {
            Locality::Lblc => &self.lblc_expiration,
            Locality::Lblcr => &self.lblcr_expiration,
        };
        usize::try_from(setting.get()).unwrap_or(0)
    }

    /// Sets `sync_ports`. C: `proc_do_sync_ports()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` unless it is a power of 2.
    pub(crate) fn set_sync_ports(&self, number: i32) -> Result {
        if number < 1 || number & number.wrapping_sub(1) != 0 {
            return Err(EINVAL);
        }
        self.sync_ports.set(number);
        Ok(())
    }

    /// Sets `sync_threshold`. C: `proc_do_sync_threshold()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a negative number, or for a first one that is no remainder of the second.
    pub(crate) fn set_sync_threshold(&self, numbers: [i32; 2]) -> Result {
        let [threshold, period] = numbers;
        if threshold < 0 || period < 0 || (period != 0 && threshold >= period) {
            return Err(EINVAL);
        }
        self.sync_threshold.set(numbers);
        Ok(())
    }

    /// Sets the maximum number of connections. If the writer has `CAP_NET_ADMIN` in the initial
    /// user namespace, this is also the new limit for others. C: `proc_do_conn_max()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a number that is negative or above the limit.
    pub(crate) fn set_conn_max(&self, number: i32) -> Result {
        let privileged = capability::net_admin();
        let mut limit = self.conn_max_limit.lock();
        let max = if privileged { CONN_MAX } else { *limit };
        if !(0..=max).contains(&number) {
            return Err(EINVAL);
        }
        if privileged {
            *limit = number;
        }
        self.conn_max.set(number);
        Ok(())
    }
}
