// SPDX-License-Identifier: GPL-2.0

//! The connection and template tables of a namespace, and the work item that resizes them.

use super::services::ServiceCounts;
use crate::{
    conn::{
        sizing::{
            CONN_SIZING,
            TEMPLATE_SIZING, //
        },
        template::{
            PublishedTemplate,
            Template, //
        },
        Conn,
        ConnTable,
        Owner,
        PublishedConn, //
    },
    family::{
        Family,
        ForEach,
        V4,
        V6, //
    },
    settings::Settings, //
};
use ipvs_core::flow::HashKey;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    expiring::{
        Quota,
        TableRef, //
    },
    jiffies::HZ,
    net::WeakNet,
    rcu, slab,
    work::{
        Next,
        Run,
        Work, //
    },
};

/// Counted references to the tables of an address family in a namespace.
pub(crate) struct Tables<F: Family> {
    pub(crate) conns: TableRef<Conn<F>>,
    pub(crate) templates: TableRef<Template<F>>,
}

impl<F: Family> Tables<F> {
    /// Returns the number of connections and templates together, as shown to users.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.conns.count().saturating_add(self.templates.count())
    }
}

impl<F: Family> Clone for Tables<F> {
    fn clone(&self) -> Self {
        Self {
            conns: self.conns.clone(),
            templates: self.templates.clone(),
        }
    }
}

/// Counted references to the tables of both address families in a namespace.
#[derive(Clone)]
pub(crate) struct ConnTables {
    pub(crate) v4: Tables<V4>,
    pub(crate) v6: Tables<V6>,
}

/// Returns the number of buckets for connections, as shown to users: that of the larger table.
pub(crate) fn conn_buckets(v4: &ConnTable<V4>, v6: &ConnTable<V6>) -> usize {
    v4.size().max(v6.size())
}

/// The work item that resizes the connection and template tables of an address family by their load
/// and the sysctl `conn_lfactor`. C: `conn_resize_work_handler()`.
pub(crate) struct ConnResize<F: Family> {
    tables: Tables<F>,
    settings: Arc<Settings>,
}

impl<F: Family> ConnResize<F> {
    /// Makes the work item for `tables`.
    pub(crate) fn new(tables: Tables<F>, settings: Arc<Settings>) -> Self {
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
        // Without memory a table keeps its size, and its chains grow longer, until the next try. C
        // waits as long, but tries for each new connection too.
        let resized = [conns.resize(), templates.resize()];
        if resized.iter().any(Result::is_err) {
            return Next::Retry(1);
        }
        let unbalanced = rcu::read(|rcu| conns.unbalanced(rcu) || templates.unbalanced(rcu));
        if self.tables.count() == 0 && !unbalanced {
            return Next::Done;
        }
        // Check again later, so that the tables shrink when connections end.
        Next::After(2 * HZ as usize)
    }
}

/// The state of an address family in a namespace. Fields are dropped in this order.
pub(crate) struct PerFamily<F: Family> {
    /// The work item that resizes the tables.
    pub(crate) conn_resize: Arc<Work<ConnResize<F>>>,
    /// The connections.
    pub(crate) conns: TableRef<Conn<F>>,
    /// The templates of persistent services.
    pub(crate) templates: TableRef<Template<F>>,
    /// The key of the hash function for connections.
    pub(crate) conn_key: HashKey,
    /// The numbers of services.
    pub(crate) service_counts: ServiceCounts,
}

/// Selects the [`PerFamily`] of a family.
pub(super) struct EachFamily;

impl ForEach for EachFamily {
    type For<F: Family> = PerFamily<F>;
}

impl<F: Family> PerFamily<F> {
    /// Makes the empty tables of `net`, whose entries are allocated from `caches` and counted in
    /// `quota`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(
        caches: &Caches<F>,
        quota: &Arc<Quota>,
        settings: &Arc<Settings>,
        net: WeakNet,
    ) -> Result<Self> {
        let owner = Owner::new(net);
        let conns = TableRef::new(CONN_SIZING, caches.conns.clone(), quota.clone(), owner)?;
        let templates =
            TableRef::new(TEMPLATE_SIZING, caches.templates.clone(), quota.clone(), ())?;
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

    /// Creates the slab cache for connections, and with `persistent` that for templates, unless
    /// they exist.
    ///
    /// # Context
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn prepare(&self, persistent: bool) -> Result {
        self.conns.prepare()?;
        if persistent {
            self.templates.prepare()?;
        }
        Ok(())
    }

    /// Returns counted references to the tables.
    pub(crate) fn tables(&self) -> Tables<F> {
        Tables {
            conns: self.conns.clone(),
            templates: self.templates.clone(),
        }
    }
}

/// The slab caches for connections and templates of an address family, shared by all namespaces. C:
/// `ip_vs_conn_cachep`.
pub(crate) struct Caches<F: Family> {
    conns: Arc<slab::Cache<PublishedConn<F>>>,
    templates: Arc<slab::Cache<PublishedTemplate<F>>>,
}

impl<F: Family> Caches<F> {
    /// Makes caches with these names. The slabs themselves are created by [`PerFamily::prepare`].
    pub(crate) fn new(conns: &'static CStr, templates: &'static CStr) -> Result<Self> {
        Ok(Self {
            conns: Arc::pin_init(slab::Cache::new(conns), GFP_KERNEL)?,
            templates: Arc::pin_init(slab::Cache::new(templates), GFP_KERNEL)?,
        })
    }
}
