// SPDX-License-Identifier: GPL-2.0

//! What there is for each network namespace. C: `struct netns_ipvs`.
//!
//! # Locks, outermost first
//!
//! 1. [`Netns::config`]: all that users change. Sleeps.
//! 2. The writer's lock of a service's list of servers; those of settings that depend on others,
//!    and of the thread that estimates rates. Sleep.
//! 3. A scheduler's memory; a server's overload flag; statistics; the tables' chains. Softirqs take
//!    these, none within another.
//!
//! Packets take none of 1 and 2: they read services, servers and connections under RCU.

use crate::{
    conn::expire_nodest,
    conn::{
        self,
        template::{
            PublishedTemplate,
            Template,
            TEMPLATE_SIZING, //
        },
        Conn,
        ConnTables,
        PublishedConn,
        Tables, //
    },
    ctl::{
        procfs,
        sysctl, //
    },
    defence,
    family::{
        Family,
        V4,
        V6, //
    },
    service::dest::Dest,
    service::sched::sweep::{
        self,
        LblcExpiry, //
    },
    service::trash::Trash, //
    service::Service,
    settings::Settings,
    stats::est::Estimation,
    stats::packet::NetnsStats,
    stats::{
        Stats, //
    },
};
use core::sync::atomic::{
    AtomicU32,
    Ordering::Relaxed, //
};
use ipvs_core::{
    flow::HashKey,
    resize::Limits,
    tcp,
    udp, //
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
    expiring::{
        Quota,
        TableRef, //
    },
    jiffies::HZ,
    module::ModuleRef,
    net::{
        Net,
        OwnNet,
        PerNet,
        Registry, //
    },
    netfilter,
    rcu::{
        self,
        ReadLocked, //
    },
    slab,
    table::{
        Sizing,
        Table, //
    },
    work::{
        Next,
        Run,
        Work, //
    },
};

/// Timeouts by state, in ticks.
pub(crate) struct Timeouts {
    tcp: [AtomicU32; tcp::STATES],
    udp: AtomicU32,
}

impl Timeouts {
    fn new() -> Self {
        Self {
            tcp: tcp::DEFAULT_TIMEOUTS.map(|secs| AtomicU32::new(secs.wrapping_mul(HZ))),
            udp: AtomicU32::new(udp::DEFAULT_TIMEOUT.wrapping_mul(HZ)),
        }
    }

    /// That of a TCP state, in ticks.
    #[inline]
    pub(crate) fn tcp(&self, state: tcp::TcpState) -> u32 {
        self.tcp
            .get(usize::from(state.number()))
            .map_or(0, |ticks| ticks.load(Relaxed))
    }

    /// That of UDP, in ticks.
    #[inline]
    pub(crate) fn udp(&self) -> u32 {
        self.udp.load(Relaxed)
    }

    /// Sets that of a TCP state, in seconds.
    pub(crate) fn set_tcp(&self, state: tcp::TcpState, secs: u32) {
        if let Some(ticks) = self.tcp.get(usize::from(state.number())) {
            ticks.store(secs.wrapping_mul(HZ), Relaxed);
        }
    }

    /// Sets that of UDP, in seconds.
    pub(crate) fn set_udp(&self, secs: u32) {
        self.udp.store(secs.wrapping_mul(HZ), Relaxed);
    }
}

/// How many services of a family there are of each kind: what lets packets skip a search.
#[derive(Default)]
pub(crate) struct ServiceCounts {
    /// By firewall mark.
    pub(crate) fwmark: AtomicU32,
    /// By address.
    pub(crate) addr: AtomicU32,
    /// By address, with port 0.
    pub(crate) any_port: AtomicU32,
    /// With a persistence engine, which makes connections of servers' packets.
    pub(crate) conn_out: AtomicU32,
    /// By address, with the port of FTP, whose data connections go to others.
    pub(crate) ftp: AtomicU32,
}

impl ServiceCounts {
    /// Whether there is none.
    pub(crate) fn none(&self) -> bool {
        self.fwmark.load(Relaxed) == 0 && self.addr.load(Relaxed) == 0
    }
}

/// Services and servers, and what all of them count for.
#[pin_data]
pub(crate) struct ServiceTables {
    /// The services.
    #[pin]
    pub(crate) services: Table<Service>,
    /// The servers of all services, to be found without a walk, and those in the trash.
    #[pin]
    pub(crate) dests: Table<Dest>,
    /// What they all count for.
    #[pin]
    pub(crate) stats: NetnsStats,
}

/// The largest table of services or servers, as a power of two (C: `IP_VS_SVC_TAB_MAX_BITS`).
const MAX_BITS: u32 = 20;

const fn limits(min_bits: u32) -> Limits {
    Limits {
        min_bits,
        roomy_bits: MAX_BITS,
        max_bits: MAX_BITS,
    }
}

/// The smallest table of services, as a power of two (C: `IP_VS_SVC_TAB_MIN_BITS`).
const SERVICE_BITS: u32 = 4;

/// Without services the table starts over: the C module has none then.
const SERVICE_SIZING: Sizing = Sizing {
    initial_bits: SERVICE_BITS,
    wanted: |services, bits, load_factor| match services {
        0 => Some(SERVICE_BITS),
        _ => limits(SERVICE_BITS).wanted(services as u64, bits, load_factor),
    },
};

/// The smallest table of servers, as a power of two.
const DEST_BITS: u32 = 6;

const DEST_SIZING: Sizing = Sizing {
    initial_bits: DEST_BITS,
    wanted: |dests, bits, load_factor| limits(DEST_BITS).wanted(dests as u64, bits, load_factor),
};

impl ServiceTables {
    fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            services <- Table::new(SERVICE_SIZING),
            dests <- Table::new(DEST_SIZING),
            stats <- NetnsStats::new(),
        }? Error)
    }
}

/// Fits the tables of services and servers to their load, and to the load factor that is set.
pub(crate) struct ServiceTablesResize {
    service_tables: Arc<ServiceTables>,
    settings: Arc<Settings>,
}

impl ServiceTablesResize {
    fn new(service_tables: Arc<ServiceTables>, settings: Arc<Settings>) -> Self {
        let new = Self {
            service_tables,
            settings,
        };
        new.take_load_factor();
        new
    }

    fn take_load_factor(&self) {
        let load_factor = self.settings.svc_lfactor.get();
        self.service_tables.services.set_load_factor(load_factor);
    }
}

impl Run for ServiceTablesResize {
    fn run(&self) -> Next {
        self.take_load_factor();
        // Without memory a table stays as it is, longer chains and all.
        let _ = self.service_tables.services.resize();
        let _ = self.service_tables.dests.resize();
        Next::Done
    }
}

/// What users change, besides services and servers themselves.
pub(crate) struct Config {
    /// While there are services for IPv4.
    pub(crate) hooks4: Option<netfilter::Registration>,
    /// While there are services for IPv6, whose packets are whole when they come to the hooks.
    pub(crate) hooks6: Option<(netfilter::Registration, netfilter::Defrag6)>,
    /// One for each service (C: `ip_vs_use_count_inc()`).
    pub(crate) uses: KVec<ModuleRef>,
    /// The namespace dies: nothing can be added any more.
    pub(crate) closed: bool,
}

/// Fits the tables of connections and templates to their load, and to the load factor that is set.
pub(crate) struct ConnResize<F: Family> {
    tables: Tables<F>,
    settings: Arc<Settings>,
}

impl<F: Family> ConnResize<F> {
    fn new(tables: Tables<F>, settings: Arc<Settings>) -> Self {
        let new = Self { tables, settings };
        new.take_load_factor();
        new
    }

    fn take_load_factor(&self) {
        let load_factor = self.settings.conn_lfactor.get();
        self.tables.conns.set_load_factor(load_factor);
        self.tables.templates.set_load_factor(load_factor);
    }
}

impl<F: Family> Run for ConnResize<F> {
    fn run(&self) -> Next {
        self.take_load_factor();
        let Tables { conns, templates } = &self.tables;
        // Without memory a table stays as it is, longer chains and all, until the next try. C waits as
        // long, but tries for each new connection too.
        let resized = [conns.resize(), templates.resize()];
        if resized.iter().any(Result::is_err) {
            return Next::Retry(1);
        }
        let unbalanced = rcu::read(|rcu| conns.unbalanced(rcu) || templates.unbalanced(rcu));
        if self.tables.count() == 0 && !unbalanced {
            return Next::Done;
        }
        // So that they shrink again.
        Next::After(2 * HZ as usize)
    }
}

/// What a namespace has for each family. Fields are dropped in this order.
pub(crate) struct PerFamily<F: Family> {
    /// Resizes the tables.
    pub(crate) conn_resize: Arc<Work<ConnResize<F>>>,
    /// The connections.
    pub(crate) conns: TableRef<Conn<F>>,
    /// Where the clients of persistent services go.
    pub(crate) templates: TableRef<Template<F>>,
    /// What connections are hashed with.
    pub(crate) conn_key: HashKey,
    /// How many services there are.
    pub(crate) service_counts: ServiceCounts,
}

impl<F: Family> PerFamily<F> {
    fn new(caches: &Caches<F>, quota: &Arc<Quota>, settings: &Arc<Settings>) -> Result<Self> {
        let conns = TableRef::new(conn::SIZING, caches.conns.clone(), quota.clone())?;
        let templates = TableRef::new(TEMPLATE_SIZING, caches.templates.clone(), quota.clone())?;
        let tables = Tables {
            conns: conns.clone(),
            templates: templates.clone(),
        };
        Ok(Self {
            conn_resize: Arc::new(
                Work::new(
                    ConnResize::new(tables, settings.clone()),
                    c"ipvs_conn_resize",
                    kernel::static_lock_class!(),
                )?,
                GFP_KERNEL,
            )?,
            conn_key: HashKey::new(*conns.seed()),
            conns,
            templates,
            service_counts: ServiceCounts::default(),
        })
    }

    /// Its tables, to be kept.
    fn tables(&self) -> Tables<F> {
        Tables {
            conns: self.conns.clone(),
            templates: self.templates.clone(),
        }
    }
}

/// The state of a network namespace.
///
/// Fields are dropped in this order: what users and packets come in by is gone first, then what
/// runs by itself, then what it runs on.
#[pin_data]
pub(crate) struct Netns {
    proc_files: procfs::ProcFiles,
    _sysctls: sysctl::Sysctls,
    /// Looks after the memory, while a defence may be wanted.
    _watch: Arc<Work<defence::DefenceWork>>,
    /// What users change.
    #[pin]
    pub(crate) config: Mutex<Config>,
    /// Lets rates go on, from the first service on.
    pub(crate) estimation: Arc<Estimation>,
    /// Resizes the tables of services and servers.
    service_tables_resize: Arc<Work<ServiceTablesResize>>,
    /// Lets schedulers forget, while there are such as remember.
    sweeper: Work<LblcExpiry>,
    /// Ends the connections of removed servers.
    pub(crate) nodest_expiry: Work<expire_nodest::Expiry>,
    /// Servers that were removed while connections were left.
    pub(crate) trash: Trash,
    v4: PerFamily<V4>,
    v6: PerFamily<V6>,
    /// Counts the connections of both, so that there are no more than `conn_max`.
    pub(crate) conn_quota: Arc<Quota>,
    service_tables: Arc<ServiceTables>,
    service_key: HashKey,
    /// How long connections last.
    pub(crate) timeouts: Arc<Timeouts>,
    /// What users set for all of it.
    pub(crate) settings: Arc<Settings>,
    net: OwnNet,
}

static REGISTRY: Registry<Netns> = Registry::new();

/// The caches that the connections and templates of a family come from, in all namespaces.
struct Caches<F: Family> {
    conns: Arc<slab::Cache<PublishedConn<F>>>,
    templates: Arc<slab::Cache<PublishedTemplate<F>>>,
}

impl<F: Family> Caches<F> {
    fn new(conns: &'static CStr, templates: &'static CStr) -> Result<Self> {
        Ok(Self {
            conns: Arc::new(slab::Cache::new(conns)?, GFP_KERNEL)?,
            templates: Arc::new(slab::Cache::new(templates)?, GFP_KERNEL)?,
        })
    }
}

/// What namespaces have in common.
pub(crate) struct Common {
    v4: Caches<V4>,
    v6: Caches<V6>,
    /// How many namespaces there have been (C: `ipvs_netns_cnt`).
    born: AtomicU32,
}

impl Common {
    /// Without connections.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            v4: Caches::new(c"ip_vs_conn", c"ip_vs_template")?,
            v6: Caches::new(c"ip_vs_conn6", c"ip_vs_template6")?,
            born: AtomicU32::new(0),
        })
    }
}

impl PerNet for Netns {
    type Common = Common;

    fn new(net: OwnNet, common: &Common) -> Result<Pin<KBox<Self>>> {
        let service_tables = Arc::pin_init(ServiceTables::new(), GFP_KERNEL)?;
        let conn_quota = Arc::new(Quota::new(), GFP_KERNEL)?;
        let settings = Arc::pin_init(Settings::new(&net), GFP_KERNEL)?;
        let v4 = PerFamily::new(&common.v4, &conn_quota, &settings)?;
        let v6 = PerFamily::new(&common.v6, &conn_quota, &settings)?;
        let timeouts = Arc::new(Timeouts::new(), GFP_KERNEL)?;
        let tables = ConnTables {
            v4: v4.tables(),
            v6: v6.tables(),
        };
        let watch = Arc::new(
            Work::new(
                defence::DefenceWork::new(settings.clone(), timeouts.clone(), tables.clone()),
                c"ipvs_defence",
                kernel::static_lock_class!(),
            )?,
            GFP_KERNEL,
        )?;
        let number = common.born.fetch_add(1, Relaxed);
        let estimation = Arc::pin_init(
            Estimation::new(service_tables.clone(), settings.clone(), number)?,
            GFP_KERNEL,
        )?;
        let service_tables_resize = Arc::new(
            Work::new(
                ServiceTablesResize::new(service_tables.clone(), settings.clone()),
                c"ipvs_model_resize",
                kernel::static_lock_class!(),
            )?,
            GFP_KERNEL,
        )?;
        let ctx = sysctl::SysctlCtx {
            settings: settings.clone(),
            watch: watch.clone(),
            estimation: estimation.clone(),
            conn_resize4: v4.conn_resize.clone(),
            conn_resize6: v6.conn_resize.clone(),
            service_tables_resize: service_tables_resize.clone(),
        };
        KBox::try_pin_init(
            try_pin_init!(Self {
                proc_files: procfs::ProcFiles::new(&net)?,
                _sysctls: sysctl::files(&net, ctx)?,
                config <- new_mutex!(
                    Config {
                        hooks4: None,
                        hooks6: None,
                        uses: KVec::new(),
                        closed: false,
                    },
                    "ipvs_config"
                ),
                _watch: watch,
                estimation,
                service_tables_resize,
                sweeper: Work::new(
                    LblcExpiry(service_tables.clone()),
                    c"ipvs_sweeper",
                    kernel::static_lock_class!(),
                )?,
                nodest_expiry: Work::new(
                    expire_nodest::Expiry(tables),
                    c"ipvs_nodest",
                    kernel::static_lock_class!(),
                )?,
                trash: Trash::new(service_tables.clone())?,
                v4,
                v6,
                conn_quota,
                service_key: HashKey::new(*service_tables.services.seed()),
                service_tables,
                timeouts,
                settings,
                net,
            }? Error),
            GFP_KERNEL,
        )
    }

    fn shut(self: Pin<&Self>) {
        self.close();
    }

    fn registry() -> &'static Registry<Self> {
        &REGISTRY
    }
}

impl Netns {
    /// The state of `net`, or `None` while the namespace is being made or has gone.
    pub(crate) fn of<'rcu>(net: &Net, rcu: ReadLocked<'rcu>) -> Option<Pin<&'rcu Self>> {
        net.get(rcu)
    }

    /// The namespace.
    #[inline]
    pub(crate) fn net(&self) -> &OwnNet {
        &self.net
    }

    /// Services and servers.
    #[inline]
    pub(crate) fn service_tables(&self) -> &ServiceTables {
        &self.service_tables
    }

    /// The same, to be kept.
    pub(crate) fn shared_service_tables(&self) -> &Arc<ServiceTables> {
        &self.service_tables
    }

    /// What there is for IPv4.
    #[inline]
    pub(crate) fn v4(&self) -> &PerFamily<V4> {
        &self.v4
    }

    /// What there is for IPv6.
    #[inline]
    pub(crate) fn v6(&self) -> &PerFamily<V6> {
        &self.v6
    }

    /// What services are hashed with.
    #[inline]
    pub(crate) fn service_key(&self) -> &HashKey {
        &self.service_key
    }

    /// Has the tables of services and servers resized, if their load asks for it.
    pub(crate) fn resize_later(&self) {
        let ServiceTables {
            services, dests, ..
        } = &*self.service_tables;
        if rcu::read(|rcu| services.unbalanced(rcu) || dests.unbalanced(rcu)) {
            self.service_tables_resize.schedule(0);
        }
    }

    /// Lets a service's scheduler forget from time to time, if it remembers.
    pub(crate) fn sweep_later(&self, service: &Service) {
        if service.scheduler.needs_sweeps() {
            self.sweeper.schedule(sweep::PERIOD);
        }
    }

    /// The statistics of the namespace.
    #[inline]
    pub(crate) fn stats(&self) -> &Stats {
        &self.service_tables.stats.total
    }

    /// The tables of connections, to be kept.
    pub(crate) fn conn_tables(&self) -> ConnTables {
        ConnTables {
            v4: self.v4.tables(),
            v6: self.v6.tables(),
        }
    }

    /// Whether there may be one more connection, or template, at this moment.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.conn_quota.taken() < self.conn_max()
    }

    /// How many connections there may be, with templates.
    #[inline]
    pub(crate) fn conn_max(&self) -> usize {
        usize::try_from(self.settings.conn_max.get()).unwrap_or(0)
    }

    /// The number of buckets for connections; see [`conn::table_size`].
    pub(crate) fn conn_table_size(&self) -> u32 {
        let size = conn::table_size(&self.v4.conns, &self.v6.conns);
        u32::try_from(size).unwrap_or(u32::MAX)
    }
}
