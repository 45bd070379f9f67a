// SPDX-License-Identifier: GPL-2.0

//! A program for each target: `target!(NAME)` is all that it consists of.

mod targets;

pub use libfuzzer_sys::fuzz_target;

/// The target of this name.
pub fn target(name: &str) -> fn(&[u8]) {
    let found = targets::ALL.iter().find(|(known, _)| *known == name);
    found.expect("a name of the list").1
}

/// The whole of a program that fuzzes the target after which it is called.
#[macro_export]
macro_rules! program {
    () => {
        $crate::fuzz_target!(|data: &[u8]| $crate::target(env!("CARGO_BIN_NAME"))(data));
    };
}
