// SPDX-License-Identifier: GPL-2.0

//! Tests that the schedulers make the same choices as those of the C module, while servers change.
//!
//! The model keeps the servers as the C module does: in a list with the newest at its head, in
//! which the position of a scheduler is a server or the head.

mod common;

use common::holds;
use ipvs_core::sched::{
    least::Load,
    rr,
    tree::{
        MaxWeight,
        Node,
        Tree, //
        WeightSum,
    },
    twos,
    wrr,
    LeastLoad,
    Server,
    Servers, //
};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::TestCaseResult, //
};

const CASES: u32 = 2000;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Dest {
    id: u32,
    weight: i32,
    active: u32,
    inactive: u32,
    overloaded: bool,
}

impl Server for Dest {
    fn weight(&self) -> i32 {
        self.weight
    }

    fn active(&self) -> u32 {
        self.active
    }

    fn inactive(&self) -> u32 {
        self.inactive
    }

    fn overloaded(&self) -> bool {
        self.overloaded
    }
}

#[derive(Default)]
struct Slots(Vec<Option<Dest>>);

impl Servers for Slots {
    type S = Dest;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, slot: usize) -> Option<Dest> {
        self.0.get(slot).copied().flatten()
    }
}

/// The C module's list of servers and the state of its schedulers.
#[derive(Default)]
struct Model {
    /// The servers, head of the list first.
    list: Vec<Dest>,
    rr: Option<u32>,
    wrr: Option<u32>,
    cw: i32,
    mw: i32,
    di: i32,
}

impl Model {
    /// Returns the servers behind a position.
    fn behind(&self, position: Option<u32>) -> Vec<Dest> {
        let from = match position {
            None => 0,
            Some(id) => 1 + self.list.iter().position(|dest| dest.id == id).unwrap(),
        };
        self.list[from..].to_vec()
    }

    fn rr(&mut self) -> Option<u32> {
        let round = self.behind(self.rr).into_iter().chain(self.list.clone());
        for dest in round {
            if dest.weight > 0 && !dest.overloaded {
                self.rr = Some(dest.id);
                return self.rr;
            }
        }
        None
    }

    fn removed(&mut self, id: u32) {
        let at = self.list.iter().position(|dest| dest.id == id).unwrap();
        if self.rr == Some(id) {
            self.rr = at.checked_sub(1).map(|before| self.list[before].id);
        }
        self.list.remove(at);
    }

    fn wrr_measure(&mut self) {
        fn gcd(a: i32, b: i32) -> i32 {
            if b == 0 {
                a
            } else {
                gcd(b, a % b)
            }
        }
        let weights = || self.list.iter().map(|dest| dest.weight).filter(|&w| w > 0);
        self.di = weights().fold(0, gcd).max(1);
        self.mw = weights().max().unwrap_or(0) - (self.di - 1);
    }

    fn wrr_changed(&mut self) {
        self.wrr_measure();
        self.wrr = None;
        if self.cw > self.mw || self.cw == 0 {
            self.cw = self.mw;
        } else if self.di > 1 {
            self.cw = self.cw / self.di * self.di + 1;
        }
    }

    /// Goes pass by pass, lowering the current weight by one step each time.
    fn wrr(&mut self) -> Option<u32> {
        if self.mw == 0 {
            return None;
        }
        let started = self.wrr;
        let (mut position, mut end) = (self.wrr, None);
        let (mut whole_last_pass, mut wrapped) = (false, false);
        loop {
            for dest in self.behind(position) {
                if !dest.overloaded && dest.weight >= self.cw {
                    self.wrr = Some(dest.id);
                    return self.wrr;
                }
                if end == Some(dest.id) {
                    self.wrr = end;
                    return None;
                }
            }
            position = None;
            self.cw -= self.di;
            if self.cw <= 0 {
                self.cw = self.mw;
                if whole_last_pass || started.is_none() {
                    self.wrr = None;
                    return None;
                }
                wrapped = true;
            }
            whole_last_pass = self.cw <= self.di;
            if whole_last_pass && wrapped {
                end = started;
            }
        }
    }

    /// Returns the first server that no other beats, among those that take part. `beats` gets the
    /// later one first.
    fn best(
        &self,
        takes_part: impl Fn(&Dest) -> bool,
        beats: impl Fn(&Dest, &Dest) -> bool,
    ) -> Option<u32> {
        let mut best: Option<&Dest> = None;
        for dest in &self.list {
            let available = dest.weight != 0 && !dest.overloaded;
            if available && takes_part(dest) && best.is_none_or(|best| beats(dest, best)) {
                best = Some(dest);
            }
        }
        best.map(|dest| dest.id)
    }

    fn sed(&self) -> Option<u32> {
        let delay = |dest: &Dest| i128::from(dest.active) + 1;
        self.best(
            |_| true,
            |a, b| delay(b) * i128::from(a.weight) > delay(a) * i128::from(b.weight),
        )
    }

    fn nq(&self) -> Option<u32> {
        let idle = |dest: &&Dest| dest.weight != 0 && !dest.overloaded && dest.active == 0;
        let first = self.list.iter().find(idle);
        first.map(|dest| dest.id).or_else(|| self.sed())
    }

    fn fo(&self) -> Option<u32> {
        self.best(|_| true, |a, b| a.weight > b.weight)
    }

    fn ovf(&self) -> Option<u32> {
        self.best(
            |dest| i64::from(dest.active) <= i64::from(dest.weight),
            |a, b| a.weight > b.weight,
        )
    }

    /// Draws from 0 to the sum of all weights: 0 is the first server, in addition to its share by
    /// weight.
    fn twos(&self, draws: [u64; 2]) -> Option<u32> {
        let takes_part = |dest: &&Dest| dest.weight > 0 && !dest.overloaded;
        let drawn = draws.map(|draw| {
            let mut left = draw as i64;
            self.list.iter().filter(takes_part).find(|dest| {
                left -= i64::from(dest.weight);
                left <= 0
            })
        });
        let [Some(first), Some(second)] = drawn else {
            return None;
        };
        let load = |dest: &Dest| u128::from(dest.active) * 257 + u128::from(dest.inactive);
        let second_is_better =
            second.weight as u128 * load(first) > first.weight as u128 * load(second);
        Some(if second_is_better {
            second.id
        } else {
            first.id
        })
    }

    fn lc(&self) -> Option<u32> {
        let mut least: Option<(u64, u32)> = None;
        for dest in &self.list {
            let load = u64::from(dest.active) * 256 + u64::from(dest.active + dest.inactive);
            if dest.weight == 0 || dest.overloaded {
                continue;
            }
            if least.is_none_or(|(least, _)| load < least) {
                least = Some((load, dest.id));
            }
        }
        least.map(|(_, id)| id)
    }

    fn wlc(&self) -> Option<u32> {
        let mut least: Option<(u128, u128, u32)> = None;
        for dest in &self.list {
            let load = u128::from(dest.active) * 256 + u128::from(dest.active + dest.inactive);
            let weight = dest.weight as u128;
            if weight == 0 || dest.overloaded {
                continue;
            }
            if least.is_none_or(|(l, w, _)| l * weight > load * w) {
                least = Some((load, weight, dest.id));
            }
        }
        least.map(|(_, _, id)| id)
    }
}

#[derive(Clone, Debug)]
enum Op {
    Add(i32),
    Remove(usize),
    Weight(usize, i32),
    Overload(usize, bool),
    OverloadAll(bool),
    Conns(usize, u32, u32),
    Compact,
    /// Changes to another scheduler and back.
    Restart,
    Pick(usize, [u64; 2]),
}

fn weight() -> impl Strategy<Value = i32> {
    prop_oneof![
        3 => 0..6i32,
        2 => (0..8i32).prop_map(|n| n * 12),
        1 => 0..300i32,
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => weight().prop_map(Op::Add),
        1 => (0usize..8).prop_map(Op::Remove),
        2 => (0usize..8, weight()).prop_map(|(at, weight)| Op::Weight(at, weight)),
        2 => (0usize..8, any::<bool>()).prop_map(|(at, on)| Op::Overload(at, on)),
        2 => any::<bool>().prop_map(Op::OverloadAll),
        3 => (0usize..8, 0u32..4, 0u32..600).prop_map(|(at, a, i)| Op::Conns(at, a, i)),
        1 => Just(Op::Compact),
        1 => Just(Op::Restart),
        6 => (1usize..12, any::<[u64; 2]>()).prop_map(|(n, draws)| Op::Pick(n, draws)),
    ]
}

/// The choice that the model makes.
type Choice = fn(&Model) -> Option<u32>;

/// The schedulers of the family, each with its model.
const LEAST: [(LeastLoad, Choice); 6] = [
    (LeastLoad::Lc, Model::lc),
    (LeastLoad::Wlc, Model::wlc),
    (LeastLoad::Sed, Model::sed),
    (LeastLoad::Nq, Model::nq),
    (LeastLoad::Fo, Model::fo),
    (LeastLoad::Ovf, Model::ovf),
];

/// The number of slots of the trees at first.
const SLOTS: usize = 4;

fn tree<N: Node>(slots: usize) -> Tree<Vec<N>> {
    Tree::new(vec![N::EMPTY; Tree::<Vec<N>>::nodes_for(slots)])
}

/// A tree for each scheduler.
struct Trees {
    least: [Tree<Vec<Load>>; 6],
    max_weight: Tree<Vec<MaxWeight>>,
    sum: Tree<Vec<WeightSum>>,
}

impl Trees {
    fn new(slots: usize) -> Self {
        Self {
            least: LEAST.map(|_| tree(slots)),
            max_weight: tree(slots),
            sum: tree(slots),
        }
    }

    fn set(&mut self, slot: usize, dest: Option<Dest>) {
        for (tree, (kind, _)) in self.least.iter_mut().zip(LEAST) {
            tree.set(
                slot,
                dest.map_or(Load::EMPTY, |dest| kind.load(&dest, slot)),
            );
        }
        self.max_weight.set(
            slot,
            dest.map_or(MaxWeight::EMPTY, |dest| wrr::weight_of(&dest)),
        );
        self.sum.set(
            slot,
            dest.map_or(WeightSum::EMPTY, |dest| twos::weight_of(&dest)),
        );
    }
}

impl Default for Trees {
    fn default() -> Self {
        Self::new(SLOTS)
    }
}

/// The code under test, and the model.
#[derive(Default)]
struct Both {
    slots: Slots,
    trees: Trees,
    rr: rr::State,
    wrr: wrr::State,
    /// Does the same with a tree.
    tree_wrr: wrr::State,
    model: Model,
    ids: u32,
}

impl Both {
    /// Returns the slot of the `n`th server and its position in the list.
    fn nth(&self, n: usize) -> Option<(usize, usize)> {
        let n = n.checked_rem(self.model.list.len())?;
        let id = self.model.list[n].id;
        let slot = self
            .slots
            .0
            .iter()
            .position(|dest| dest.is_some_and(|dest| dest.id == id));
        Some((slot.unwrap(), n))
    }

    fn edit(&mut self, n: usize, edit: impl Fn(&mut Dest)) -> bool {
        let Some((slot, n)) = self.nth(n) else {
            return false;
        };
        edit(self.slots.0[slot].as_mut().unwrap());
        edit(&mut self.model.list[n]);
        self.trees.set(slot, self.slots.0[slot]);
        true
    }

    /// Creates the trees anew, with room for all slots.
    fn rebuild_trees(&mut self) {
        self.trees = Trees::new(self.slots.0.len().max(SLOTS));
        for (slot, &dest) in self.slots.0.iter().enumerate() {
            self.trees.set(slot, dest);
        }
    }

    fn pick(&mut self, draws: [u64; 2]) -> TestCaseResult {
        let id = |dest: Option<Dest>| dest.map(|dest| dest.id);
        let Self {
            slots,
            trees,
            model,
            ..
        } = self;

        prop_assert_eq!(id(self.rr.pick(slots)), model.rr(), "rr");
        let wrr = model.wrr();
        prop_assert_eq!(id(self.wrr.pick(slots)), wrr, "wrr");
        let by_tree = self.tree_wrr.pick_with(slots, &trees.max_weight);
        prop_assert_eq!(id(by_tree), wrr, "wrr by tree");

        for (tree, (kind, choice)) in trees.least.iter().zip(LEAST) {
            let wanted = choice(model);
            prop_assert_eq!(id(kind.pick(slots)), wanted, "{:?}", kind);
            prop_assert_eq!(id(tree.least(slots)), wanted, "{:?} by tree", kind);
        }

        let below = |draws: [u64; 2], below: u64| draws.map(|draw| draw % below);
        let sum = trees.sum.root().0;
        let wanted = model.twos(below(draws, sum + 1));
        let source = || {
            let mut draws = draws.into_iter();
            move |below| draws.next().unwrap() % below
        };
        prop_assert_eq!(id(twos::pick(slots, source())), wanted, "twos");
        let by_tree = twos::pick_with(slots, &trees.sum, source());
        prop_assert_eq!(id(by_tree), wanted, "twos by tree");
        Ok(())
    }

    fn apply(&mut self, op: Op) -> Result<(), TestCaseError> {
        match op {
            Op::Add(weight) => {
                self.ids += 1;
                let dest = Dest {
                    id: self.ids,
                    weight,
                    active: 0,
                    inactive: 0,
                    overloaded: false,
                };
                self.slots.0.push(Some(dest));
                self.rebuild_trees();
                self.wrr.added(weight);
                self.tree_wrr.added(weight);
                self.model.list.insert(0, dest);
                self.model.wrr_changed();
            }
            Op::Remove(n) => {
                if let Some((slot, n)) = self.nth(n) {
                    self.slots.0[slot] = None;
                    self.trees.set(slot, None);
                    self.rr.removed(&self.slots, slot);
                    self.wrr.changed(&self.slots);
                    self.tree_wrr.changed(&self.slots);
                    self.model.removed(self.model.list[n].id);
                    self.model.wrr_changed();
                }
            }
            Op::Weight(n, weight) => {
                if self.edit(n, |dest| dest.weight = weight) {
                    self.wrr.changed(&self.slots);
                    self.tree_wrr.changed(&self.slots);
                    self.model.wrr_changed();
                }
            }
            Op::Overload(n, on) => {
                self.edit(n, |dest| dest.overloaded = on);
            }
            Op::OverloadAll(on) => {
                for n in 0..self.model.list.len() {
                    self.edit(n, |dest| dest.overloaded = on);
                }
            }
            Op::Conns(n, active, inactive) => {
                self.edit(n, |dest| (dest.active, dest.inactive) = (active, inactive));
            }
            Op::Compact => {
                self.rr.compacted(&self.slots);
                self.wrr.compacted(&self.slots);
                self.tree_wrr.compacted(&self.slots);
                self.slots.0.retain(Option::is_some);
                self.rebuild_trees();
            }
            Op::Restart => {
                self.rr = rr::State::new();
                self.wrr = wrr::State::with_servers(&self.slots);
                self.tree_wrr = self.wrr;
                self.model.rr = None;
                self.model.wrr = None;
                self.model.wrr_measure();
                self.model.cw = self.model.mw;
            }
            Op::Pick(times, draws) => {
                for _ in 0..times {
                    self.pick(draws)?;
                }
            }
        }
        Ok(())
    }
}

#[test]
fn choices_are_the_c_modules() {
    holds(CASES, vec(op(), 1..80), |ops| {
        let mut both = Both::default();
        for op in ops {
            both.apply(op)?;
        }
        Ok(())
    });
}

#[test]
fn every_cycle_of_wrr_is_in_proportion_to_the_weights() {
    holds(CASES, vec(0..50i32, 1..10), |weights| {
        let slots = Slots(
            (0..)
                .zip(&weights)
                .map(|(id, &weight)| {
                    Some(Dest {
                        id,
                        weight,
                        active: 0,
                        inactive: 0,
                        overloaded: false,
                    })
                })
                .collect(),
        );
        let mut state = wrr::State::with_servers(&slots);
        let total: i32 = weights.iter().sum();
        let mut picks = vec![0; weights.len()];
        for _ in 0..total {
            picks[state.pick(&slots).unwrap().id as usize] += 1;
        }
        prop_assert_eq!(picks, weights);
        Ok(())
    });
}

/// With 200 servers and 20,000 connections that come and go, the choices by tree equal those of
/// comparing all servers.
#[test]
fn many_servers_get_the_same_choices_as_few() {
    const SERVERS: usize = 200;
    let mut random = 1u64;
    let mut random = move |below: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for (at, (kind, _)) in LEAST.into_iter().enumerate() {
        let mut slots = Slots::default();
        let mut trees = Trees::new(SERVERS);
        for slot in 0..SERVERS {
            slots.0.push(Some(Dest {
                id: slot as u32,
                weight: random(9) as i32,
                active: 0,
                inactive: 0,
                overloaded: false,
            }));
            trees.set(slot, slots.0[slot]);
        }
        let mut conns = Vec::new();
        for _ in 0..20_000 {
            let picked = trees.least[at].least(&slots);
            assert_eq!(picked, kind.pick(&slots), "{kind:?}");
            let slot = match picked {
                Some(dest) if random(5) > 1 => {
                    conns.push(dest.id as usize);
                    let dest = slots.0[dest.id as usize].as_mut().unwrap();
                    assert!(dest.weight > 0 && !dest.overloaded);
                    dest.active += 1;
                    dest.id as usize
                }
                _ if !conns.is_empty() => {
                    let slot = conns.swap_remove(random(conns.len()));
                    let dest = slots.0[slot].as_mut().unwrap();
                    dest.active -= 1;
                    dest.inactive = random(300) as u32;
                    dest.overloaded = random(20) == 0;
                    slot
                }
                _ => continue,
            };
            trees.set(slot, slots.0[slot]);
        }
    }
}

/// Each server is drawn as often as its weight; the draw 0 adds one for the first server.
#[test]
fn twos_draws_in_proportion_to_the_weights() {
    let weights = [1, 0, 5, 10, 4];
    let slots = Slots(
        (0..)
            .zip(weights)
            .map(|(id, weight)| {
                Some(Dest {
                    id,
                    weight,
                    active: 0,
                    inactive: 0,
                    overloaded: false,
                })
            })
            .collect(),
    );
    // Without connections, the first of two draws wins: try each possible draw.
    let sum: u64 = weights.iter().map(|&weight| weight as u64).sum();
    let mut picks = [0; 5];
    for place in 0..=sum {
        let picked = twos::pick(&slots, |below| {
            assert_eq!(below, sum + 1);
            place
        });
        picks[picked.unwrap().id as usize] += 1;
    }
    assert_eq!(picks, [1, 0, 5, 10, 5]);
}
