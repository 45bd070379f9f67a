// SPDX-License-Identifier: GPL-2.0

//! The transport protocols that services are for. A protocol that is added here does not compile until
//! each match on it says what becomes of its packets. Stands for `ip_vs_proto.c`.

use crate::{
    ipv4::{
        PROTO_TCP,
        PROTO_UDP, //
    },
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
}

impl Protocol {
    /// Returns the protocol of this number, or `None` if no service is for it. C:
    /// `ip_vs_proto_get()`.
    #[inline]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            PROTO_TCP => Some(Self::Tcp),
            PROTO_UDP => Some(Self::Udp),
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
            assert_eq!(protocol.is_some(), matches!(number, 6 | 17));
            assert!(protocol.is_none_or(|protocol| protocol.number() == number));
        }
    }

    #[test]
    fn states_have_the_names_of_their_protocol() {
        assert_eq!(Protocol::Tcp.state_name(1), "ESTABLISHED");
        assert_eq!(Protocol::Udp.state_name(udp::NORMAL), "UDP");
        assert_eq!(Protocol::Udp.state_name(1), "ERR!");
    }
}
