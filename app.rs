// SPDX-License-Identifier: GPL-2.0

//! Applications, which say addresses in their connections. There is one: FTP, whose module
//! (`modules/ip_vs_ftp.c`) registers its ports in all namespaces. C: `ip_vs_app.c`.
//!
//! A connection to a port that is registered is bound to the application when it is made, and keeps the
//! module until its memory is freed.

pub(crate) mod ftp;

use ipvs_core::net::Be16;
use kernel::sync::Arc;
use linux::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    nf_nat::{
        Mangler,
        ManglerRef,
        Registry,
        MAX_PORTS, //
    },
    rcu::ReadLocked, //
};

/// The module of FTP, while it is loaded.
static FTP: Registry = Registry::new();

/// The number of connections of a namespace that are bound, for each place in [`Mangler::ports`]. C:
/// `usecnt` of `struct ip_vs_app`.
#[derive(Default)]
pub(crate) struct Uses([Atomic<u32>; MAX_PORTS]);

/// Returns the registered ports with their places, the last one first as in the C module.
fn ports(mangler: &Mangler) -> impl Iterator<Item = (usize, Be16)> + '_ {
    (0..MAX_PORTS)
        .rev()
        .filter_map(|place| match mangler.ports().get(place) {
            None | Some(0) => None,
            Some(&port) => Some((place, Be16::new(port))),
        })
}

/// Calls `show` for each registered port with the number of connections that are bound.
pub(crate) fn for_each(uses: &Uses, rcu: ReadLocked<'_>, mut show: impl FnMut(Be16, u32)) {
    let Some(mangler) = FTP.get(rcu) else {
        return;
    };
    for (place, port) in ports(mangler) {
        let count = uses.0.get(place).map_or(0, |count| count.load(Relaxed));
        show(port, count);
    }
}

/// A connection's use of the application. C: `cp->app`.
pub(crate) struct Bound {
    mangler: ManglerRef,
    uses: Arc<Uses>,
    place: usize,
}

impl Bound {
    /// Binds a TCP connection to the virtual port `vport`, if that is registered and the module is not
    /// about to be unloaded. C: `tcp_app_conn_bind()`.
    #[inline]
    pub(crate) fn new(uses: &Arc<Uses>, vport: Be16, rcu: ReadLocked<'_>) -> Option<Self> {
        FTP.get(rcu)
            .and_then(|mangler| Self::to(mangler, uses, vport))
    }

    #[cold]
    fn to(mangler: &Mangler, uses: &Arc<Uses>, vport: Be16) -> Option<Self> {
        let (place, _) = ports(mangler).find(|&(_, port)| port == vport)?;
        let bound = Self {
            mangler: mangler.hold()?,
            uses: uses.clone(),
            place,
        };
        if let Some(count) = uses.0.get(place) {
            count.fetch_add(1, Relaxed);
        }
        Some(bound)
    }

    /// Returns the functions of the module.
    pub(crate) fn mangler(&self) -> &ManglerRef {
        &self.mangler
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some(count) = self.uses.0.get(self.place) {
            count.fetch_sub(1, Relaxed);
        }
    }
}
