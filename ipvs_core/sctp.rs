// SPDX-License-Identifier: GPL-2.0

//! SCTP (RFC 9260): the chunks that matter to a director, the states of an association as it sees
//! them, and the checksum.
//!
//! C: `ip_vs_proto_sctp.c`. The transitions are written as rules, from which the table that packets
//! look up is computed at compile time.

use crate::{
    bytes::put,
    net::Be16,
    proto::Direction,
    transport::{
        End,
        Ports, //
    }, //
};

/// The length of an SCTP header in bytes.
pub const HEADER_LEN: usize = 12;
/// The length of an SCTP header and the header of the first chunk, in bytes.
pub const FIRST_CHUNK_END: usize = HEADER_LEN + CHUNK_HEADER_LEN;
/// The length of the header of a chunk in bytes.
pub const CHUNK_HEADER_LEN: usize = 4;
/// The offset of the checksum in an SCTP header.
pub const CHECK_AT: usize = 8;

/// The event that a packet stands for, which its chunks determine (C: `enum ipvs_sctp_event_t`).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// DATA, SACK, HEARTBEAT, and everything that is not listed below.
    Data = 0,
    /// INIT: asks for an association.
    Init = 1,
    /// INIT ACK: agrees, with a cookie.
    InitAck = 2,
    /// COOKIE ECHO: returns the cookie.
    CookieEcho = 3,
    /// COOKIE ACK: the association is established.
    CookieAck = 4,
    /// SHUTDOWN: the sender has no more data.
    Shutdown = 5,
    /// SHUTDOWN ACK: nor has its peer.
    ShutdownAck = 6,
    /// SHUTDOWN COMPLETE: the association has ended.
    ShutdownComplete = 7,
    /// ERROR: reports an error in what was received.
    Error = 8,
    /// ABORT: ends the association, or refuses it.
    Abort = 9,
}

/// The number of events.
const EVENTS: usize = 10;

const ALL_EVENTS: [Event; EVENTS] = [
    Event::Data,
    Event::Init,
    Event::InitAck,
    Event::CookieEcho,
    Event::CookieAck,
    Event::Shutdown,
    Event::ShutdownAck,
    Event::ShutdownComplete,
    Event::Error,
    Event::Abort,
];

impl Event {
    /// Returns the event of a chunk type (RFC 9260, section 3.2).
    #[inline]
    const fn of(chunk_type: u8) -> Self {
        match chunk_type {
            1 => Self::Init,
            2 => Self::InitAck,
            6 => Self::Abort,
            7 => Self::Shutdown,
            8 => Self::ShutdownAck,
            9 => Self::Error,
            10 => Self::CookieEcho,
            11 => Self::CookieAck,
            14 => Self::ShutdownComplete,
            _ => Self::Data,
        }
    }
}

/// What the chunks of a packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// The event of the first chunk alone, which tells whether the packet opens an association.
    first: Event,
    /// The event of the packet.
    event: Event,
}

impl Chunks {
    /// Reads the chunks of a packet. `first` is the header of the first chunk. `header_at` returns
    /// the header of a chunk at an offset in bytes from the SCTP header, or `None` if the packet
    /// ends before its end.
    ///
    /// The first chunk determines the event, except that an ABORT after a COOKIE ECHO or COOKIE ACK
    /// is what counts: ABORT is the only chunk of another meaning that may be bundled with those. As
    /// in C, no other chunk is looked at.
    #[inline]
    pub fn read(
        first: [u8; CHUNK_HEADER_LEN],
        header_at: impl FnOnce(usize) -> Option<[u8; CHUNK_HEADER_LEN]>,
    ) -> Self {
        let [chunk_type, _, len @ ..] = first;
        let first = Event::of(chunk_type);
        let mut event = first;
        if matches!(first, Event::CookieEcho | Event::CookieAck) {
            let len = usize::from(u16::from_be_bytes(len));
            if len >= CHUNK_HEADER_LEN {
                // Chunks are padded to a multiple of four bytes.
                let padded = len.wrapping_add(3) & !3;
                let next = header_at(HEADER_LEN.wrapping_add(padded));
                if next.is_some_and(|[chunk_type, ..]| Event::of(chunk_type) == Event::Abort) {
                    event = Event::Abort;
                }
            }
        }
        Self { first, event }
    }

    /// Returns whether the first chunk is an INIT, which opens an association.
    #[inline]
    pub const fn is_init(self) -> bool {
        matches!(self.first, Event::Init)
    }

    /// Returns whether the first chunk is an ABORT. C: `is_sctp_abort()`.
    #[inline]
    pub const fn is_abort(self) -> bool {
        matches!(self.first, Event::Abort)
    }

    /// Returns the event that the packet stands for.
    #[inline]
    pub const fn event(self) -> Event {
        self.event
    }
}

/// A state of an association, as in the server. The numbers are part of sync messages (C:
/// `IP_VS_SCTP_S_*`).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SctpState {
    /// Nothing seen yet.
    None = 0,
    /// The client has sent an INIT, which may have been lost on the way to the server.
    Init1 = 1,
    /// The client has sent more than one INIT.
    Init = 2,
    /// The server has sent an INIT ACK, and with it a cookie.
    CookieSent = 3,
    /// The client has returned the cookie.
    CookieReplied = 4,
    /// The server has sent an INIT.
    CookieWait = 5,
    /// The client has answered it with an INIT ACK.
    Cookie = 6,
    /// The server has returned the client's cookie.
    CookieEchoed = 7,
    /// The association is established.
    Established = 8,
    /// The server has sent a SHUTDOWN.
    ShutdownSent = 9,
    /// The client has sent a SHUTDOWN.
    ShutdownReceived = 10,
    /// The server has sent a SHUTDOWN ACK.
    ShutdownAckSent = 11,
    /// An INIT was answered with an ABORT.
    Rejected = 12,
    /// The association has ended.
    Closed = 13,
}

use SctpState::*;

/// The number of states (C: `IP_VS_SCTP_S_LAST`).
pub const STATES: usize = 14;

const ALL: [SctpState; STATES] = [
    None,
    Init1,
    Init,
    CookieSent,
    CookieReplied,
    CookieWait,
    Cookie,
    CookieEchoed,
    Established,
    ShutdownSent,
    ShutdownReceived,
    ShutdownAckSent,
    Rejected,
    Closed,
];

/// The timeout in seconds while one side waits for the other: a maximum retransmission timeout of 60
/// seconds, and one more (C: `IP_VS_SCTP_MAX_RTO`).
const MAX_RTO: u32 = 60 + 1;

impl SctpState {
    /// Returns the state with this number. `None` if there is no such state.
    #[inline]
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0 => None,
            1 => Init1,
            2 => Init,
            3 => CookieSent,
            4 => CookieReplied,
            5 => CookieWait,
            6 => Cookie,
            7 => CookieEchoed,
            8 => Established,
            9 => ShutdownSent,
            10 => ShutdownReceived,
            11 => ShutdownAckSent,
            12 => Rejected,
            13 => Closed,
            _ => return Option::None,
        })
    }

    /// Returns the number of the state.
    #[inline]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Returns `true` if a connection in this state counts as active for its server.
    #[inline]
    pub const fn is_active(self) -> bool {
        matches!(self, Established)
    }

    /// Returns the name that `ipvsadm -Lnc` shows.
    pub const fn name(self) -> &'static str {
        match self {
            None => "NONE",
            Init1 => "INIT1",
            Init => "INIT",
            CookieSent => "C-SENT",
            CookieReplied => "C-REPLIED",
            CookieWait => "C-WAIT",
            Cookie => "COOKIE",
            CookieEchoed => "C-ECHOED",
            Established => "ESTABLISHED",
            ShutdownSent => "S-SENT",
            ShutdownReceived => "S-RECEIVED",
            ShutdownAckSent => "S-ACK-SENT",
            Rejected => "REJECTED",
            Closed => "CLOSED",
        }
    }

    /// Returns the timeout in seconds: a connection without packets stays in this state that long.
    /// Users can't change it (C: `sctp_timeouts`).
    #[inline]
    pub const fn timeout(self) -> u32 {
        match self {
            None => 2,
            // The first retransmission of an INIT comes after three seconds.
            Init1 | Rejected => 3 + 1,
            Established => 15 * 60,
            Init | CookieSent | CookieReplied | CookieWait | Cookie | CookieEchoed
            | ShutdownSent | ShutdownReceived | ShutdownAckSent | Closed => MAX_RTO,
        }
    }
}

/// Returns [`SctpState::name`] for a number; "ERR!" if it is not that of a state.
pub const fn state_name(number: u16) -> &'static str {
    match SctpState::from_number(number) {
        Some(state) => state.name(),
        Option::None => "ERR!",
    }
}

/// Returns whether `state` comes before `other` in the order of their numbers, which is that of an
/// association's life.
const fn is_before(state: SctpState, other: SctpState) -> bool {
    (state as u8) < other as u8
}

const fn on_input(event: Event, state: SctpState) -> SctpState {
    match (event, state) {
        (Event::Data, None) => Established,

        (Event::Init, None) => Init1,
        (Event::Init, Init1 | Rejected | Closed) => Init,

        (Event::InitAck, None | Init1 | Init) => CookieWait,
        (Event::InitAck, CookieWait) => Cookie,

        (Event::CookieEcho, None | CookieSent) => CookieReplied,
        (Event::CookieEcho, Init1) => Init,

        (Event::CookieAck, None | CookieEchoed) => Established,

        (Event::Shutdown, None | Established) => ShutdownReceived,

        (Event::ShutdownAck, None | ShutdownSent | ShutdownAckSent) => Closed,
        (Event::ShutdownAck, Init1) => Init,

        (Event::ShutdownComplete, None | Init1 | Init | ShutdownAckSent) => Closed,

        (Event::Error, None | CookieEchoed) => Closed,

        // The client refuses the server's INIT.
        (Event::Abort, CookieWait) => Rejected,
        (Event::Abort, _) => Closed,

        (_, _) => state,
    }
}

const fn on_output(event: Event, state: SctpState) -> SctpState {
    match (event, state) {
        (Event::Data, None) => Established,

        (Event::Init, Established) => Established,
        (Event::Init, _) => CookieWait,

        (Event::InitAck, None | Init1 | Init) => CookieSent,

        (Event::CookieEcho, _) if is_before(state, Established) => CookieEchoed,

        (Event::CookieAck, _) if is_before(state, Established) => Established,

        (Event::Shutdown, _) if is_before(state, ShutdownSent) => ShutdownSent,

        (Event::ShutdownAck, _) if is_before(state, CookieWait) => ShutdownAckSent,
        (Event::ShutdownAck, ShutdownSent | ShutdownReceived) => ShutdownAckSent,

        (Event::ShutdownComplete, None) => Closed,

        (Event::Error, _) if is_before(state, CookieWait) => Closed,

        // The server refuses the client's INIT.
        (Event::Abort, Init1) => Rejected,
        (Event::Abort, _) => Closed,

        (_, _) => state,
    }
}

/// The server's chunks are not seen: what the client sends tells what they must have been.
const fn on_input_only(event: Event, state: SctpState) -> SctpState {
    match (event, state) {
        (Event::Data, CookieWait) => Established,

        (Event::Init, CookieSent | CookieReplied | CookieWait) => Init,

        (Event::InitAck, _) if is_before(state, Cookie) => CookieEchoed,

        (Event::CookieEcho, _) if is_before(state, Cookie) => Established,

        (Event::CookieAck, CookieSent | CookieReplied | Cookie) => Established,

        (Event::ShutdownAck, Established) => Closed,

        (Event::ShutdownComplete, CookieSent | CookieReplied | ShutdownReceived) => Closed,

        (Event::Error, CookieEchoed) => CookieEchoed,

        (_, _) => on_input(event, state),
    }
}

/// The size of [`TRANSITIONS`]: a power of two above every index.
const SIZE: usize = 1024;

/// Returns the index into [`TRANSITIONS`]: below [`SIZE`] for every combination.
#[inline(always)]
const fn index(direction: Direction, event: Event, state: SctpState) -> usize {
    (((direction as usize) << 8) | ((event as usize) << 4) | state as usize) & (SIZE - 1)
}

const TRANSITIONS: [SctpState; SIZE] = {
    let mut next = [Closed; SIZE];
    let mut e = 0;
    while e < EVENTS {
        let mut s = 0;
        while s < STATES {
            let (event, state) = (ALL_EVENTS[e], ALL[s]);
            next[index(Direction::Input, event, state)] = on_input(event, state);
            next[index(Direction::Output, event, state)] = on_output(event, state);
            next[index(Direction::InputOnly, event, state)] = on_input_only(event, state);
            s += 1;
        }
        e += 1;
    }
    next
};

/// The table as a `static`, so that it exists once per module and not once per use.
static NEXT: [SctpState; SIZE] = TRANSITIONS;

/// Returns the state after a packet with this event in this direction.
#[inline]
pub fn next(direction: Direction, state: SctpState, event: Event) -> SctpState {
    NEXT[index(direction, event, state)]
}

/// Returns the ports of an SCTP header.
#[inline]
pub fn ports(header: &[u8; FIRST_CHUNK_END]) -> Ports {
    let &[s0, s1, d0, d1, ..] = header;
    Ports {
        src: Be16::from_bytes([s0, s1]),
        dst: Be16::from_bytes([d0, d1]),
    }
}

/// Returns the header of the first chunk.
#[inline]
pub fn first_chunk(header: &[u8; FIRST_CHUNK_END]) -> [u8; CHUNK_HEADER_LEN] {
    let &[.., c0, c1, c2, c3] = header;
    [c0, c1, c2, c3]
}

/// Writes a port into an SCTP header. Returns `true` if it was another one, so that the checksum is
/// no longer right. Addresses are not covered by it.
#[inline]
#[must_use = "the checksum may have to be computed"]
pub fn set_port(header: &mut [u8; HEADER_LEN], end: End, port: Be16) -> bool {
    let old = *header;
    put(header, end.port_at(), port.to_bytes());
    old != *header
}

/// Sets the checksum to 0, which the packet must have while it is computed.
#[inline]
pub fn clear_checksum(header: &mut [u8; HEADER_LEN]) {
    put(header, CHECK_AT, [0; 4]);
}

/// The value that a CRC32c starts with.
pub const CRC_SEED: u32 = !0;

/// Returns the bytes of the checksum field for a CRC32c that began with [`CRC_SEED`] (C:
/// `sctp_compute_cksum()`).
#[inline]
pub const fn checksum_of(crc: u32) -> [u8; 4] {
    (!crc).to_le_bytes()
}

/// Continues a CRC32c over `bytes` (RFC 9260, appendix A), bit by bit. Packets use the kernel's
/// `skb_crc32c()` instead; this is for tests.
pub fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    let mut crc = crc;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            let carry = crc & 1 != 0;
            crc >>= 1;
            if carry {
                crc ^= 0x82f6_3b78;
            }
        }
    }
    crc
}

#[cfg(test)]
mod tests;
