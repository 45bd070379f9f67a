// SPDX-License-Identifier: GPL-2.0
// error: E0505

//! A CPU's own counter is used in the section only.

use linux::percpu::{
    Counter,
    PerCpu,
    Section, //
};

pub fn count(counters: &PerCpu<Counter>) {
    let section = Section::enter();
    let counter = section.get(counters);
    #[cfg(misuse)]
    drop(section);
    counter.add(1);
}
