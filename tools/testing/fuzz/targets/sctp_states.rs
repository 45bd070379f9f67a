// SPDX-License-Identifier: GPL-2.0

//! Runs the packets of an association through the SCTP state machine.

use super::input::Input;
use ipvs_core::{
    proto::Direction,
    sctp::{
        self,
        Chunks,
        Event,
        SctpState,
        STATES, //
    },
};

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let first = input.u16();
    let found = SctpState::from_number(first);
    assert_eq!(found.is_some(), usize::from(first) < STATES);
    assert_eq!(sctp::state_name(first) == "ERR!", found.is_none());
    let (mut state, mut no_output) = (found.unwrap_or(SctpState::None), true);

    while !input.is_empty() {
        let how = input.u8();
        let len = usize::from(how >> 1);
        let chunks = input.bytes(len.max(1));
        let seen = [Direction::Input, Direction::Output][usize::from(how & 1)];
        let (direction, still) = seen.with_flag(no_output);
        no_output = still;

        let Some(head) = chunks.first_chunk() else {
            continue;
        };
        let mut asked = None;
        let read = Chunks::read(*head, |at| {
            asked = Some(at);
            chunks
                .get(at.checked_sub(sctp::HEADER_LEN)?..)?
                .first_chunk()
                .copied()
        });
        check_chunks(chunks, read, asked);
        let next = sctp::next(direction, state, read.event());
        assert_eq!(SctpState::from_number(next.number()), Some(next));
        assert_eq!(sctp::state_name(next.number()), next.name());
        assert!((2..=900).contains(&next.timeout()));
        check(state, next, read.event());
        state = next;
    }
}

/// Checks what the chunks were taken for. `asked` is the offset at which another one was read.
fn check_chunks(chunks: &[u8], read: Chunks, asked: Option<usize>) {
    let cookie = matches!(chunks[0], 10 | 11);
    let len = u16::from_be_bytes([chunks[2], chunks[3]]);
    // Only after a cookie of a sound length, and on a boundary of four bytes behind it.
    assert_eq!(asked.is_some(), cookie && len >= 4);
    if let Some(at) = asked {
        let distance = at - sctp::HEADER_LEN;
        assert!(distance % 4 == 0 && (0..4).contains(&(distance - usize::from(len))));
    }
    assert_eq!(read.is_init(), chunks[0] == 1);
    assert_eq!(read.is_abort(), chunks[0] == 6);
    assert!(read.event() != Event::Abort || read.is_abort() || cookie);
    assert_eq!(read.event() == Event::Init, read.is_init());
}

/// Checks what holds for each transition of every direction.
fn check(state: SctpState, next: SctpState, event: Event) {
    use SctpState::*;

    match event {
        Event::Abort => assert!(matches!(next, Closed | Rejected)),
        // Only a cookie, its acknowledgement or data establish an association.
        Event::CookieEcho | Event::CookieAck | Event::Data => (),
        _ => assert!(next != Established || state == Established),
    }
    assert_ne!(next, None);
    // What has ended begins again with an INIT only.
    if event != Event::Init && matches!(state, Closed | Rejected) {
        assert!(matches!(next, Closed | Rejected));
    }
}
