// SPDX-License-Identifier: GPL-2.0

//! Creates and destroys the state of a network namespace, from the tables to the files that show
//! them. C: `__ip_vs_init()`, `__ip_vs_cleanup_batch()`, `__ip_vs_dev_cleanup_batch()`.
//!
//! This is the only file that depends on every part. `Documentation/locking.rst` describes the
//! states that a namespace goes through.

use crate::{
    app,
    conn::expire_nodest,
    ctl::{
        procfs,
        sysctl, //
    },
    defence::drop_entry::DefenceWork,
    family::{
        V4,
        V6, //
    },
    netns::{
        services::{
            ServiceTables,
            ServiceTablesResize, //
        },
        sync::SyncState,
        tables::{
            Caches,
            ConnTables,
            PerFamily, //
        },
        timeouts::Timeouts,
        Config,
        Files,
        Netns, //
    },
    service::{
        sched::sweep::LblcExpiry,
        trash::Trash, //
    },
    settings::{
        Settings,
        CONN_MAX, //
    },
    stats::est::Estimation, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::Arc, //
};
use linux::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    expiring::Quota,
    net::{
        Net,
        OwnNet,
        PerNet,
        Registry,
        WeakNet, //
    },
    rcu,
    work::Work, //
};

static REGISTRY: Registry<Netns> = Registry::new();

/// The state shared by all namespaces.
pub(crate) struct Common {
    v4: Caches<V4>,
    v6: Caches<V6>,
    /// The number of namespaces created so far (C: `ipvs_netns_cnt`).
    born: Atomic<u32>,
}

impl Common {
    /// Makes the shared state, with empty caches.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            v4: Caches::new(c"ip_vs_conn", c"ip_vs_template")?,
            v6: Caches::new(c"ip_vs_conn6", c"ip_vs_template6")?,
            born: Atomic::new(0),
        })
    }
}

/// Returns the initial `conn_max` of a namespace: the current value of the initial namespace.
fn conn_max(net: &OwnNet) -> i32 {
    if net.is_init() {
        return CONN_MAX;
    }
    rcu::read(|rcu| {
        Netns::of(Net::init(), rcu).map_or(CONN_MAX, |first| first.settings.conn_max.get())
    })
}

impl PerNet for Netns {
    type Common = Common;

    fn new(net: OwnNet, weak: WeakNet, common: &Common) -> Result<Pin<KBox<Self>>> {
        let service_tables = Arc::pin_init(ServiceTables::new(), GFP_KERNEL)?;
        let conn_quota = Arc::new(Quota::new(), GFP_KERNEL)?;
        let settings = Arc::pin_init(Settings::new(conn_max(&net), net.is_init()), GFP_KERNEL)?;
        let v4 = PerFamily::new(&common.v4, &conn_quota, &settings, weak.clone())?;
        let v6 = PerFamily::new(&common.v6, &conn_quota, &settings, weak.clone())?;
        let timeouts = Arc::new(Timeouts::new(), GFP_KERNEL)?;
        let tables = ConnTables {
            v4: v4.tables(),
            v6: v6.tables(),
        };
        let defence_work = Work::new(
            DefenceWork::new(settings.clone(), timeouts.clone(), tables.clone()),
            c"ipvs_defence",
            kernel::static_lock_class!(),
        )?;
        let number = common.born.fetch_add(1, Relaxed);
        let estimation = Arc::pin_init(
            Estimation::new(service_tables.clone(), settings.clone(), number)?,
            GFP_KERNEL,
        )?;
        let service_tables_resize = Arc::new(
            Work::new(
                ServiceTablesResize::new(service_tables.clone(), settings.clone()),
                c"ipvs_svc_resize",
                kernel::static_lock_class!(),
            )?,
            GFP_KERNEL,
        )?;
        let ctx = sysctl::SysctlCtx {
            settings: settings.clone(),
            defence_work,
            estimation: estimation.clone(),
            conn_resize4: v4.conn_resize.clone(),
            conn_resize6: v6.conn_resize.clone(),
            service_tables_resize: service_tables_resize.clone(),
        };
        let files = Files::new(
            procfs::files(&net)?,
            KBox::new(sysctl::files(&net, ctx)?, GFP_KERNEL)?,
        );
        KBox::try_pin_init(
            try_pin_init!(Self {
                files,
                config <- new_mutex!(
                    Config {
                        hooks4: None,
                        hooks6: None,
                        tracking4: Default::default(),
                        tracking6: Default::default(),
                        uses: KVec::new(),
                        closed: false,
                    },
                    "ipvs_config"
                ),
                estimation,
                service_tables_resize,
                sweeper: Work::new(
                    LblcExpiry(service_tables.clone()),
                    c"ipvs_lblc_expiry",
                    kernel::static_lock_class!(),
                )?,
                nodest_expiry: Work::new(
                    expire_nodest::Expiry::new(tables, settings.clone()),
                    c"ipvs_nodest",
                    kernel::static_lock_class!(),
                )?,
                trash: Trash::new(service_tables.clone())?,
                v4,
                v6,
                conn_quota,
                service_tables,
                timeouts,
                app_uses: Arc::new(app::Uses::default(), GFP_KERNEL)?,
                sync: Arc::pin_init(SyncState::new(number, settings.clone()), GFP_KERNEL)?,
                settings,
                weak,
                net,
            }? Error),
            GFP_KERNEL,
        )
    }

    fn shut(self: Pin<&Self>) {
        self.sync.close();
        self.close();
    }

    fn registry() -> &'static Registry<Self> {
        &REGISTRY
    }
}
