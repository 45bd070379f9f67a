// SPDX-License-Identifier: GPL-2.0

//! When a connection is sent to the backups, compared with the same rules in wide arithmetic.

use super::input::Input;
use ipvs_core::sync::{
    Due,
    Rules,
    Subject, //
};

/// Returns the distance from `b` to `a`, as a signed word has it.
fn distance(a: i128, b: i128) -> i128 {
    let (range, half) = (1i128 << usize::BITS, 1i128 << (usize::BITS - 1));
    (a - b + half).rem_euclid(range) - half
}

fn slow(rules: Rules, subject: Subject, word: usize, packets: i32, now: usize) -> Option<Due> {
    let range = 1i128 << usize::BITS;
    let (word, now, timeout) = (word as i128, now as i128, subject.timeout as i128);
    let ends = (now + timeout) % range / 4 * 4;
    let (known, established): (&[u16], _) = match subject.protocol {
        6 => (&[1, 4, 5, 6, 7], 1),
        132 => (&[8, 9, 10, 11, 13], 8),
        _ => (&[], 0),
    };
    let has_states = !subject.template && !known.is_empty();
    if has_states && !known.contains(&subject.state) {
        return None;
    }
    let force = has_states && subject.state != subject.old_state;
    let mut endtime = ends;
    if !force || subject.state == established {
        let refresh = i128::from(rules.refresh_period);
        let least = refresh.min((timeout / 2).max(10 * i128::from(rules.hz)));
        let moved = distance(ends, word);
        // The only distance that has no absolute value counts as less than any.
        let is_close = moved.abs() < least || moved == -range / 2;
        if refresh > 0 && is_close {
            let retries = word % 4;
            let again = word - timeout + refresh / 8;
            if retries >= rules.retries.into() || distance(now, again) < 0 {
                return None;
            }
            endtime += retries + 1;
        }
        let due = match i64::from(rules.period) {
            period @ 1.. => {
                let (steps, rest) = (i64::from(packets) / period, i64::from(rules.threshold));
                subject.template || i64::from(packets) - steps * period == rest
            }
            _ => refresh > 0 || packets == rules.threshold,
        };
        if !due {
            return None;
        }
    }
    Some(Due {
        endtime: endtime as usize,
        force,
    })
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    // The kernel has at most 1000 ticks in a second, and accepts up to 3 retries.
    let rules = Rules {
        threshold: input.u32() as i32,
        period: input.u32() as i32,
        refresh_period: input.u32(),
        retries: i32::from(input.u8() % 4),
        hz: 100 + u32::from(input.u16()) % 901,
    };
    let kinds = [6, 17, 132, input.u8()];
    let subject = Subject {
        protocol: kinds[usize::from(input.u8()) % kinds.len()],
        template: input.u8() % 4 == 0,
        state: input.u8().into(),
        old_state: input.u8().into(),
        timeout: input.u64() as usize,
    };
    let (word, packets, now) = (
        input.u64() as usize,
        input.u32() as i32,
        input.u64() as usize,
    );
    // As it is, near the end as it was sent, and near the tick of the next retry.
    let sent = word.wrapping_sub(subject.timeout);
    let retry = sent.wrapping_add(rules.refresh_period as usize >> 3);
    for now in [
        now,
        sent,
        sent.wrapping_add(now % 0x10000),
        retry,
        retry.wrapping_sub(1),
    ] {
        let threshold = rules.threshold;
        for packets in [packets, threshold, threshold.wrapping_add(rules.period)] {
            assert_eq!(
                rules.due(&subject, word, packets, now),
                slow(rules, subject, word, packets, now)
            );
        }
    }
}
