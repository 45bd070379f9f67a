// SPDX-License-Identifier: GPL-2.0

//! Integers in network byte order, and addresses made of them.
//!
//! They hold the bytes as they are in a packet, like the kernel's `__be16` and `__be32`, so
//! comparing and hashing needs no byte swap. For arithmetic, convert them with [`Be16::host`].

use crate::checksum::Sum;
use core::{
    fmt::Debug,
    net::IpAddr, //
};

/// A 16-bit value in network byte order (C: `__be16`): a port, a length, a checksum.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Be16(u16);

/// A 32-bit value in network byte order (C: `__be32`): an IPv4 address or netmask.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Be32(u32);

/// A 128-bit value in network byte order (C: `struct in6_addr`): an IPv6 address.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Be128(u128);

/// An address of either family (C: `union nf_inet_addr` together with the family).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Addr {
    /// IPv4.
    V4(Be32),
    /// IPv6.
    V6(Be128),
}

/// An address type of one family, for code that is generic over the family.
pub trait Address: Copy + Eq + Default + Debug + Into<Addr> + Send + Sync + 'static {
    /// Returns the address if it is of this family.
    fn of(addr: Addr) -> Option<Self>;

    /// Returns the address as the standard library has it.
    fn ip(self) -> IpAddr {
        let addr: Addr = self.into();
        addr.into()
    }

    /// Adds the words of the address to `sum`.
    fn add_to(self, sum: Sum) -> Sum;

    /// Subtracts the words of the address from `sum`.
    fn take_from(self, sum: Sum) -> Sum;

    /// Returns the network of the address. `netmask` is the persistence netmask of a service: a
    /// mask for IPv4. For IPv6 it is the prefix length, as the raw integer in host byte order; a
    /// length above 128 counts as 128 (C: `svc->netmask`, `ipv6_addr_prefix()`).
    fn network(self, netmask: Be32) -> Self;

    /// Returns the address that stands for a firewall mark in persistence templates (C:
    /// `{ .ip = htonl(fwmark) }`).
    fn of_mark(mark: u32) -> Self;
}

impl Address for Be32 {
    #[inline]
    fn of(addr: Addr) -> Option<Self> {
        match addr {
            Addr::V4(addr) => Some(addr),
            Addr::V6(_) => None,
        }
    }

    #[inline]
    fn add_to(self, sum: Sum) -> Sum {
        sum.add32(self)
    }

    #[inline]
    fn take_from(self, sum: Sum) -> Sum {
        sum.sub32(self)
    }

    fn network(self, netmask: Be32) -> Self {
        Self(self.0 & netmask.0)
    }

    fn of_mark(mark: u32) -> Self {
        Self::new(mark)
    }
}

impl Address for Be128 {
    #[inline]
    fn of(addr: Addr) -> Option<Self> {
        match addr {
            Addr::V4(_) => None,
            Addr::V6(addr) => Some(addr),
        }
    }

    #[inline]
    fn add_to(self, sum: Sum) -> Sum {
        self.words().iter().fold(sum, |sum, &word| sum.add32(word))
    }

    #[inline]
    fn take_from(self, sum: Sum) -> Sum {
        self.words().iter().fold(sum, |sum, &word| sum.sub32(word))
    }

    fn network(self, netmask: Be32) -> Self {
        let rest = 128u32.saturating_sub(netmask.raw());
        // A shift by 128 bits leaves an empty mask.
        let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
        Self::new(self.host() & mask)
    }

    fn of_mark(mark: u32) -> Self {
        Self::new(u128::from(mark) << 96)
    }
}

impl From<Addr> for IpAddr {
    fn from(addr: Addr) -> Self {
        match addr {
            Addr::V4(addr) => addr.to_bytes().into(),
            Addr::V6(addr) => addr.to_bytes().into(),
        }
    }
}

impl From<IpAddr> for Addr {
    fn from(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(addr) => Self::V4(Be32::from_bytes(addr.octets())),
            IpAddr::V6(addr) => Self::V6(Be128::from_bytes(addr.octets())),
        }
    }
}

impl From<Be32> for Addr {
    #[inline]
    fn from(addr: Be32) -> Self {
        Self::V4(addr)
    }
}

impl From<Be128> for Addr {
    #[inline]
    fn from(addr: Be128) -> Self {
        Self::V6(addr)
    }
}

macro_rules! big_endian {
    ($name:ident, $int:ty, $bytes:literal) => {
        impl $name {
            /// All bits zero.
            pub const ZERO: Self = Self(0);

            /// Converts from the host's byte order.
            #[inline]
            pub const fn new(host: $int) -> Self {
                Self(host.to_be())
            }

            /// Converts to the host's byte order.
            #[inline]
            pub const fn host(self) -> $int {
                <$int>::from_be(self.0)
            }

            /// Creates a value from the integer as it is in memory (what C keeps in a `__be`
            /// variable).
            #[inline]
            pub const fn from_raw(raw: $int) -> Self {
                Self(raw)
            }

            /// Returns the integer as it is in memory.
            #[inline]
            pub const fn raw(self) -> $int {
                self.0
            }

            /// Creates a value from its bytes as they are in a packet.
            #[inline]
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(<$int>::from_ne_bytes(bytes))
            }

            /// Returns the bytes as they are in a packet.
            #[inline]
            pub const fn to_bytes(self) -> [u8; $bytes] {
                self.0.to_ne_bytes()
            }
        }
    };
}

big_endian!(Be16, u16, 2);
big_endian!(Be32, u32, 4);
big_endian!(Be128, u128, 16);

impl Be128 {
    /// Returns the four 32-bit words in the order in which they are in a packet.
    #[inline]
    pub const fn words(self) -> [Be32; 4] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.to_bytes();
        [
            Be32::from_bytes([a, b, c, d]),
            Be32::from_bytes([e, f, g, h]),
            Be32::from_bytes([i, j, k, l]),
            Be32::from_bytes([m, n, o, p]),
        ]
    }

    /// Returns the two halves as integers as they are in memory.
    #[inline]
    pub(crate) const fn halves(self) -> [u64; 2] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.to_bytes();
        [
            u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_bytes_of_the_wire() {
        assert_eq!(Be16::new(0x1234).to_bytes(), [0x12, 0x34]);
        assert_eq!(Be32::new(0x0a00_0001).to_bytes(), [10, 0, 0, 1]);
        assert_eq!(Be16::from_bytes([0, 80]).host(), 80);
        assert_eq!(Be32::from_bytes([192, 168, 0, 1]).host(), 0xc0a8_0001);
        assert_eq!(Be128::new(1).to_bytes()[15], 1);
        assert_eq!(Be128::new(7 << 32).words()[2], Be32::new(7));
    }

    #[test]
    fn an_address_is_of_one_family() {
        let (v4, v6) = (Be32::new(1), Be128::new(1));
        assert_eq!(
            (Be32::of(v4.into()), Be128::of(v4.into())),
            (Some(v4), None)
        );
        assert_eq!(
            (Be32::of(v6.into()), Be128::of(v6.into())),
            (None, Some(v6))
        );
    }

    #[test]
    fn a_network_is_what_the_mask_leaves() {
        let addr = Be32::from_bytes([10, 1, 2, 3]);
        let mask = Be32::from_bytes([255, 255, 0, 0]);
        assert_eq!(addr.network(mask).to_bytes(), [10, 1, 0, 0]);
        assert_eq!(addr.network(Be32::new(u32::MAX)), addr);
        assert_eq!(addr.network(Be32::ZERO), Be32::ZERO);

        let addr = Be128::new(u128::MAX);
        for len in 0..=128 {
            let network = addr.network(Be32::from_raw(len)).host();
            assert_eq!(network.leading_ones(), len);
            assert_eq!(network.count_ones(), len);
        }
        assert_eq!(addr.network(Be32::from_raw(u32::MAX)), addr);
    }

    #[test]
    fn a_mark_is_the_first_word_of_an_address() {
        assert_eq!(Be32::of_mark(0x0102_0304).to_bytes(), [1, 2, 3, 4]);
        let words = Be128::of_mark(0x0102_0304).words();
        let rest = [Be32::ZERO; 3];
        assert_eq!((words[0], &words[1..]), (Be32::new(0x0102_0304), &rest[..]));
    }

    #[test]
    fn the_sum_of_an_address_is_that_of_its_bytes() {
        let addr = Be128::new(0xfd00_ffff_1234_8765_0000_0001_abcd_ef01);
        let sum = addr.add_to(Sum::ZERO);
        assert_eq!(sum.fold(), Sum::ZERO.add_bytes(&addr.to_bytes()).fold());
        assert_eq!(addr.take_from(sum).fold(), Be16::new(0xffff));
    }

    #[test]
    fn raw_is_the_representation_in_memory() {
        let port = Be16::new(443);
        assert_eq!(port.raw().to_ne_bytes(), port.to_bytes());
        assert_eq!(Be16::from_raw(port.raw()), port);
        let addr = Be32::from_bytes([1, 2, 3, 4]);
        assert_eq!(Be32::from_raw(addr.raw()), addr);
    }
}
