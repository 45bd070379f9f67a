// SPDX-License-Identifier: GPL-2.0

//! Runs all inputs of the fuzz corpus through their targets.
//!
//! A target panics if `ipvs_core` does something wrong. The corpus of a target is a file with a
//! line for each input, in hexadecimal. `#` starts a comment: what was wrong with an input that
//! once failed.

#[path = "../../tools/testing/fuzz/targets/mod.rs"]
mod targets;

use std::{
    fs,
    panic::catch_unwind,
    path::Path, //
};

/// Parses a line of a corpus.
fn input(line: &str) -> Vec<u8> {
    let digits = line.split('#').next().unwrap_or("").trim();
    assert!(digits.len() % 2 == 0, "{line}");
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect(line))
        .collect()
}

fn replay(name: &str) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/testing/fuzz/corpus");
    let (_, target) = targets::ALL.into_iter().find(|(n, _)| *n == name).unwrap();
    let lines = fs::read_to_string(corpus.join(name)).unwrap();
    assert!(!lines.is_empty(), "no corpus");
    // The empty input.
    target(&[]);
    for line in lines.lines() {
        let data = input(line);
        assert!(catch_unwind(|| target(&data)).is_ok(), "{line}");
    }
}

/// Defines a test for each target, and one that checks that none is missing.
macro_rules! corpora {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn no_target_is_left_out() {
            let here = [$(stringify!($name)),*];
            assert_eq!(targets::ALL.map(|(name, _)| name), here);
        }
    };
}

corpora!(
    checksum,
    estimates,
    ftp,
    icmp,
    ipv4,
    ipv6,
    netlink_answers,
    netlink_requests,
    resize,
    schedulers,
    sctp_states,
    sip,
    sockopt,
    sync,
    sync_due,
    tcp_states,
    text,
    transport,
);
