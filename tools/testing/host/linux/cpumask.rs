// SPDX-License-Identifier: GPL-2.0

//! Sets of CPUs.

use crate::{
    percpu::CPUS,
    rcu::ReadLocked, //
};
use kernel::prelude::*;
use std::ops::Deref;

#[derive(Clone, Copy)]
pub struct Cpumask([bool; CPUS]);

impl Cpumask {
    pub fn empty(&self) -> bool {
        !self.0.contains(&true)
    }
}

pub struct Cpus(Cpumask);

impl Cpus {
    pub fn parse_allowed(text: &[u8]) -> Result<Self> {
        let mut cpus = Cpumask([false; CPUS]);
        let text = std::str::from_utf8(text).map_err(|_| EINVAL)?;
        for range in text.trim().split(',').filter(|range| !range.is_empty()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.parse::<usize>().map_err(|_| EINVAL);
            for cpu in number(first)?..=number(last)? {
                *cpus.0.get_mut(cpu).ok_or(ERANGE)? = true;
            }
        }
        Ok(Self(cpus))
    }
}

impl Deref for Cpus {
    type Target = Cpumask;

    fn deref(&self) -> &Cpumask {
        &self.0
    }
}

pub fn housekeeping(_rcu: ReadLocked<'_>) -> &Cpumask {
    &Cpumask([true; CPUS])
}

pub fn print_list(cpus: &Cpumask, buffer: &mut [u8]) -> usize {
    let cpus = (0..CPUS).filter(|&cpu| cpus.0[cpu]);
    let text = cpus
        .map(|cpu| cpu.to_string())
        .collect::<Vec<_>>()
        .join(",");
    let len = text.len().min(buffer.len());
    buffer[..len].copy_from_slice(&text.as_bytes()[..len]);
    len
}
