// SPDX-License-Identifier: GPL-2.0

//! Formats services and servers for the kernel log: in decimal, as users write them.
//!
//! The format is that of `ip_vs_scheduler_err()`, which monitoring tools match on. The module's
//! `log.rs` has the messages.

use crate::{
    net::{
        Addr,
        Be16, //
    },
    text::{
        ProtocolName,
        ServiceLabel, //
    },
};
use core::{
    fmt,
    net::{
        Ipv4Addr,
        Ipv6Addr, //
    },
};

/// An address and a port: `192.0.2.1:80`, `[2001:db8::1]:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint(pub Addr, pub Be16);

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.1.host();
        match self.0 {
            Addr::V4(addr) => write!(f, "{}:{port}", Ipv4Addr::from(addr.to_bytes())),
            Addr::V6(addr) => write!(f, "[{}]:{port}", Ipv6Addr::from(addr.to_bytes())),
        }
    }
}

/// A service: `TCP 192.0.2.1:80`, or `FWM 10 0x0000000A` for a firewall mark.
#[derive(Clone, Copy, Debug)]
pub struct ServiceName(pub ServiceLabel);

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ServiceLabel::Addr(protocol, addr, port) => {
                write!(f, "{} {}", ProtocolName(protocol), Endpoint(addr, port))
            }
            ServiceLabel::Fwmark(mark) => write!(f, "FWM {mark} 0x{mark:08X}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{
        Be128,
        Be32, //
    };

    #[test]
    fn services_have_their_addresses_in_decimal() {
        let named = |label| ServiceName(label).to_string();
        let port = Be16::new(80);
        let v4 = Be32::from_bytes([192, 0, 2, 1]).into();
        assert_eq!(named(ServiceLabel::Addr(6, v4, port)), "TCP 192.0.2.1:80");
        let v6 = |addr| Be128::new(addr).into();
        let long = v6(0x2001_0db8_0000_0000_0001_0000_0000_0001);
        assert_eq!(
            named(ServiceLabel::Addr(17, long, port)),
            "UDP [2001:db8::1:0:0:1]:80"
        );
        let mapped = v6(0xffff_c000_0201);
        assert_eq!(
            named(ServiceLabel::Addr(132, mapped, Be16::ZERO)),
            "SCTP [::ffff:192.0.2.1]:0"
        );
        assert_eq!(named(ServiceLabel::Fwmark(1)), "FWM 1 0x00000001");
        assert_eq!(
            named(ServiceLabel::Fwmark(u32::MAX)),
            "FWM 4294967295 0xFFFFFFFF"
        );
    }
}
