// SPDX-License-Identifier: GPL-2.0

//! The arguments of socket options.

use super::input::Input;
use ipvs_core::sockopt::{
    self,
    Dest,
    Service,
    TIMEOUT_LEN, //
};

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);

    let bytes: [u8; TIMEOUT_LEN] = input.array();
    let hz = input.u32() % 1001;
    let seconds: Vec<i64> = bytes
        .chunks(4)
        .map(|word| i64::from(i32::from_ne_bytes(word.try_into().unwrap())))
        .collect();
    let possible = |secs: &i64| *secs >= 0 && secs * i64::from(hz) <= i64::from(i32::MAX);
    let timeouts = sockopt::parse_timeouts(&bytes, hz);
    assert_eq!(timeouts.is_some(), hz != 0 && seconds.iter().all(possible));
    if let Some(timeouts) = timeouts {
        assert_eq!(sockopt::timeouts(&timeouts), bytes);
    }

    // Inputs of the corpus have a length here, which is no longer used.
    let (_, head) = (input.u32(), usize::from(input.u8()));
    let (wanted, entry) = (input.u32(), usize::from(input.u8()));
    let need = u128::from(wanted) * entry as u128 + head as u128;
    assert_eq!(sockopt::answer_len(head, wanted, entry) as u128, need);

    let service: [u8; sockopt::SERVICE_LEN] = input.array();
    let parsed = Service::parse(&service);
    if let Some(spec) = parsed.spec() {
        assert_eq!(spec.id, parsed.id);
        assert!(!spec.sched_name.contains(&0));
    }
    let _ = (parsed.is_unnamed(), parsed.has_protocol());

    let _ = Dest::parse(&input.array());
    let _ = sockopt::parse_daemon(&input.array());
}
