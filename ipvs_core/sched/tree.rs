// SPDX-License-Identifier: GPL-2.0

//! A tournament among the servers of a service: who is best is known at once, and a change of one
//! server costs a walk from its leaf to the root.
//!
//! Leaf `n` stands for slot `n`; a node of two others says about both what [`Node::join`] makes of
//! them. Storage is the caller's: `2 * size` nodes, where `size` is a power of two, all
//! [`Node::EMPTY`] at first.

use core::ops::DerefMut;

/// What the tree knows about a slot, or about several that lie side by side.
pub trait Node: Copy + PartialEq {
    /// That of an empty slot, and of a server that does not take part.
    const EMPTY: Self;

    /// That of two neighbours together. `higher` has the higher slots, which come first.
    fn join(lower: Self, higher: Self) -> Self;
}

/// The tree.
#[derive(Debug)]
pub struct Tree<B> {
    nodes: B,
}

impl<N: Node, B: DerefMut<Target = [N]>> Tree<B> {
    const ROOT: usize = 1;

    /// How many nodes a tree for so many slots needs.
    pub fn nodes_for(slots: usize) -> usize {
        slots
            .checked_next_power_of_two()
            .map_or(usize::MAX, |size| size.saturating_mul(2))
    }

    /// A tree on nodes that are [`Node::EMPTY`], as many as [`Tree::nodes_for`] says.
    pub fn new(nodes: B) -> Self {
        Self { nodes }
    }

    /// How many slots there is room for.
    #[inline]
    pub fn size(&self) -> usize {
        self.nodes.len() >> 1
    }

    #[inline]
    fn node(&self, at: usize) -> N {
        self.nodes.get(at).copied().unwrap_or(N::EMPTY)
    }

    /// What there is to know about all slots.
    #[inline]
    pub fn root(&self) -> N {
        self.node(Self::ROOT)
    }

    /// Says what is true of `slot` from now on. Slots that there is no room for are ignored.
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
                // Nor does anything change further up.
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

    /// The highest slot below `end` that `wanted` accepts; it must accept a node of two just if it
    /// accepts one of them.
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
            // What lies right below a higher neighbour is the lower one.
            if at & 1 == 1 && wanted(self.node(at ^ 1)) {
                return Some(self.descend(at ^ 1, wanted));
            }
            at >>= 1;
        }
        None
    }

    /// The highest slot under the node `at` that `wanted` accepts, which accepts the node.
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

    /// The slot at which a walk from the highest slot ends that `step` leads: it gets what is known
    /// of the higher ones of the slots in question, and says whether to go there; if not, to the
    /// lower ones. `None` if there is no slot.
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

/// The weight of the heaviest server, 0 if there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heaviest(pub u32);

impl Node for Heaviest {
    const EMPTY: Self = Self(0);

    #[inline]
    fn join(lower: Self, higher: Self) -> Self {
        Self(lower.0.max(higher.0))
    }
}

/// The sum of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(pub u64);

impl Node for Sum {
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
        let mut tree = Tree::new(vec![Sum::EMPTY; Tree::<Vec<Sum>>::nodes_for(5)]);
        assert_eq!(tree.size(), 8);
        for slot in 0..8 {
            tree.set(slot, Sum(1 << slot));
        }
        assert_eq!(tree.root(), Sum(255));
        tree.set(3, Sum(0));
        assert_eq!(tree.root(), Sum(247));
        tree.set(8, Sum(1));
        assert_eq!(tree.root(), Sum(247));
    }

    #[test]
    fn finds_the_highest_slot_below_another() {
        let mut tree = Tree::new(vec![Heaviest::EMPTY; 16]);
        for (slot, weight) in [3, 9, 1, 0, 7, 2, 9, 0].into_iter().enumerate() {
            tree.set(slot, Heaviest(weight));
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
        let mut tree = Tree::new(vec![Heaviest::EMPTY; Tree::<Vec<Heaviest>>::nodes_for(0)]);
        assert_eq!(tree.highest_below(1, |node| node.0 > 0), None);
        tree.set(0, Heaviest(5));
        assert_eq!(tree.highest_below(1, |node| node.0 > 0), Some(0));
        assert_eq!(tree.walk(|_| true), Some(0));
    }

    #[test]
    fn a_tree_without_nodes_knows_nothing() {
        let mut tree = Tree::new(Vec::<Sum>::new());
        tree.set(0, Sum(1));
        assert_eq!(tree.root(), Sum(0));
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
