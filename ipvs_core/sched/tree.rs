// SPDX-License-Identifier: GPL-2.0

//! A tournament tree over the servers of a service: the best server is known at the root, and a
//! change of one server costs a walk from its leaf to the root.
//!
//! Leaf `n` stands for slot `n`. An inner node has what [`Node::join`] returns for its two
//! children. The caller provides the storage: `2 * size` nodes, where `size` is a power of two, all
//! [`Node::EMPTY`] at first.

use core::ops::DerefMut;

/// The value of a node: what the tree knows about a slot, or about adjacent slots together.
pub trait Node: Copy + PartialEq {
    /// The value of an empty slot, and of a server that gets no connections.
    const EMPTY: Self;

    /// Joins the values of two siblings. `higher` has the higher slots, which come first.
    fn join(lower: Self, higher: Self) -> Self;
}

/// The tree.
#[derive(Debug)]
pub struct Tree<B> {
    nodes: B,
}

impl<N: Node, B: DerefMut<Target = [N]>> Tree<B> {
    const ROOT: usize = 1;

    /// Returns the number of nodes of a tree for `slots` slots.
    pub fn nodes_for(slots: usize) -> usize {
        slots
            .checked_next_power_of_two()
            .map_or(usize::MAX, |size| size.saturating_mul(2))
    }

    /// Creates a tree on [`Tree::nodes_for`] nodes that are [`Node::EMPTY`].
    pub fn new(nodes: B) -> Self {
        Self { nodes }
    }

    /// Returns the number of slots that the tree has room for.
    #[inline]
    pub fn size(&self) -> usize {
        self.nodes.len() >> 1
    }

    #[inline]
    fn node(&self, at: usize) -> N {
        self.nodes.get(at).copied().unwrap_or(N::EMPTY)
    }

    /// Returns the joined value of all slots.
    #[inline]
    pub fn root(&self) -> N {
        self.node(Self::ROOT)
    }

    /// Sets the value of `slot` and updates its ancestors. Does nothing if the tree has no room for
    /// the slot.
    #[inline]
    pub fn set(&mut self, slot: usize, node: N) {
        let size = self.size();
        if slot >= size {
            return;
        }
        let mut at = size.wrapping_add(slot);
        let mut now = node;
        loop {
            match self.nodes.get_mut(at) {
                // The ancestors do not change, either.
                Some(old) if *old == now => return,
                Some(old) => *old = now,
                None => return,
            }
            at >>= 1;
            if at < Self::ROOT {
                return;
            }
            now = self.joined(at);
        }
    }

    #[inline]
    fn joined(&self, at: usize) -> N {
        let lower = at.wrapping_mul(2);
        match self.nodes.get(lower..).and_then(<[N]>::first_chunk) {
            Some(&[lower, higher]) => N::join(lower, higher),
            None => N::EMPTY,
        }
    }

    /// Returns the highest slot below `end` whose value `wanted` accepts. `wanted` must accept an
    /// inner node if and only if it accepts one of its children.
    #[inline]
    pub fn highest_below(&self, end: usize, wanted: impl Fn(N) -> bool) -> Option<usize> {
        let size = self.size();
        if size == 0 {
            return None;
        }
        if end >= size {
            return wanted(self.root()).then(|| self.descend(Self::ROOT, wanted));
        }
        let mut at = size.wrapping_add(end);
        while at > Self::ROOT {
            // The node just below a higher child is its lower sibling.
            if at & 1 == 1 && wanted(self.node(at ^ 1)) {
                return Some(self.descend(at ^ 1, wanted));
            }
            at >>= 1;
        }
        None
    }

    /// Returns the highest slot under the node `at` that `wanted` accepts, which must accept `at`.
    #[inline]
    fn descend(&self, mut at: usize, wanted: impl Fn(N) -> bool) -> usize {
        let size = self.size();
        while at < size {
            let higher = at.wrapping_mul(2) | 1;
            at = if wanted(self.node(higher)) {
                higher
            } else {
                higher ^ 1
            };
        }
        at.wrapping_sub(size)
    }

    /// Descends from the root to a slot and returns it. At each inner node, `step` gets the value
    /// of the higher child and returns `true` to go there, `false` to go to the lower child. `None`
    /// if there is no slot.
    #[inline]
    pub fn walk(&self, mut step: impl FnMut(N) -> bool) -> Option<usize> {
        let size = self.size();
        let mut at = Self::ROOT;
        while at < size {
            let higher = at.wrapping_mul(2) | 1;
            at = if step(self.node(higher)) {
                higher
            } else {
                higher ^ 1
            };
        }
        at.checked_sub(size).filter(|_| size > 0)
    }
}

/// The greatest weight of any server; 0 if there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaxWeight(pub u32);

impl Node for MaxWeight {
    const EMPTY: Self = Self(0);

    #[inline]
    fn join(lower: Self, higher: Self) -> Self {
        Self(lower.0.max(higher.0))
    }
}

/// The sum of the servers' weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WeightSum(pub u64);

impl Node for WeightSum {
    const EMPTY: Self = Self(0);

    #[inline]
    fn join(lower: Self, higher: Self) -> Self {
        Self(lower.0.wrapping_add(higher.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_knows_every_slot() {
        let mut tree = Tree::new(vec![WeightSum::EMPTY; Tree::<Vec<WeightSum>>::nodes_for(5)]);
        assert_eq!(tree.size(), 8);
        for slot in 0..8 {
            tree.set(slot, WeightSum(1 << slot));
        }
        assert_eq!(tree.root(), WeightSum(255));
        tree.set(3, WeightSum(0));
        assert_eq!(tree.root(), WeightSum(247));
        tree.set(8, WeightSum(1));
        assert_eq!(tree.root(), WeightSum(247));
    }

    #[test]
    fn finds_the_highest_slot_below_another() {
        let mut tree = Tree::new(vec![MaxWeight::EMPTY; 16]);
        for (slot, weight) in [3, 9, 1, 0, 7, 2, 9, 0].into_iter().enumerate() {
            tree.set(slot, MaxWeight(weight));
        }
        let below = |end, bar| tree.highest_below(end, |node| node.0 >= bar);
        for (end, bar, wanted) in [
            (8, 9, Some(6)),
            (99, 9, Some(6)),
            (6, 9, Some(1)),
            (1, 9, None),
            (8, 10, None),
            (0, 1, None),
            (5, 5, Some(4)),
            (4, 2, Some(1)),
            (1, 3, Some(0)),
        ] {
            assert_eq!(below(end, bar), wanted, "{end} {bar}");
        }
        assert_eq!(tree.highest_below(0, |_| true), None);
    }

    #[test]
    fn a_tree_of_one_slot_works() {
        let mut tree = Tree::new(vec![MaxWeight::EMPTY; Tree::<Vec<MaxWeight>>::nodes_for(0)]);
        assert_eq!(tree.highest_below(1, |node| node.0 > 0), None);
        tree.set(0, MaxWeight(5));
        assert_eq!(tree.highest_below(1, |node| node.0 > 0), Some(0));
        assert_eq!(tree.walk(|_| true), Some(0));
    }

    #[test]
    fn a_tree_without_nodes_knows_nothing() {
        let mut tree = Tree::new(Vec::<WeightSum>::new());
        tree.set(0, WeightSum(1));
        assert_eq!(tree.root(), WeightSum(0));
        assert_eq!(tree.walk(|_| true), None);
        assert_eq!(tree.highest_below(1, |_| true), None);
    }

    thread_local! {
        static JOINS: core::cell::Cell<u32> = const { core::cell::Cell::new(0) };
    }

    /// A node that counts what trees cost.
    #[derive(Clone, Copy, PartialEq)]
    struct Counted(u32);

    impl Node for Counted {
        const EMPTY: Self = Self(0);

        fn join(lower: Self, higher: Self) -> Self {
            JOINS.set(JOINS.get() + 1);
            Self(lower.0.max(higher.0))
        }
    }

    #[test]
    fn a_change_goes_up_no_further_than_it_changes_something() {
        let mut tree = Tree::new(vec![Counted::EMPTY; 16]);
        let mut joins = |slot, weight| {
            JOINS.set(0);
            tree.set(slot, Counted(weight));
            JOINS.get()
        };
        assert_eq!(joins(5, 7), 3);
        assert_eq!(joins(5, 7), 0);
        // Its neighbour is heavier.
        assert_eq!(joins(4, 3), 1);
        assert_eq!(joins(6, 5), 2);
    }
}
