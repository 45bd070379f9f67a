// SPDX-License-Identifier: GPL-2.0

//! The schedulers choose like the C module's, whatever happens to the servers.
//!
//! The model keeps the servers as the C module does: in a list with the newest at its head, through
//! which a scheduler's position moves. Positions are servers, or the head.

mod common;

use common::holds;
use ipvs_core::sched::{
    lc,
    rr,
    wlc,
    wrr,
    Server,
    Servers, //
};
use proptest::{
    collection::vec,
    prelude::*, //
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

/// The C module's list, and what its schedulers remember.
#[derive(Default)]
struct Model {
    /// Head first.
    list: Vec<Dest>,
    rr: Option<u32>,
    wrr: Option<u32>,
    cw: i32,
    mw: i32,
    di: i32,
}

impl Model {
    /// Those behind a position.
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

    /// Pass by pass, with the bar lowered by one step each time.
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
    CloseUp,
    /// Change to another scheduler and back.
    Restart,
    Pick(usize),
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
        1 => Just(Op::CloseUp),
        1 => Just(Op::Restart),
        6 => (1usize..12).prop_map(Op::Pick),
    ]
}

/// The module under test, next to the model.
#[derive(Default)]
struct Both {
    slots: Slots,
    rr: rr::State,
    wrr: wrr::State,
    model: Model,
    ids: u32,
}

impl Both {
    /// The slot of the `n`th server and its place in the list.
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
        true
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
                self.wrr.added(weight);
                self.model.list.insert(0, dest);
                self.model.wrr_changed();
            }
            Op::Remove(n) => {
                if let Some((slot, n)) = self.nth(n) {
                    self.slots.0[slot] = None;
                    self.rr.removed(&self.slots, slot);
                    self.wrr.changed(&self.slots);
                    self.model.removed(self.model.list[n].id);
                    self.model.wrr_changed();
                }
            }
            Op::Weight(n, weight) => {
                if self.edit(n, |dest| dest.weight = weight) {
                    self.wrr.changed(&self.slots);
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
            Op::CloseUp => {
                self.rr.closed_up(&self.slots);
                self.wrr.closed_up(&self.slots);
                self.slots.0.retain(Option::is_some);
            }
            Op::Restart => {
                self.rr = rr::State::new();
                self.wrr = wrr::State::with_servers(&self.slots);
                self.model.rr = None;
                self.model.wrr = None;
                self.model.wrr_measure();
                self.model.cw = self.model.mw;
            }
            Op::Pick(times) => {
                for _ in 0..times {
                    let id = |dest: Option<Dest>| dest.map(|dest| dest.id);
                    prop_assert_eq!(id(self.rr.pick(&self.slots)), self.model.rr(), "rr");
                    prop_assert_eq!(id(self.wrr.pick(&self.slots)), self.model.wrr(), "wrr");
                    prop_assert_eq!(id(lc::pick(&self.slots)), self.model.lc(), "lc");
                    prop_assert_eq!(id(wlc::pick(&self.slots)), self.model.wlc(), "wlc");
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
