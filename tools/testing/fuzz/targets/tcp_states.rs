// SPDX-License-Identifier: GPL-2.0

//! Runs the packets of a connection through the TCP state machine.

use super::input::Input;
use ipvs_core::{
    proto::Direction,
    tcp::{
        self,
        Table,
        TcpState,
        STATES, //
    },
    transport::TcpFlags,
};

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let first = input.u16();
    let found = TcpState::from_number(first);
    assert_eq!(found.is_some(), usize::from(first) < STATES);
    assert_eq!(tcp::state_name(first) == "ERR!", found.is_none());
    let (mut state, mut no_output) = (found.unwrap_or(TcpState::None), true);

    while !input.is_empty() {
        let (how, bits) = (input.u8(), input.u8());
        let table = [Table::Normal, Table::Secure][usize::from((how >> 1) & 1)];
        let seen = [Direction::Input, Direction::Output][usize::from(how & 1)];
        let (direction, still) = seen.with_flag(no_output);
        // A reply clears the flag for good, and nothing sets it.
        assert!(no_output || !still);
        assert_eq!(still, no_output && seen == Direction::Input);
        no_output = still;

        let flags = TcpFlags::new(bits);
        let next = tcp::next(table, direction, state, flags);
        assert_eq!(TcpState::from_number(next.number()), Some(next));
        assert_eq!(tcp::state_name(next.number()), next.name());
        assert_eq!(
            tcp::DEFAULT_TIMEOUTS[usize::from(next.number())],
            next.default_timeout()
        );
        check(state, next, seen, flags);
        // Other flags have no effect.
        assert_eq!(
            next,
            tcp::next(table, direction, state, TcpFlags::new(bits ^ 0xe8))
        );
        state = next;
    }
}

/// Checks what holds for each transition of every table.
fn check(state: TcpState, next: TcpState, seen: Direction, flags: TcpFlags) {
    use TcpState::*;

    if flags.rst() {
        assert!(next == Close || next == state || !next.is_active() || next == SynRecv);
        assert_ne!((state == next, next), (false, Established));
    } else if !flags.syn() && !flags.fin() && !flags.ack() {
        assert_eq!(next, Close);
    } else if !flags.syn() && flags.fin() {
        // A FIN does not open a connection.
        assert!(next == state || !next.is_active());
    } else if !flags.syn() && next == Established && state != Established {
        assert!(matches!(state, None | SynRecv | SynAck | Listen));
        // From LISTEN, only a packet of the server establishes the connection.
        assert!(state != Listen || seen == Direction::Output);
    }
}
