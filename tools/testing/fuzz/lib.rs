// SPDX-License-Identifier: GPL-2.0

//! The fuzzing programs, one for each target. Each consists of `program!()`.

mod targets;

pub use libfuzzer_sys::fuzz_target;

/// Returns the target with this name.
pub fn target(name: &str) -> fn(&[u8]) {
    let found = targets::ALL.iter().find(|(known, _)| *known == name);
    found.expect("a name of the list").1
}

/// Defines the program that fuzzes the target it is named after.
#[macro_export]
macro_rules! program {
    () => {
        $crate::fuzz_target!(|data: &[u8]| $crate::target(env!("CARGO_BIN_NAME"))(data));
    };
}
