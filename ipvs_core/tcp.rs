// SPDX-License-Identifier: GPL-2.0

//! The TCP connection states of a director, which may see only one direction of a connection.
//!
//! C: `ip_vs_proto_tcp.c`. The transitions are written as rules, from which the table that packets
//! look up is computed at compile time.

use crate::{
    proto::Direction,
    transport::TcpFlags, //
};

/// A state of a TCP connection. The numbers are part of sync messages (C: `IP_VS_TCP_S_*`).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcpState {
    /// Nothing seen yet.
    None = 0,
    /// The handshake is complete.
    Established = 1,
    /// The server has sent a SYN to the client.
    SynSent = 2,
    /// The client has sent a SYN.
    SynRecv = 3,
    /// The server has closed its side.
    FinWait = 4,
    /// Both sides have closed.
    TimeWait = 5,
    /// Reset, or closed and acknowledged.
    Close = 6,
    /// The client has closed its side.
    CloseWait = 7,
    /// The server has closed after the client.
    LastAck = 8,
    /// Expects the other side to connect (FTP data).
    Listen = 9,
    /// With `secure_tcp`: a SYN was answered, but the client's address is not verified yet.
    SynAck = 10,
}

use TcpState::*;

/// The number of states (C: `IP_VS_TCP_S_LAST`).
pub const STATES: usize = 11;

const ALL: [TcpState; STATES] = [
    None,
    Established,
    SynSent,
    SynRecv,
    FinWait,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    SynAck,
];

impl TcpState {
    /// Returns the state with this number. `None` if there is no such state.
    #[inline]
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0 => None,
            1 => Established,
            2 => SynSent,
            3 => SynRecv,
            4 => FinWait,
            5 => TimeWait,
            6 => Close,
            7 => CloseWait,
            8 => LastAck,
            9 => Listen,
            10 => SynAck,
            _ => return Option::None,
        })
    }

    /// Returns the number of the state.
    #[inline]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Returns `true` if a connection in this state counts as active for its server (C:
    /// `tcp_state_active()`).
    #[inline]
    pub const fn is_active(self) -> bool {
        matches!(self, Established | SynSent | SynRecv | SynAck)
    }

    /// Returns the name that `ipvsadm -Lnc` shows.
    pub const fn name(self) -> &'static str {
        match self {
            None => "NONE",
            Established => "ESTABLISHED",
            SynSent => "SYN_SENT",
            SynRecv => "SYN_RECV",
            FinWait => "FIN_WAIT",
            TimeWait => "TIME_WAIT",
            Close => "CLOSE",
            CloseWait => "CLOSE_WAIT",
            LastAck => "LAST_ACK",
            Listen => "LISTEN",
            SynAck => "SYNACK",
        }
    }

    /// Returns the default timeout in seconds: a connection without packets stays in this state
    /// that long (C: `tcp_timeouts`).
    #[inline]
    pub const fn default_timeout(self) -> u32 {
        match self {
            None => 2,
            Established => 15 * 60,
            SynSent => 2 * 60,
            SynRecv => 60,
            FinWait => 2 * 60,
            TimeWait => 2 * 60,
            Close => 10,
            CloseWait => 60,
            LastAck => 30,
            Listen => 2 * 60,
            SynAck => 2 * 60,
        }
    }
}

/// Returns [`TcpState::name`] for a number; "ERR!" if it is not that of a state.
pub const fn state_name(number: u16) -> &'static str {
    match TcpState::from_number(number) {
        Some(state) => state.name(),
        Option::None => "ERR!",
    }
}

/// The state whose timeout is set by the first number of `ipvsadm --set`.
pub const SETTABLE_TCP: TcpState = Established;
/// The state whose timeout is set by the second number of `ipvsadm --set`.
pub const SETTABLE_TCP_FIN: TcpState = FinWait;

/// The default timeouts in seconds, indexed by state number.
pub const DEFAULT_TIMEOUTS: [u32; STATES] = {
    let mut timeouts = [0; STATES];
    let mut i = 0;
    while i < STATES {
        timeouts[i] = ALL[i].default_timeout();
        i += 1;
    }
    timeouts
};

/// The transition table in use.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Table {
    /// The normal table (C: `tcp_states`).
    #[default]
    Normal = 0,
    /// The table for `secure_tcp`: a connection is not established before the client has answered
    /// the server (C: `tcp_states_dos`).
    Secure = 1,
}

/// The event that a packet's flags stand for.
#[repr(u8)]
#[derive(Clone, Copy)]
enum Event {
    Syn = 0,
    Fin = 1,
    Ack = 2,
    Rst = 3,
}

impl Event {
    /// Returns the event of a packet: RST takes precedence over SYN, SYN over FIN, FIN over ACK.
    #[inline]
    const fn of(flags: TcpFlags) -> Option<Self> {
        if flags.rst() {
            Some(Self::Rst)
        } else if flags.syn() {
            Some(Self::Syn)
        } else if flags.fin() {
            Some(Self::Fin)
        } else if flags.ack() {
            Some(Self::Ack)
        } else {
            Option::None
        }
    }
}

const fn on_input(event: Event, state: TcpState) -> TcpState {
    match (event, state) {
        // Simultaneous open, or a retransmission.
        (Event::Syn, Established | SynSent) => Established,
        (Event::Syn, _) => SynRecv,

        (Event::Fin, None) => Close,
        (Event::Fin, Established) => CloseWait,
        (Event::Fin, SynRecv | FinWait | SynAck) => TimeWait,

        (Event::Ack, None | SynRecv | SynAck) => Established,
        (Event::Ack, LastAck) => Close,

        // The RST may be forged: the state remains as long as the server has not answered.
        (Event::Rst, SynRecv | SynAck) => SynRecv,
        (Event::Rst, LastAck | Listen) => state,
        (Event::Rst, _) => Close,

        (_, _) => state,
    }
}

const fn on_output(event: Event, state: TcpState) -> TcpState {
    match (event, state) {
        (Event::Syn, Established | SynRecv | Listen) => state,
        (Event::Syn, SynAck) => SynRecv,
        (Event::Syn, _) => SynSent,

        (Event::Fin, Established) => FinWait,
        (Event::Fin, None | SynRecv | CloseWait | SynAck) => TimeWait,

        (Event::Ack, None | SynRecv | Listen | SynAck) => Established,

        (Event::Rst, SynSent | TimeWait) => state,
        (Event::Rst, _) => Close,

        (_, _) => state,
    }
}

const fn on_input_only(event: Event, state: TcpState) -> TcpState {
    match (event, state) {
        // The server's FIN does not pass the director.
        (Event::Fin, Established | FinWait) => FinWait,
        (Event::Rst, SynAck) => Close,
        (_, _) => on_input(event, state),
    }
}

const fn on_secure_input(event: Event, state: TcpState) -> TcpState {
    match (event, state) {
        (Event::Rst, SynAck) => Close,
        (_, SynAck) => SynAck,
        (Event::Ack, SynRecv) => SynRecv,
        (_, _) => on_input(event, state),
    }
}

const fn on_secure_output(event: Event, state: TcpState) -> TcpState {
    match (event, state) {
        (Event::Syn, SynRecv | SynAck) => SynAck,
        (_, _) => on_output(event, state),
    }
}

const fn on_secure_input_only(event: Event, state: TcpState) -> TcpState {
    match (event, state) {
        (Event::Syn, Established | SynSent | SynRecv) => on_input_only(event, state),
        (Event::Syn, _) => SynAck,
        (_, _) => on_input_only(event, state),
    }
}

/// Returns the index into [`TRANSITIONS`]: below 512 for every combination.
#[inline(always)]
const fn index(table: Table, direction: Direction, event: Event, state: TcpState) -> usize {
    (((table as usize) << 8)
        | ((direction as usize) << 6)
        | ((event as usize) << 4)
        | state as usize)
        & 0x1ff
}

const TRANSITIONS: [TcpState; 512] = {
    let mut next = [Close; 512];
    let events = [Event::Syn, Event::Fin, Event::Ack, Event::Rst];
    let mut e = 0;
    while e < events.len() {
        let mut s = 0;
        while s < STATES {
            let (event, state) = (events[e], ALL[s]);
            next[index(Table::Normal, Direction::Input, event, state)] = on_input(event, state);
            next[index(Table::Normal, Direction::Output, event, state)] = on_output(event, state);
            next[index(Table::Normal, Direction::InputOnly, event, state)] =
                on_input_only(event, state);
            next[index(Table::Secure, Direction::Input, event, state)] =
                on_secure_input(event, state);
            next[index(Table::Secure, Direction::Output, event, state)] =
                on_secure_output(event, state);
            next[index(Table::Secure, Direction::InputOnly, event, state)] =
                on_secure_input_only(event, state);
            s += 1;
        }
        e += 1;
    }
    next
};

/// The table as a `static`, so that it exists once per module and not once per use.
static NEXT: [TcpState; 512] = TRANSITIONS;

/// Returns the state after a packet with these flags in this direction.
///
/// A packet with none of RST, SYN, FIN and ACK closes the connection.
#[inline]
pub fn next(table: Table, direction: Direction, state: TcpState, flags: TcpFlags) -> TcpState {
    match Event::of(flags) {
        Some(event) => NEXT[index(table, direction, event, state)],
        Option::None => Close,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [TcpFlags; 4] = [
        TcpFlags::SYN,
        TcpFlags::FIN,
        TcpFlags::ACK,
        TcpFlags::RST, //
    ];

    /// One letter per state, in the order of the numbers.
    fn row(table: Table, direction: Direction, flags: TcpFlags) -> String {
        ALL.iter()
            .map(|&state| {
                let next = next(table, direction, state, flags);
                b"nESRFTCWLIA"[usize::from(next.number())] as char
            })
            .collect()
    }

    #[test]
    fn every_transition_is_the_known_one() {
        use Direction::*;
        use Table::*;
        let expected = [
            (
                Normal,
                Input,
                ["REERRRRRRRR", "CWSTTTCWLIT", "EESEFTCWCIE", "CCCRCCCCLIR"],
            ),
            (
                Normal,
                Output,
                ["SESRSSSSSIR", "TFSTFTCTLIT", "EESEFTCWLEE", "CCSCCTCCCCC"],
            ),
            (
                Normal,
                InputOnly,
                ["REERRRRRRRR", "CFSTFTCWLIT", "EESEFTCWCIE", "CCCRCCCCLIC"],
            ),
            (
                Secure,
                Input,
                ["REERRRRRRRA", "CWSTTTCWLIA", "EESRFTCWCIA", "CCCRCCCCLIC"],
            ),
            (
                Secure,
                Output,
                ["SESASSSSSIA", "TFSTFTCTLIT", "EESEFTCWLEE", "CCSCCTCCCCC"],
            ),
            (
                Secure,
                InputOnly,
                ["AEERAAAAAAA", "CFSTFTCWLIT", "EESEFTCWCIE", "CCCRCCCCLIC"],
            ),
        ];
        for (table, direction, rows) in expected {
            for (flags, expected) in FLAGS.into_iter().zip(rows) {
                assert_eq!(
                    row(table, direction, flags),
                    expected,
                    "{table:?} {direction:?} {flags:?}"
                );
            }
        }
    }

    #[test]
    fn rst_beats_syn_beats_fin_beats_ack() {
        for bits in 0..=255 {
            let flags = TcpFlags::new(bits);
            let strongest = [TcpFlags::RST, TcpFlags::SYN, TcpFlags::FIN, TcpFlags::ACK]
                .into_iter()
                .find(|flag| flags.bits() & flag.bits() != 0);
            for table in [Table::Normal, Table::Secure] {
                for direction in [Direction::Input, Direction::Output, Direction::InputOnly] {
                    for state in ALL {
                        let expected = match strongest {
                            Some(flag) => next(table, direction, state, flag),
                            Option::None => Close,
                        };
                        assert_eq!(next(table, direction, state, flags), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn a_handshake_establishes_and_two_fins_end() {
        let mut state = None;
        let mut step = |direction, flags: TcpFlags| {
            state = next(Table::Normal, direction, state, flags);
            state
        };
        let syn_ack = TcpFlags::SYN.with(TcpFlags::ACK);
        let fin_ack = TcpFlags::FIN.with(TcpFlags::ACK);
        assert_eq!(step(Direction::Input, TcpFlags::SYN), SynRecv);
        assert_eq!(step(Direction::Output, syn_ack), SynRecv);
        assert_eq!(step(Direction::Input, TcpFlags::ACK), Established);
        assert_eq!(step(Direction::Input, fin_ack), CloseWait);
        assert_eq!(step(Direction::Output, TcpFlags::ACK), CloseWait);
        assert_eq!(step(Direction::Output, fin_ack), TimeWait);
        assert_eq!(step(Direction::Input, TcpFlags::ACK), TimeWait);
    }

    #[test]
    fn numbers_and_names_are_the_known_ones() {
        for (number, state) in ALL.into_iter().enumerate() {
            assert_eq!(usize::from(state.number()), number);
            assert_eq!(TcpState::from_number(number as u16), Some(state));
        }
        assert_eq!(TcpState::from_number(11), Option::None);
        assert_eq!(state_name(1), "ESTABLISHED");
        assert_eq!(state_name(10), "SYNACK");
        assert_eq!(state_name(11), "ERR!");
        assert_eq!(state_name(u16::MAX), "ERR!");
    }

    #[test]
    fn timeouts_are_the_known_ones() {
        assert_eq!(
            DEFAULT_TIMEOUTS,
            [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120]
        );
    }

    #[test]
    fn half_open_and_established_connections_are_active() {
        let active: Vec<_> = ALL.into_iter().filter(|state| state.is_active()).collect();
        assert_eq!(active, [Established, SynSent, SynRecv, SynAck]);
    }
}
