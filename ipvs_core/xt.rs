// SPDX-License-Identifier: GPL-2.0

//! The options of a rule with `-m ipvs`, and whether a packet's connection meets them.
//!
//! C: `xt_ipvs.c`, `include/uapi/linux/netfilter/xt_ipvs.h`. The module's `xt.rs` finds the
//! connection.

use crate::{
    forward::FwdMethod,
    net::{
        Addr,
        Be16, //
    },
};

/// The length of the options as a user passes them, in bytes (C: `struct xt_ipvs_mtinfo`).
pub const INFO_LEN: usize = 40;

/// The packet was handled by IPVS. All other options imply this one.
const IPVS_PROPERTY: u8 = 1;
const PROTO: u8 = 1 << 1;
const VADDR: u8 = 1 << 2;
const VPORT: u8 = 1 << 3;
const DIR: u8 = 1 << 4;
const METHOD: u8 = 1 << 5;
const VPORTCTL: u8 = 1 << 6;

/// The facts about a packet and its connection that options ask for.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The virtual address of the connection.
    pub vaddr: Addr,
    /// The virtual port of the connection.
    pub vport: Be16,
    /// The virtual port of what controls the connection, if anything does.
    pub control_vport: Option<Be16>,
    /// The forwarding method of the connection.
    pub method: FwdMethod,
    /// Whether connection tracking has the packet in the direction of the first one; `None` if the
    /// packet is not tracked.
    pub original: Option<bool>,
}

/// The options of a rule.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    vaddr: [u8; 16],
    vmask: [u8; 16],
    vport: Be16,
    protocol: u8,
    method: u8,
    control_vport: Be16,
    /// Options that match what differs from their value.
    inverted: u8,
    /// Options that are given.
    given: u8,
}

impl Options {
    /// Reads the options. Bits that stand for no option are ignored, as in C.
    #[inline]
    pub fn read(info: &[u8; INFO_LEN]) -> Self {
        let &[vaddr @ .., p0, p1, protocol, method, c0, c1, inverted, given] = info;
        let [vaddr, vmask] = halves(vaddr);
        Self {
            vaddr,
            vmask,
            vport: Be16::from_bytes([p0, p1]),
            protocol,
            method,
            control_vport: Be16::from_bytes([c0, c1]),
            inverted,
            given,
        }
    }

    /// Returns whether a packet matches, as far as that does not depend on its connection; `None`
    /// if it does. `ipvs_property` says whether IPVS has handled the packet.
    #[inline]
    pub const fn without_conn(&self, ipvs_property: bool) -> Option<bool> {
        if self.given == IPVS_PROPERTY {
            return Some(self.meets(IPVS_PROPERTY, ipvs_property));
        }
        if ipvs_property {
            None
        } else {
            Some(false)
        }
    }

    /// Returns whether the protocol of a packet meets the option for it, if that is given.
    #[inline]
    pub const fn meets_protocol(&self, protocol: u8) -> bool {
        self.meets(PROTO, protocol == self.protocol)
    }

    /// Returns whether a packet and its connection meet all options that are given, except that for
    /// the protocol.
    #[inline]
    pub fn meets_conn(&self, facts: &Facts) -> bool {
        self.meets(VPORT, facts.vport == self.vport)
            && self.meets(VPORTCTL, facts.control_vport == Some(self.control_vport))
            && self.meets_direction(facts.original)
            && self.meets(METHOD, facts.method.number() == u32::from(self.method))
            && self.meets(VADDR, self.covers(facts.vaddr))
    }

    /// Returns whether an option, if it is given, is met: `holds`, or not if it is inverted.
    #[inline]
    const fn meets(&self, option: u8, holds: bool) -> bool {
        self.given & option == 0 || holds != (self.inverted & option != 0)
    }

    /// A packet that is not tracked has no direction, so it does not meet the inverted option
    /// either.
    #[inline]
    fn meets_direction(&self, original: Option<bool>) -> bool {
        self.given & DIR == 0 || original.is_some_and(|original| self.meets(DIR, original))
    }

    /// Returns whether an address is in the network of the option. For IPv4 it is the first four
    /// bytes of that.
    #[inline]
    fn covers(&self, addr: Addr) -> bool {
        match addr {
            Addr::V4(addr) => self.equal_under_mask(&addr.to_bytes()),
            Addr::V6(addr) => self.equal_under_mask(&addr.to_bytes()),
        }
    }

    #[inline]
    fn equal_under_mask(&self, addr: &[u8]) -> bool {
        let wanted = self.vaddr.iter().zip(&self.vmask);
        addr.iter()
            .zip(wanted)
            .all(|(byte, (wanted, mask))| (byte ^ wanted) & mask == 0)
    }
}

/// Splits the virtual address and its mask.
#[inline]
fn halves(both: [u8; 32]) -> [[u8; 16]; 2] {
    let mut halves = [[0; 16]; 2];
    for (half, bytes) in halves.iter_mut().zip(both.chunks_exact(16)) {
        half.copy_from_slice(bytes);
    }
    halves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{
        Be128,
        Be32, //
    };

    const VADDR4: [u8; 4] = [198, 51, 100, 77];
    const ALL: [u8; 7] = [IPVS_PROPERTY, PROTO, VADDR, VPORT, DIR, METHOD, VPORTCTL];

    /// The options of a rule for a connection like that of [`facts`].
    fn info(given: u8, inverted: u8) -> [u8; INFO_LEN] {
        let mut info = [0; INFO_LEN];
        info[..4].copy_from_slice(&VADDR4);
        info[16..20].fill(0xff);
        // Port 81, TCP, method 2, controlled by port 21.
        info[32..].copy_from_slice(&[0, 81, 6, 2, 0, 21, inverted, given]);
        info
    }

    fn options(given: u8, inverted: u8) -> Options {
        Options::read(&info(given, inverted))
    }

    fn facts() -> Facts {
        Facts {
            vaddr: Be32::from_bytes(VADDR4).into(),
            vport: Be16::new(81),
            control_vport: Some(Be16::new(21)),
            method: FwdMethod::Tunnel,
            original: Some(true),
        }
    }

    /// Facts of which one is otherwise, with the option that asks for it.
    fn others() -> [(u8, Facts); 5] {
        let vaddr = Be32::from_bytes([198, 51, 100, 78]).into();
        [
            (VADDR, Facts { vaddr, ..facts() }),
            (
                VPORT,
                Facts {
                    vport: Be16::new(21),
                    ..facts()
                },
            ),
            (
                VPORTCTL,
                Facts {
                    control_vport: Some(Be16::new(81)),
                    ..facts()
                },
            ),
            (
                METHOD,
                Facts {
                    method: FwdMethod::DRoute,
                    ..facts()
                },
            ),
            (
                DIR,
                Facts {
                    original: Some(false),
                    ..facts()
                },
            ),
        ]
    }

    #[test]
    fn the_property_alone_needs_no_connection() {
        for property in [false, true] {
            let alone = options(IPVS_PROPERTY, 0);
            assert_eq!(alone.without_conn(property), Some(property));
            let inverted = options(IPVS_PROPERTY, IPVS_PROPERTY);
            assert_eq!(inverted.without_conn(property), Some(!property));
        }
    }

    #[test]
    fn with_any_other_option_the_property_is_needed_and_its_inversion_ignored() {
        for given in (0..=u8::MAX).filter(|&given| given != IPVS_PROPERTY) {
            for inverted in [0, u8::MAX] {
                let options = options(given, inverted);
                assert_eq!(options.without_conn(false), Some(false));
                assert_eq!(options.without_conn(true), None);
            }
        }
    }

    #[test]
    fn the_protocol_is_compared_where_it_is_given() {
        for (protocol, equal) in [(6, true), (17, false), (0, false)] {
            assert!(options(VPORT, 0).meets_protocol(protocol));
            assert_eq!(options(PROTO, 0).meets_protocol(protocol), equal);
            assert_eq!(options(PROTO, PROTO).meets_protocol(protocol), !equal);
        }
    }

    #[test]
    fn each_option_is_met_by_what_it_asks_for_and_inverted_by_all_else() {
        for given in 0..=u8::MAX {
            // Bits that stand for nothing change nothing.
            let asked = given & !(IPVS_PROPERTY | PROTO | 0x80);
            for inverted in 0..=u8::MAX {
                let options = options(given, inverted);
                assert_eq!(options.meets_conn(&facts()), asked & inverted == 0);
                for (option, other) in others() {
                    let met = (inverted ^ option) & asked == 0;
                    assert_eq!(options.meets_conn(&other), met, "{given:#x} {inverted:#x}");
                }
            }
        }
        // Each option is looked at above.
        let asked = others().iter().fold(0, |all, (option, _)| all | option);
        assert_eq!(
            asked | IPVS_PROPERTY | PROTO,
            ALL.iter().fold(0, |all, option| all | option)
        );
    }

    #[test]
    fn without_control_the_port_of_control_differs() {
        let alone = Facts {
            control_vport: None,
            ..facts()
        };
        assert!(!options(VPORTCTL, 0).meets_conn(&alone));
        assert!(options(VPORTCTL, VPORTCTL).meets_conn(&alone));
    }

    #[test]
    fn what_is_not_tracked_has_no_direction() {
        let untracked = Facts {
            original: None,
            ..facts()
        };
        assert!(!options(DIR, 0).meets_conn(&untracked));
        assert!(!options(DIR, DIR).meets_conn(&untracked));
        assert!(options(VPORT, DIR).meets_conn(&untracked));
    }

    #[test]
    fn methods_have_their_numbers_and_no_other() {
        let method = |number: u8| {
            let mut info = info(METHOD, 0);
            info[35] = number;
            Options::read(&info)
        };
        for (number, is) in [
            (0, FwdMethod::Masq),
            (1, FwdMethod::LocalNode),
            (2, FwdMethod::Tunnel),
            (3, FwdMethod::DRoute),
            (4, FwdMethod::Bypass),
        ] {
            for other in 0..=u8::MAX {
                let facts = Facts {
                    method: is,
                    ..facts()
                };
                assert_eq!(method(other).meets_conn(&facts), other == number);
            }
        }
    }

    #[test]
    fn each_bit_of_the_mask_counts_in_the_bytes_of_the_family() {
        let wanted = [0x5a; 16];
        for bit in 0..128 {
            let mut addr = wanted;
            addr[bit / 8] ^= 0x80 >> (bit % 8);
            for masked in [false, true] {
                let mut info = info(VADDR, 0);
                info[..16].copy_from_slice(&wanted);
                info[16..32].fill(0xff);
                if !masked {
                    info[16 + bit / 8] ^= 0x80 >> (bit % 8);
                }
                let covers = |vaddr| Options::read(&info).meets_conn(&Facts { vaddr, ..facts() });
                assert_eq!(covers(Be128::from_bytes(addr).into()), !masked);
                let first = *addr.first_chunk().unwrap();
                // What lies beyond the address of IPv4 is not looked at.
                assert_eq!(covers(Be32::from_bytes(first).into()), !masked || bit >= 32);
            }
        }
    }
}
