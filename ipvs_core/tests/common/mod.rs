// SPDX-License-Identifier: GPL-2.0

//! Property tests that check the same cases every time.

use proptest::{
    strategy::Strategy,
    test_runner::{
        Config,
        TestCaseResult,
        TestRng,
        TestRunner, //
    },
};

/// Checks that `property` holds for `cases` values of `values`; says the simplest one for which it
/// doesn't.
pub(crate) fn holds<S: Strategy>(
    cases: u32,
    values: S,
    property: impl Fn(S::Value) -> TestCaseResult, //
) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);

    if let Err(error) = TestRunner::new_with_rng(config, rng).run(&values, property) {
        panic!("{error}");
    }
}
