// SPDX-License-Identifier: GPL-2.0

//! Schedulers while servers are added, removed and changed. Choices are checked against the
//! definition of each scheduler by looking at all servers. `tests/sched.rs` compares them with
//! those of the C module.

use super::input::Input;
use ipvs_core::sched::{
    rr,
    wrr,
    LeastLoad,
    Server,
    Servers, //
};

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

#[derive(Default)]
struct Service {
    slots: Slots,
    rr: rr::State,
    wrr: wrr::State,
    ids: u32,
}

fn weight(input: &mut Input<'_>) -> i32 {
    let raw = input.u32();
    match raw % 4 {
        0 => (raw >> 2) as i32 % 8,
        1 => (raw >> 2) as i32 % 256,
        2 => i32::MAX - (raw >> 2) as i32 % 4,
        _ => (raw >> 2) as i32,
    }
}

impl Service {
    fn available(&self) -> impl Iterator<Item = Dest> + '_ {
        let all = self.slots.0.iter().flatten();
        all.copied()
            .filter(|dest| dest.weight > 0 && !dest.overloaded)
    }

    /// Chooses an occupied slot.
    fn slot(&self, input: &mut Input<'_>) -> Option<usize> {
        let used = self.slots.0.iter().enumerate();
        let used: Vec<_> = used
            .filter(|(_, dest)| dest.is_some())
            .map(|(slot, _)| slot)
            .collect();
        let at = usize::from(input.u8()).checked_rem(used.len())?;
        Some(used[at])
    }

    fn change(&mut self, input: &mut Input<'_>, change: impl FnOnce(&mut Dest, &mut Input<'_>)) {
        if let Some(slot) = self.slot(input) {
            change(self.slots.0[slot].as_mut().unwrap(), input);
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 10 {
            0 if self.slots.0.len() < 64 => {
                let weight = weight(input);
                self.ids += 1;
                self.slots.0.push(Some(Dest {
                    id: self.ids,
                    weight,
                    active: 0,
                    inactive: 0,
                    overloaded: false,
                }));
                self.wrr.added(weight);
            }
            1 => {
                if let Some(slot) = self.slot(input) {
                    self.slots.0[slot] = None;
                    self.rr.removed(&self.slots, slot);
                    self.wrr.changed(&self.slots);
                }
            }
            2 => {
                self.change(input, |dest, input| dest.weight = weight(input));
                self.wrr.changed(&self.slots);
            }
            3 => self.change(input, |dest, input| dest.overloaded = input.u8() & 1 != 0),
            4 => {
                self.rr.compacted(&self.slots);
                self.wrr.compacted(&self.slots);
                self.slots.0.retain(Option::is_some);
            }
            5 => {
                self.rr = rr::State::new();
                self.wrr = wrr::State::with_servers(&self.slots);
            }
            6 => self.change(input, |dest, input| {
                (dest.active, dest.inactive) = (input.u32(), input.u32());
            }),
            _ => self.pick(usize::from(input.u8() % 16)),
        }
    }

    fn pick(&mut self, times: usize) {
        let available: Vec<_> = self.available().collect();
        let among = |dest: Option<Dest>| match dest {
            Some(dest) => assert!(available.contains(&dest)),
            None => assert!(available.is_empty()),
        };
        // One round of rr: each available server once.
        let mut round: Vec<_> = (0..available.len())
            .map(|_| self.rr.pick(&self.slots).unwrap().id)
            .collect();
        round.sort_unstable();
        let mut ids: Vec<_> = available.iter().map(|dest| dest.id).collect();
        ids.sort_unstable();
        assert_eq!(round, ids);

        let load = |dest: &Dest| 257 * u128::from(dest.active) + u128::from(dest.inactive);
        let least = LeastLoad::Lc.pick(&self.slots);
        among(least);
        if let Some(least) = least {
            assert!(available.iter().all(|dest| load(&least) <= load(dest)));
        }
        let least = LeastLoad::Wlc.pick(&self.slots);
        among(least);
        if let Some(least) = least {
            let cost = |a: &Dest, b: &Dest| load(a) * b.weight as u128;
            assert!(available
                .iter()
                .all(|dest| cost(&least, dest) <= cost(dest, &least)));
        }
        for _ in 0..times {
            let dest = self.wrr.pick(&self.slots);
            among(dest);
        }
    }
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut service = Service::default();
    while !input.is_empty() {
        service.step(&mut input);
    }
    // A new cycle of wrr, if it is short: each server is picked as often as its weight.
    let available: Vec<_> = service.available().collect();
    if service.slots.0.iter().flatten().any(|dest| dest.overloaded) {
        return;
    }
    let gcd = available.iter().fold(0, |a, dest| {
        let (mut a, mut b) = (dest.weight, a);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    });
    let cycle: i64 = available
        .iter()
        .map(|dest| i64::from(dest.weight / gcd))
        .sum();
    if cycle > 2000 {
        return;
    }
    service.wrr = wrr::State::with_servers(&service.slots);
    let picks: Vec<_> = (0..cycle)
        .map(|_| service.wrr.pick(&service.slots))
        .collect();
    for dest in available {
        let share = picks.iter().filter(|&&pick| pick == Some(dest)).count();
        assert_eq!(share as i64, i64::from(dest.weight / gcd));
    }
}
