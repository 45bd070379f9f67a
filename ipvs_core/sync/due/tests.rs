// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::ipv4::PROTO_UDP;

/// The defaults of the sysctls.
const DEFAULT: Rules = Rules {
    threshold: 3,
    period: 50,
    refresh_period: 0,
    retries: 0,
    hz: 1000,
};

/// Rules by time instead of packets: again after a minute.
const BY_TIME: Rules = Rules {
    period: 0,
    refresh_period: 60_000,
    ..DEFAULT
};

const UDP: Subject = Subject {
    template: false,
    protocol: PROTO_UDP,
    state: 0,
    old_state: 0,
    timeout: 300_000,
};

const TEMPLATE: Subject = Subject {
    template: true,
    ..UDP
};

const NOW: usize = 1_000_000;

fn is_due(rules: Rules, subject: Subject, endtime: usize, packets: i32) -> bool {
    rules.due(&subject, endtime, packets, NOW).is_some()
}

#[test]
fn packets_are_counted_from_the_threshold_in_steps_of_the_period() {
    let due = |rules, subject| -> Vec<i32> {
        (-60..160)
            .filter(|&packets| is_due(rules, subject, 0, packets))
            .collect()
    };
    assert_eq!(due(DEFAULT, UDP), [3, 53, 103, 153]);
    let once = Rules {
        period: 0,
        ..DEFAULT
    };
    assert_eq!(due(once, UDP), [3]);
    // Once the counter has overflown it is negative, and so are remainders.
    let never_more = Rules {
        threshold: 50,
        ..DEFAULT
    };
    assert_eq!(due(never_more, UDP), []);
    let zero = Rules {
        threshold: 0,
        ..DEFAULT
    };
    assert_eq!(due(zero, UDP), [-50, 0, 50, 100, 150]);
    let negative = Rules {
        threshold: -7,
        ..DEFAULT
    };
    assert_eq!(due(negative, UDP), [-57, -7]);
    assert!(is_due(zero, UDP, 0, i32::MIN + 48));

    // A template is sent for each packet, unless neither packets nor time say when.
    assert_eq!(due(DEFAULT, TEMPLATE).len(), 220);
    assert_eq!(due(once, TEMPLATE), [3]);
}

#[test]
fn states_of_which_backups_need_not_know_are_not_sent() {
    // At the third packet, with and without a change of state: sent, sent though another packet has
    // been faster.
    for (protocol, known, established) in [
        (PROTO_TCP, &[1, 4, 5, 6, 7][..], 1),
        (PROTO_SCTP, &[8, 9, 10, 11, 13], 8),
    ] {
        for state in 0..20 {
            for old_state in [state, 19 - state] {
                for packets in [3, 4] {
                    let subject = Subject {
                        protocol,
                        state,
                        old_state,
                        ..UDP
                    };
                    let due = DEFAULT.due(&subject, 0, packets, NOW);
                    let changed = state != old_state;
                    let at_once = changed && state != established;
                    let sent = known.contains(&state) && (at_once || packets == 3);
                    assert_eq!(due.map(|due| due.force), sent.then_some(changed));
                }
            }
        }
    }
    let other = Subject {
        protocol: 51,
        old_state: 1,
        ..UDP
    };
    assert_eq!(
        DEFAULT.due(&other, 0, 3, NOW).map(|due| due.force),
        Some(false)
    );
}

#[test]
fn a_template_is_sent_whatever_its_protocol_and_state() {
    for protocol in [0, PROTO_TCP, PROTO_SCTP] {
        for state in [0, 1] {
            let subject = Subject {
                protocol,
                state,
                ..TEMPLATE
            };
            let due = DEFAULT.due(&subject, 0, 9, NOW).unwrap();
            assert_eq!((due.force, due.endtime), (false, NOW + 300_000));
        }
    }
}

#[test]
fn the_word_is_the_end_rounded_down() {
    for (now, want) in [(8, 12), (9, 12), (11, 12), (12, 16), (usize::MAX, 0)] {
        let subject = Subject { timeout: 4, ..UDP };
        let due = DEFAULT.due(&subject, 0, 3, now).unwrap();
        assert_eq!(due.endtime, want);
        // A change of state as well.
        let closing = Subject {
            protocol: PROTO_TCP,
            state: TcpState::FinWait.number(),
            old_state: 1,
            ..subject
        };
        let due = BY_TIME.due(&closing, 3, 0, now).unwrap();
        assert_eq!((due.endtime, due.force), (want, true));
    }
}

#[test]
fn a_refresh_waits_until_the_end_has_moved() {
    let ends = NOW + UDP.timeout;
    // The least of the refresh period, and half of the timeout, which is ten seconds at least.
    for (refresh_period, timeout, least) in [
        (60_000, 300_000, 60_000),
        (60_000, 100_000, 50_000),
        (60_000, 4_000, 10_000),
        (5_000, 4_000, 5_000),
        (u32::MAX, 300_000, 150_000),
    ] {
        let rules = Rules {
            refresh_period,
            ..BY_TIME
        };
        let subject = Subject { timeout, ..UDP };
        let ends = ends - UDP.timeout + timeout;
        // Whichever way it has moved.
        for sign in [1, -1] {
            let moved = |by: isize| ends.wrapping_add_signed(sign * by);
            assert!(is_due(rules, subject, moved(least), 0));
            assert!(!is_due(rules, subject, moved(least - 4), 0));
        }
    }
    // The other number of packets counts in addition.
    let both = Rules {
        period: 50,
        ..BY_TIME
    };
    assert!(is_due(both, UDP, 0, 53) && !is_due(both, UDP, 0, 54));
    assert!(!is_due(both, UDP, ends, 53));
}

#[test]
fn what_is_sent_is_sent_again_a_few_times() {
    let rules = Rules {
        retries: 2,
        ..BY_TIME
    };
    // It was sent at this tick.
    let (sent, eighth) = (NOW, 7_500);
    let first = sent + UDP.timeout;
    assert_eq!(rules.due(&UDP, first, 0, sent + eighth - 1), None);
    let again = rules.due(&UDP, first, 0, sent + eighth).unwrap();
    assert_eq!(again.endtime, (first + eighth) & !3 | 1);
    assert!(!again.force);
    let sent = sent + eighth;
    assert_eq!(rules.due(&UDP, again.endtime, 0, sent + eighth - 4), None);
    let again = rules
        .due(&UDP, again.endtime, 0, sent + eighth + 4)
        .unwrap();
    assert_eq!(again.endtime & 3, 2);
    let sent = sent + eighth + 4;
    assert_eq!(rules.due(&UDP, again.endtime, 0, sent + eighth + 4), None);
    // After the refresh period it begins anew.
    let refreshed = rules.due(&UDP, again.endtime, 0, sent + 60_004).unwrap();
    assert_eq!(refreshed.endtime & 3, 0);
    // Each time that packets are counted, they have to be right.
    let both = Rules {
        period: 50,
        ..rules
    };
    assert_eq!(both.due(&UDP, first, 4, NOW + eighth), None);
    assert!(both.due(&UDP, first, 3, NOW + eighth).is_some());
}

#[test]
fn ticks_may_wrap_around() {
    let rules = Rules {
        retries: 3,
        ..BY_TIME
    };
    for now in [0usize, 100, 310_000, isize::MAX as usize, usize::MAX - 5] {
        let endtime = now.wrapping_add(UDP.timeout) & !3;
        let later = now.wrapping_add(10_000);
        let due = rules.due(&UDP, endtime, 0, later).unwrap();
        assert_eq!(due.endtime, later.wrapping_add(UDP.timeout) & !3 | 1);
        assert_eq!(rules.due(&UDP, endtime, 0, now.wrapping_add(5_000)), None);
    }
    // The distance whose absolute value does not exist counts as a small one.
    let far = (NOW + UDP.timeout).wrapping_add(1 << (usize::BITS - 1));
    let never = Rules {
        retries: 0,
        ..rules
    };
    assert_eq!(never.due(&UDP, far, 0, NOW), None);
    assert!(never.due(&UDP, far - 4, 0, NOW).is_some());
}
