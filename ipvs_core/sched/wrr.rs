// SPDX-License-Identifier: GPL-2.0

//! Weighted round robin (`wrr`): in every cycle, each server gets as many connections as its weight
//! divided by the greatest common divisor of all weights (C: `ip_vs_wrr.c`).
//!
//! A cycle is a series of passes over the servers. Each pass picks the servers whose weight is at
//! least the current weight (C: `cw`). The current weight begins near the greatest weight and
//! decreases by the greatest common divisor from pass to pass. The lowest one of a cycle is 1, so
//! that a server whose weight has just been reduced is not missed.

use super::{
    all,
    compacted,
    tree::{
        MaxWeight,
        Node,
        Tree, //
    },
    walk,
    Server,
    Servers, //
};
use core::ops::DerefMut;

/// The position in the cycle. The caller locks it (C: `struct ip_vs_wrr_mark`).
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// The slot of the server picked last in this pass. `None` at the start of a pass.
    last: Option<usize>,
    /// The weight that a server needs in this pass.
    current_weight: i32,
    weights: Weights,
}

/// The greatest common divisor and the maximum of the weights of all servers.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// The greatest common divisor of the weights above 0; 0 if there are none.
    gcd: i32,
    /// The greatest weight; 0 if none is above 0.
    max: i32,
}

impl Weights {
    /// Creates the value for no servers.
    pub const fn new() -> Self {
        Self { gcd: 0, max: 0 }
    }

    /// Adds the weight of one more server.
    pub fn add(&mut self, weight: i32) {
        if weight > 0 {
            self.gcd = gcd(weight, self.gcd);
            self.max = self.max.max(weight);
        }
    }

    fn of<V: Servers + ?Sized>(servers: &V) -> Self {
        let mut weights = Self::new();
        for server in all(servers) {
            weights.add(server.weight());
        }
        weights
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self::new()
    }
}

fn gcd(a: i32, b: i32) -> i32 {
    let (mut a, mut b) = (a, b);
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    a
}

/// Returns the value of a server in a tree for [`State::pick_with`].
#[inline]
pub fn weight_of<S: Server>(server: &S) -> MaxWeight {
    match u32::try_from(server.weight()) {
        Ok(weight) if !server.overloaded() => MaxWeight(weight),
        _ => MaxWeight::EMPTY,
    }
}

/// A method to find the servers of a pass.
trait Pass {
    type S;

    fn len(&self) -> usize;

    /// Returns the first server in the slots below `end` whose weight is at least `current_weight`,
    /// and its slot. Otherwise returns the greatest weight of available servers, or, if `end` is
    /// below the number of slots, possibly a lower one; 0 if no server is available.
    fn reach(&self, end: usize, current_weight: i32) -> Result<(usize, Self::S), i32>;
}

/// Looks at the servers one by one.
struct LinearPass<'a, V: ?Sized>(&'a V);

impl<V: Servers + ?Sized> Pass for LinearPass<'_, V> {
    type S = V::S;

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn reach(&self, end: usize, current_weight: i32) -> Result<(usize, V::S), i32> {
        let mut greatest = 0;

        for (slot, server) in walk(self.0, 0..end) {
            if server.overloaded() {
                continue;
            }
            let weight = server.weight();
            if weight >= current_weight {
                return Ok((slot, server));
            }
            greatest = greatest.max(weight);
        }
        Err(greatest)
    }
}

/// Looks the servers up in a tree.
struct TreePass<'a, V: ?Sized, B>(&'a V, &'a Tree<B>);

impl<V, B> Pass for TreePass<'_, V, B>
where
    V: Servers + ?Sized,
    B: DerefMut<Target = [MaxWeight]>,
{
    type S = V::S;

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn reach(&self, end: usize, current_weight: i32) -> Result<(usize, V::S), i32> {
        let Self(servers, tree) = self;
        // The current weight is above 0.
        let wanted = |node: MaxWeight| i64::from(node.0) >= i64::from(current_weight.max(1));
        let mut end = end;
        while let Some(slot) = tree.highest_below(end, wanted) {
            if let Some(server) = servers.get(slot) {
                return Ok((slot, server));
            }
            end = slot;
        }
        Err(i32::try_from(tree.root().0).unwrap_or(i32::MAX))
    }
}

impl State {
    /// Creates the state of a service that has no servers yet.
    pub const fn new() -> Self {
        Self {
            last: None,
            current_weight: 0,
            weights: Weights::new(),
        }
    }

    /// Creates the state of a service that changes to this scheduler and already has servers.
    pub fn with_servers<V: Servers + ?Sized>(servers: &V) -> Self {
        Self::with_weights(Weights::of(servers))
    }

    /// Creates the state for servers with these weights.
    pub fn with_weights(weights: Weights) -> Self {
        let mut state = Self {
            weights,
            ..Self::new()
        };
        state.current_weight = state.top();
        state
    }

    /// Returns the difference of the current weight between passes.
    #[inline]
    fn step(&self) -> i32 {
        self.weights.gcd.max(1)
    }

    /// Returns the current weight of a cycle's first pass; 0 if no server has a weight above 0.
    #[inline]
    fn top(&self) -> i32 {
        // No wrapping: 1 <= gcd <= max, or both are 0.
        self.weights.max.wrapping_sub(self.step().wrapping_sub(1))
    }

    /// Restarts the pass with a current weight that fits the weights.
    fn restart(&mut self) {
        let (step, top) = (self.step(), self.top());

        self.last = None;
        if self.current_weight > top || self.current_weight <= 0 {
            self.current_weight = top;
        } else if let (true, Some(steps)) = (step > 1, self.current_weight.checked_div(step)) {
            self.current_weight = steps.wrapping_mul(step).wrapping_add(1);
        }
    }

    /// Updates the state after a server was added, by its weight. Takes constant time.
    pub fn added(&mut self, weight: i32) {
        self.weights.add(weight);
        self.restart();
    }

    /// Updates the state after a server was removed or edited. `servers` are the servers as they
    /// are now.
    pub fn changed<V: Servers + ?Sized>(&mut self, servers: &V) {
        self.changed_to(Weights::of(servers));
    }

    /// Updates the state after a server was removed or edited, by the weights that the servers have
    /// now. Takes constant time.
    pub fn changed_to(&mut self, weights: Weights) {
        self.weights = weights;
        self.restart();
    }

    /// Updates the position before empty slots are removed. `servers` are the servers before that.
    pub fn compacted<V: Servers + ?Sized>(&mut self, servers: &V) {
        self.last = self.last.map(|last| compacted(servers, last));
    }

    /// Picks the next server of the cycle. `None` if none is available.
    ///
    /// Passes that can't pick a server are skipped: each server is looked at three times at most,
    /// whatever the weights are. In a pass that picks many servers, each pick continues where the
    /// last one stopped.
    pub fn pick<V: Servers + ?Sized>(&mut self, servers: &V) -> Option<V::S> {
        self.pick_from(&LinearPass(servers))
    }

    /// Picks the next server as [`State::pick`] does, by a tree that has [`weight_of`] each server
    /// in its slot. No pass looks at more servers than the tree is high.
    pub fn pick_with<V, B>(&mut self, servers: &V, tree: &Tree<B>) -> Option<V::S>
    where
        V: Servers + ?Sized,
        B: DerefMut<Target = [MaxWeight]>,
    {
        self.pick_from(&TreePass(servers, tree))
    }

    /// Makes a pass over the slots below `end`; see [`Pass::reach`].
    #[inline]
    fn pass<P: Pass>(&mut self, servers: &P, end: usize) -> Result<P::S, i32> {
        let (slot, server) = servers.reach(end, self.current_weight)?;
        self.last = Some(slot);
        Ok(server)
    }

    #[inline]
    fn pick_from<P: Pass>(&mut self, servers: &P) -> Option<P::S> {
        if self.weights.max <= 0 {
            return None;
        }
        let len = servers.len();
        let (last, current_weight, step, top) =
            (self.last, self.current_weight, self.step(), self.top());

        if let Ok(server) = self.pass(servers, last.unwrap_or(len).min(len)) {
            return Some(server);
        }

        // The next pass, over all servers.
        self.current_weight = current_weight.wrapping_sub(step);
        if self.current_weight <= 0 {
            self.current_weight = top;
        }
        let greatest = match self.pass(servers, len) {
            Ok(server) => return Some(server),
            Err(greatest) => greatest,
        };

        // Skip to the next pass that finds a server. The current weight is 1 above a multiple of
        // the step, so it is not below 1 afterwards.
        if greatest > 0 {
            let above = self.current_weight.wrapping_sub(greatest);
            let steps = above
                .wrapping_add(step.wrapping_sub(1))
                .checked_div(step)
                .unwrap_or(0);
            self.current_weight = self
                .current_weight
                .wrapping_sub(steps.wrapping_mul(step))
                .max(1);
            if let Ok(server) = self.pass(servers, len) {
                return Some(server);
            }
        }

        // No server was found. A pass that was under way with the lowest current weight continues
        // where it was; otherwise a new cycle begins.
        (self.last, self.current_weight) = match last {
            Some(last) if current_weight <= step => (Some(last), current_weight),
            _ => (None, top),
        };
        None
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::testing::{
        weighted,
        Fake, //
    };

    fn picks(state: &mut State, servers: &[Option<Fake>], n: usize) -> Vec<u32> {
        (0..n).map(|_| state.pick(servers).unwrap().id).collect()
    }

    #[test]
    fn gives_each_server_its_share_of_a_cycle() {
        let servers = weighted(&[2, 4, 6]);
        let mut state = State::with_servers(&servers[..]);
        let picks = picks(&mut state, &servers, 12);
        // Current weights of 5, 3, 1.
        assert_eq!(picks, [2, 2, 1, 2, 1, 0, 2, 2, 1, 2, 1, 0]);
    }

    #[test]
    fn begins_with_the_newest_of_equal_servers() {
        let servers = weighted(&[1, 1, 1]);
        let mut state = State::with_servers(&servers[..]);
        assert_eq!(picks(&mut state, &servers, 4), [2, 1, 0, 2]);
    }

    #[test]
    fn adding_one_by_one_is_like_measuring_all() {
        let weights = [12, 18, 0, 30, 6];
        let mut state = State::new();
        for weight in weights {
            state.added(weight);
        }
        let all = State::with_servers(&weighted(&weights)[..]);
        let Weights { gcd, max } = all.weights;
        assert_eq!((state.weights.gcd, state.weights.max), (gcd, max));
        assert_eq!((gcd, max), (6, 30));
    }

    #[test]
    fn finds_nothing_where_there_is_nothing() {
        let mut state = State::new();
        assert_eq!(state.pick(&weighted(&[])[..]), None);
        state.added(0);
        assert_eq!(state.pick(&weighted(&[0])[..]), None);
    }

    #[test]
    fn extreme_weights_cost_no_time() {
        let mut servers = weighted(&[1, i32::MAX]);
        let mut state = State::with_servers(&servers[..]);
        assert_eq!(picks(&mut state, &servers, 2), [1, 1]);
        servers[1].as_mut().unwrap().overloaded = true;
        assert_eq!(picks(&mut state, &servers, 3), [0, 0, 0]);
        servers[0].as_mut().unwrap().overloaded = true;
        assert_eq!(state.pick(&servers[..]), None);
        let single = weighted(&[i32::MAX]);
        let mut state = State::with_servers(&single[..]);
        assert_eq!(picks(&mut state, &single, 2), [0, 0]);
    }
}
