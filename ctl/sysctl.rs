// SPDX-License-Identifier: GPL-2.0

//! `net.ipv4.vs.*`: the [`Settings`] as files. C: `vs_vars`.

use crate::{
    defence::drop_entry::{
        self,
        DefenceWork, //
    },
    family::{
        V4,
        V6, //
    },
    netns::{
        services::ServiceTablesResize,
        tables::ConnResize, //
    },
    settings::Settings,
    stats::est::Estimation, //
};
use core::ops::RangeInclusive;
use ipvs_core::resize::LOAD_FACTORS;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    net::OwnNet,
    sysctl::{
        Entry,
        Int,
        Table, //
    },
    work::Work, //
};

/// The data that the files refer to.
pub(crate) struct SysctlCtx {
    pub(crate) settings: Arc<Settings>,
    /// The work that checks the free memory while a defence strategy may be needed.
    pub(crate) defence_work: Work<DefenceWork>,
    /// The estimation of rates.
    pub(crate) estimation: Arc<Estimation>,
    /// The work that resizes the connection tables.
    pub(crate) conn_resize4: Arc<Work<ConnResize<V4>>>,
    pub(crate) conn_resize6: Arc<Work<ConnResize<V6>>>,
    /// The work that resizes the service table.
    pub(crate) service_tables_resize: Arc<Work<ServiceTablesResize>>,
}

/// The files of a namespace.
pub(crate) type Sysctls = Table<SysctlCtx>;

static ENTRIES: &[Entry<SysctlCtx>] = &[
    Entry::int(c"am_droprate", |k| &k.settings.defence.am_droprate),
    Entry::int(c"amemthresh", |k| &k.settings.defence.amemthresh),
    Entry::int(c"backup_only", |k| &k.settings.backup_only),
    Entry::int(c"cache_bypass", |k| &k.settings.cache_bypass),
    Entry::checked(
        c"conn_lfactor",
        |k| &k.settings.conn_lfactor,
        SysctlCtx::set_conn_lfactor,
    )
    .for_init_user_ns(),
    Entry::checked(
        c"conn_max",
        |k| &k.settings.conn_max,
        |k, number| k.settings.set_conn_max(number),
    ),
    Entry::int(c"conn_reuse_mode", |k| &k.settings.conn_reuse_mode),
    Entry::int(c"conntrack", |k| &k.settings.conntrack),
    Entry::checked(
        c"drop_entry",
        |k| &k.settings.defence.drop_entry,
        |k, number| k.set_mode(&k.settings.defence.drop_entry, number),
    ),
    Entry::checked(
        c"drop_packet",
        |k| &k.settings.defence.drop_packet,
        |k, number| k.set_mode(&k.settings.defence.drop_packet, number),
    ),
    Entry::text(
        c"est_cpulist",
        |k: &SysctlCtx, buffer| k.estimation.show_cpus(buffer),
        |k, list| k.estimation.set_cpus(list),
    )
    .for_init_user_ns(),
    Entry::checked(
        c"est_nice",
        |k: &SysctlCtx| &k.settings.est_nice,
        |k, number| k.estimation.set_nice(number),
    )
    .for_init_user_ns(),
    Entry::int(c"expire_nodest_conn", |k| &k.settings.expire_nodest_conn),
    Entry::int(c"expire_quiescent_template", |k| {
        &k.settings.expire_quiescent_template
    }),
    Entry::int(c"ignore_tunneled", |k| &k.settings.ignore_tunneled),
    Entry::<SysctlCtx>::ticks(c"lblc_expiration", |k| &k.settings.lblc_expiration)
        .in_init_user_ns_only(),
    Entry::<SysctlCtx>::ticks(c"lblcr_expiration", |k| &k.settings.lblcr_expiration)
        .in_init_user_ns_only(),
    Entry::int(c"nat_icmp_send", |k| &k.settings.nat_icmp_send),
    Entry::int(c"pmtu_disc", |k| &k.settings.pmtu_disc),
    Entry::checked(
        c"run_estimation",
        |k: &SysctlCtx| &k.settings.run_estimation,
        |k, number| k.estimation.set_run(number),
    )
    .for_init_user_ns(),
    Entry::int(c"schedule_icmp", |k| &k.settings.schedule_icmp),
    Entry::checked(
        c"secure_tcp",
        |k| &k.settings.defence.secure_tcp,
        |k, number| k.set_mode(&k.settings.defence.secure_tcp, number),
    ),
    Entry::int(c"sloppy_sctp", |k| &k.settings.sloppy_sctp),
    Entry::int(c"sloppy_tcp", |k| &k.settings.sloppy_tcp),
    Entry::int(c"snat_reroute", |k| &k.settings.snat_reroute),
    Entry::checked(
        c"svc_lfactor",
        |k| &k.settings.svc_lfactor,
        SysctlCtx::set_svc_lfactor,
    )
    .for_init_user_ns(),
    Entry::int(c"sync_persist_mode", |k| &k.settings.sync_persist_mode),
    Entry::checked(
        c"sync_ports",
        |k| &k.settings.sync_ports,
        |k, number| k.settings.set_sync_ports(number),
    ),
    Entry::<SysctlCtx>::ulong(c"sync_qlen_max", |k| &k.settings.sync_qlen_max).for_init_user_ns(),
    Entry::<SysctlCtx>::ticks(c"sync_refresh_period", |k| &k.settings.sync_refresh_period),
    Entry::checked(
        c"sync_retries",
        |k| &k.settings.sync_retries,
        |k, number| set_in(0..=3, &k.settings.sync_retries, number),
    ),
    Entry::<SysctlCtx>::int(c"sync_sock_size", |k| &k.settings.sync_sock_size).for_init_user_ns(),
    Entry::pair(
        c"sync_threshold",
        |k| &k.settings.sync_threshold,
        |k, numbers| k.settings.set_sync_threshold(numbers),
    ),
    Entry::checked(
        c"sync_version",
        |k| &k.settings.sync_version,
        |k, number| set_in(0..=1, &k.settings.sync_version, number),
    ),
];

/// Creates the files of `net`.
pub(crate) fn files(net: &OwnNet, ctx: SysctlCtx) -> Result<Sysctls> {
    let ctx = Arc::new(ctx, GFP_KERNEL)?;
    Table::new(net, c"net/ipv4/vs", ctx, ENTRIES)
}

impl SysctlCtx {
    /// Sets the mode of a defence strategy. C: `proc_do_defense_mode()`.
    fn set_mode(&self, mode: &Int, number: i32) -> Result {
        self.settings.defence.set_mode(mode, number)?;
        self.defence_work.schedule(drop_entry::PERIOD);
        Ok(())
    }

    /// Sets the load factor of the connection tables. C: `ipvs_proc_conn_lfactor()`.
    fn set_conn_lfactor(&self, number: i32) -> Result {
        set_in(LOAD_FACTORS, &self.settings.conn_lfactor, number)?;
        self.conn_resize4.hurry();
        self.conn_resize6.hurry();
        Ok(())
    }

    /// Sets the load factor of the service table. C: `ipvs_proc_svc_lfactor()`.
    fn set_svc_lfactor(&self, number: i32) -> Result {
        set_in(LOAD_FACTORS, &self.settings.svc_lfactor, number)?;
        self.service_tables_resize.hurry();
        Ok(())
    }
}

/// Sets a number of a range.
///
/// # Errors
///
/// `EINVAL` if it is out of range.
fn set_in(range: RangeInclusive<i32>, setting: &Int, number: i32) -> Result {
    if !range.contains(&number) {
        return Err(EINVAL);
    }
    setting.set(number);
    Ok(())
}
