// SPDX-License-Identifier: GPL-2.0

//! Deterministic property tests: they check the same cases in each run.

use proptest::{
    strategy::Strategy,
    test_runner::{
        Config,
        TestCaseResult,
        TestRng,
        TestRunner, //
    },
};

/// Checks that `property` holds for `cases` random values of `values`. Panics with the simplest
/// value for which it does not.
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
