// SPDX-License-Identifier: GPL-2.0

//! The connections and templates of a namespace, in tables of each family, and the work that fits
//! those to their load.

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
    rcu, slab,
    work::{
        Next,
        Run,
        Work, //
    },
};

/// The tables of a family in a namespace.
pub(crate) struct Tables<F: Family> {
    pub(crate) conns: TableRef<Conn<F>>,
    pub(crate) templates: TableRef<Template<F>>,
}

impl<F: Family> Tables<F> {
    /// Returns how many connections there are, as users count them: with templates.
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

/// The tables of both families in a namespace.
#[derive(Clone)]
pub(crate) struct ConnTables {
    pub(crate) v4: Tables<V4>,
    pub(crate) v6: Tables<V6>,
}

/// Returns the number of buckets for connections, as users are told: that of the larger table.
pub(crate) fn conn_buckets(v4: &ConnTable<V4>, v6: &ConnTable<V6>) -> usize {
    v4.size().max(v6.size())
}

/// Fits the tables of connections and templates to their load, and to the load factor that is set.
pub(crate) struct ConnResize<F: Family> {
    tables: Tables<F>,
    settings: Arc<Settings>,
}

impl<F: Family> ConnResize<F> {
    /// Makes the work of `tables`.
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

/// Selects the [`PerFamily`] of a family.
pub(super) struct EachFamily;

impl ForEach for EachFamily {
    type For<F: Family> = PerFamily<F>;
}

impl<F: Family> PerFamily<F> {
    /// Makes empty tables, whose entries come from `caches` and count for `quota`.
    pub(crate) fn new(
        caches: &Caches<F>,
        quota: &Arc<Quota>,
        settings: &Arc<Settings>,
    ) -> Result<Self> {
        let conns = TableRef::new(CONN_SIZING, caches.conns.clone(), quota.clone())?;
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

    /// Creates the caches that connections come from, and templates if there will be any. May sleep.
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

    /// Returns its tables, to be kept.
    pub(crate) fn tables(&self) -> Tables<F> {
        Tables {
            conns: self.conns.clone(),
            templates: self.templates.clone(),
        }
    }
}

/// The caches that the connections and templates of a family come from, in all namespaces.
pub(crate) struct Caches<F: Family> {
    conns: Arc<slab::Cache<PublishedConn<F>>>,
    templates: Arc<slab::Cache<PublishedTemplate<F>>>,
}

impl<F: Family> Caches<F> {
    /// Makes caches of these names, without anything in them.
    pub(crate) fn new(conns: &'static CStr, templates: &'static CStr) -> Result<Self> {
        Ok(Self {
            conns: Arc::pin_init(slab::Cache::new(conns), GFP_KERNEL)?,
            templates: Arc::pin_init(slab::Cache::new(templates), GFP_KERNEL)?,
        })
    }
}
