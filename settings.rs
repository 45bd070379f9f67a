// SPDX-License-Identifier: GPL-2.0

//! What users set for a namespace as a whole, with sysctls (see [`crate::ctl::sysctl`]). C: the
//! `sysctl_*` fields of `struct netns_ipvs`.
//!
//! Packets read them without any lock: a setting is one number, and takes effect by itself.

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
    sysctl::Int, //
};

/// The most connections that there may be at all (C: `IP_VS_CONN_MAX`).
pub(crate) const CONN_MAX: i32 = if cfg!(target_pointer_width = "64") {
    1 << 30
} else {
    1 << 24
};

/// How long schedulers remember, in ticks, unless users say something else.
const EXPIRATION: i32 = (EXPIRATION_SECS * HZ) as i32;

/// The settings of a namespace.
#[pin_data]
pub(crate) struct Settings {
    /// Whether services by firewall mark that have no server let packets go where they were going.
    pub(crate) cache_bypass: Int,
    /// How many connections the tables have for a bucket before they grow, as a power of two.
    pub(crate) conn_lfactor: Int,
    /// The most connections that there may be.
    pub(crate) conn_max: Int,
    /// How far those may raise that who do not administer the machine.
    #[pin]
    conn_max_limit: Mutex<i32>,
    /// Of which ended connections a SYN makes new ones: 0 none, bit 0 those in TIME_WAIT and CLOSE,
    /// bit 1 those in FIN_WAIT too if answers don't pass here.
    pub(crate) conn_reuse_mode: Int,
    /// What is done against floods.
    #[pin]
    pub(crate) defence: Defence,
    /// The nice value of the thread that rates go on in.
    pub(crate) est_nice: Int,
    /// Whether connections of removed servers end, and those of servers of weight 0 with the next
    /// SYN.
    pub(crate) expire_nodest_conn: Int,
    /// Whether new connections of a network go elsewhere than before if its server has weight 0.
    pub(crate) expire_quiescent_template: Int,
    /// Whether a packet that was in one of no service's protocol is left alone.
    pub(crate) ignore_tunneled: Int,
    /// How long the scheduler lblc remembers a server that nobody asks for, in ticks.
    pub(crate) lblc_expiration: Int,
    /// The same of lblcr; and how long it keeps a set of several servers as it is.
    pub(crate) lblcr_expiration: Int,
    /// Whether a NAT server's packet of no connection is answered with port-unreachable.
    pub(crate) nat_icmp_send: Int,
    /// Whether rates go on.
    pub(crate) run_estimation: Int,
    /// Whether ICMP errors about packets of no connection make one.
    pub(crate) schedule_icmp: Int,
    /// Whether packets in the middle of a TCP connection make one.
    pub(crate) sloppy_tcp: Int,
    /// Whether translated answers are routed anew.
    pub(crate) snat_reroute: Int,
    /// How many services the table has for a bucket before it grows, as a power of two.
    pub(crate) svc_lfactor: Int,
    /// Whether tunnels care for the MTU of the way to the server.
    pub(crate) pmtu_disc: Int,
}

impl Settings {
    /// Makes those of a new namespace, with at most `most_conns` connections; `is_init` says whether it
    /// is the first one.
    pub(crate) fn new(most_conns: i32, is_init: bool) -> impl PinInit<Self, Error> {
        // C: `ip_vs_conn_default_load_factor()`, `ip_vs_svc_default_load_factor()`.
        let (conn_lfactor, svc_lfactor) = if is_init { (-4, -3) } else { (-2, -2) };
        try_pin_init!(Self {
            cache_bypass: Int::new(0),
            conn_lfactor: Int::new(conn_lfactor),
            conn_max: Int::new(most_conns),
            conn_max_limit <- new_mutex!(most_conns, "ipvs_conn_max"),
            conn_reuse_mode: Int::new(1),
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
            sloppy_tcp: Int::new(0),
            snat_reroute: Int::new(1),
            svc_lfactor: Int::new(svc_lfactor),
            pmtu_disc: Int::new(1),
        }? Error)
    }

    /// How long a scheduler remembers, in ticks; nothing, if it was set to less than that.
    pub(crate) fn expiration(&self, kind: Locality) -> usize {
        let setting = match kind {
            Locality::Lblc => &self.lblc_expiration,
            Locality::Lblcr => &self.lblcr_expiration,
        };
        usize::try_from(setting.get()).unwrap_or(0)
    }

    /// Sets the most connections that there may be. Who administers the machine sets the limit for
    /// others with it. C: `proc_do_conn_max()`.
    ///
    /// Errors: `EINVAL` for a number that is negative or above the limit.
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
