// SPDX-License-Identifier: GPL-2.0

//! Round robin (`rr`): all available servers in turn, regardless of their weights (C:
//! `ip_vs_rr.c`).

use super::{
    compacted,
    predecessor,
    walk,
    Server,
    Servers, //
};

/// The position of the scheduler. The caller locks it.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    /// The slot of the server picked last. `None` before the first pick.
    last: Option<usize>,
}

impl State {
    /// Creates the state of a new service.
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// Picks the next available server after the one picked last. `None` if there is none.
    #[inline]
    pub fn pick<V: Servers + ?Sized>(&mut self, servers: &V) -> Option<V::S> {
        let len = servers.len();
        let last = self.last.map_or(len, |last| last.min(len));
        let (slot, server) = walk(servers, 0..last)
            .chain(walk(servers, last..len))
            .find(|(_, server)| server.available())?;

        self.last = Some(slot);
        Some(server)
    }

    /// Updates the position after a server was removed. `servers` are the remaining ones, `slot` is
    /// the slot that is empty now.
    ///
    /// No call is needed when servers are added or weights change.
    pub fn removed<V: Servers + ?Sized>(&mut self, servers: &V, slot: usize) {
        if self.last == Some(slot) {
            self.last = predecessor(servers, slot);
        }
    }

    /// Updates the position before empty slots are removed. `servers` are the servers before that.
    pub fn compacted<V: Servers + ?Sized>(&mut self, servers: &V) {
        self.last = self.last.map(|last| compacted(servers, last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::testing::weighted;

    #[test]
    fn takes_turns_from_the_newest() {
        let servers = weighted(&[1, 5, 1]);
        let mut state = State::new();
        let picks: Vec<_> = (0..7)
            .map(|_| state.pick(&servers[..]).unwrap().id)
            .collect();
        assert_eq!(picks, [2, 1, 0, 2, 1, 0, 2]);
    }

    #[test]
    fn skips_servers_that_take_no_connections() {
        let mut servers = weighted(&[1, 0, 1, 1]);
        servers[2].as_mut().unwrap().overloaded = true;
        let mut state = State::new();
        let picks: Vec<_> = (0..4)
            .map(|_| state.pick(&servers[..]).unwrap().id)
            .collect();
        assert_eq!(picks, [3, 0, 3, 0]);
    }

    #[test]
    fn finds_nothing_where_there_is_nothing() {
        let mut state = State::new();
        assert_eq!(state.pick(&weighted(&[])[..]), None);
        assert_eq!(state.pick(&weighted(&[0, 0])[..]), None);
    }

    #[test]
    fn goes_on_after_a_removed_server() {
        let mut servers = weighted(&[1, 1, 1]);
        let mut state = State::new();
        assert_eq!(state.pick(&servers[..]).unwrap().id, 2);
        // The newest server is removed. The one added instead is the newest, and next.
        servers[2] = None;
        state.removed(&servers[..], 2);
        servers.push(weighted(&[1])[0]);
        assert_eq!(state.pick(&servers[..]).unwrap().id, 0);
        assert_eq!(state.pick(&servers[..]).unwrap().id, 1);
    }
}
