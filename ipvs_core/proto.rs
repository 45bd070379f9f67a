// SPDX-License-Identifier: GPL-2.0

//! The transport protocols that services are for. A protocol that is added here does not compile until
//! each match on it says what becomes of its packets. Stands for `ip_vs_proto.c`.

use crate::{
    ipv4::{
        PROTO_SCTP,
        PROTO_TCP,
        PROTO_UDP, //
    },
    sctp,
    tcp,
    udp, //
};

/// A transport protocol that services are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Protocol {
    /// TCP.
    Tcp = PROTO_TCP,
    /// UDP.
    Udp = PROTO_UDP,
    /// SCTP.
    Sctp = PROTO_SCTP,
}

impl Protocol {
    /// Returns the protocol of this number, or `None` if no service is for it. C:
    /// `ip_vs_proto_get()`.
    #[inline]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            PROTO_TCP => Some(Self::Tcp),
            PROTO_UDP => Some(Self::Udp),
            PROTO_SCTP => Some(Self::Sctp),
            _ => None,
        }
    }

    /// Returns its number in a network header.
    #[inline]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Returns the name that `ipvsadm -Lnc` shows for a state. C: `ip_vs_state_name()`.
    pub const fn state_name(self, state: u16) -> &'static str {
        match self {
            Self::Tcp => tcp::state_name(state),
            Self::Udp => udp::state_name(state),
            Self::Sctp => sctp::state_name(state),
        }
    }
}

/// The direction of a packet (C: `IP_VS_DIR_*`).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Client to server.
    Input = 0,
    /// Server to client.
    Output = 1,
    /// Client to server, on a connection whose replies do not pass the director.
    InputOnly = 2,
}

impl Direction {
    /// Adjusts the direction of a packet by the connection's flag `IP_VS_CONN_F_NOOUTPUT`:
    /// `no_output`. Returns the direction to look up transitions with, and the new value of the
    /// flag.
    ///
    /// While the flag is set, packets of the client count as [`Direction::InputOnly`]. A packet of
    /// the server shows that replies do pass the director, and clears the flag.
    #[inline]
    pub const fn with_flag(self, no_output: bool) -> (Self, bool) {
        match self {
            Self::Output => (self, false),
            _ if no_output => (Self::InputOnly, true),
            _ => (self, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_that_of_its_protocol() {
        for number in 0..=u8::MAX {
            let protocol = Protocol::from_number(number);
            assert_eq!(protocol.is_some(), matches!(number, 6 | 17 | 132));
            assert!(protocol.is_none_or(|protocol| protocol.number() == number));
        }
    }

    #[test]
    fn states_have_the_names_of_their_protocol() {
        assert_eq!(Protocol::Tcp.state_name(1), "ESTABLISHED");
        assert_eq!(Protocol::Udp.state_name(udp::NORMAL), "UDP");
        assert_eq!(Protocol::Udp.state_name(1), "ERR!");
        assert_eq!(Protocol::Sctp.state_name(1), "INIT1");
        assert_eq!(Protocol::Sctp.state_name(8), "ESTABLISHED");
    }

    #[test]
    fn the_flag_holds_until_an_answer_is_seen() {
        use Direction::*;
        assert_eq!(Input.with_flag(false), (Input, false));
        assert_eq!(Input.with_flag(true), (InputOnly, true));
        assert_eq!(Output.with_flag(true), (Output, false));
        assert_eq!(Output.with_flag(false), (Output, false));
    }
}
