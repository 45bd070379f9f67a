// SPDX-License-Identifier: GPL-2.0

//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! C: `csum_partial()`, `csum_fold()`, `csum_replace2()`, `csum_replace4()` and
//! `inet_proto_csum_replace4()`. One's complement sums do not depend on the byte order, so all
//! arithmetic is on integers as they are in memory (network byte order).
//!
//! Zero has two representations in one's complement. The functions return the same one as their C
//! counterparts: an update never results in a stored checksum of 0xffff.

use crate::net::{
    Address,
    Be16,
    Be32, //
};

/// A one's complement sum that has not been folded to 16 bits yet.
///
/// Up to 2^32 words of 32 bits can be added before it could overflow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// The empty sum.
    pub const ZERO: Self = Self(0);

    /// Returns the sum of the data that `check` covers, without `check` itself.
    ///
    /// The result is never 0, so that finishing it unchanged returns `check`, except that 0xffff
    /// becomes 0.
    #[inline]
    const fn of_stored(check: Be16) -> Self {
        Self(0xffff + !check.raw() as u64)
    }

    /// Adds a 16-bit word.
    #[inline]
    pub const fn add16(self, word: Be16) -> Self {
        Self(self.0.wrapping_add(word.raw() as u64))
    }

    /// Adds two 16-bit words at once.
    #[inline]
    pub const fn add32(self, words: Be32) -> Self {
        Self(self.0.wrapping_add(words.raw() as u64))
    }

    /// Subtracts a 16-bit word.
    #[inline]
    pub const fn sub16(self, word: Be16) -> Self {
        Self(self.0.wrapping_add(!word.raw() as u64))
    }

    /// Subtracts two 16-bit words at once.
    #[inline]
    pub const fn sub32(self, words: Be32) -> Self {
        Self(self.0.wrapping_add(!words.raw() as u64))
    }

    /// Adds bytes that start at an even offset of the data. An odd last byte counts as the upper
    /// half of a word, as if a zero byte followed.
    #[inline]
    pub fn add_bytes(self, bytes: &[u8]) -> Self {
        let mut sum = self.0;
        let mut rest = bytes;
        while let Some((word, tail)) = rest.split_first_chunk::<4>() {
            sum = sum.wrapping_add(u64::from(u32::from_ne_bytes(*word)));
            rest = tail;
        }
        if let Some((word, tail)) = rest.split_first_chunk::<2>() {
            sum = sum.wrapping_add(u64::from(u16::from_ne_bytes(*word)));
            rest = tail;
        }
        if let Some(&byte) = rest.first() {
            sum = sum.wrapping_add(u64::from(u16::from_ne_bytes([byte, 0])));
        }
        Self(sum)
    }

    /// Folds the sum to 16 bits, adding the carries back in (C: `csum_fold()`, which also
    /// complements).
    #[inline]
    pub const fn fold(self) -> Be16 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        // At most 0x1_ffff_fffe, so that the next sum is at most 0x1_fffe, and the last one has no carry.
        let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        Be16::from_raw(sum as u16)
    }

    /// Returns the checksum to store: the complement of the folded sum.
    #[inline]
    pub const fn finish(self) -> Be16 {
        Be16::from_raw(!self.fold().raw())
    }

    /// Returns `true` if the sum is that of intact data, the stored checksum included.
    #[inline]
    pub const fn is_valid(self) -> bool {
        self.fold().raw() == 0xffff
    }
}

/// Returns the sum over the TCP, UDP or ICMPv6 pseudo header of either family. `len` is the length
/// of the transport header and its payload in bytes.
#[inline]
pub fn pseudo_header<A: Address>(src: A, dst: A, protocol: u8, len: u32) -> Sum {
    dst.add_to(src.add_to(Sum::ZERO))
        .add16(Be16::new(u16::from(protocol)))
        .add32(Be32::new(len))
}

/// Computes the checksum of `bytes`. The checksum field among them must be zero.
#[inline]
pub fn checksum(bytes: &[u8]) -> Be16 {
    Sum::ZERO.add_bytes(bytes).finish()
}

/// Returns the checksum to store instead of `check` after one word of the data changed from `old`
/// to `new` (C: `csum_replace2()`).
#[inline]
pub const fn replace16(check: Be16, old: Be16, new: Be16) -> Be16 {
    Sum::of_stored(check).sub16(old).add16(new).finish()
}

/// Returns the checksum to store instead of `check` after two words of the data changed from `old`
/// to `new` (C: `csum_replace4()`).
#[inline]
pub const fn replace32(check: Be16, old: Be32, new: Be32) -> Be16 {
    Sum::of_stored(check).sub32(old).add32(new).finish()
}

/// Returns the checksum to store instead of `check` after an address of either family and a port
/// changed; as [`replace32`] and [`replace16`], but folds once.
#[inline]
pub fn replace_addr_port<A: Address>(
    check: Be16,
    old_addr: A,
    new_addr: A,
    old_port: Be16,
    new_port: Be16,
) -> Be16 {
    new_addr
        .add_to(old_addr.take_from(Sum::of_stored(check)))
        .sub16(old_port)
        .add16(new_port)
        .finish()
}

/// Returns the new value of a transport header's checksum field after an address of the pseudo
/// header changed, if the checksum is still to be computed by the device (`CHECKSUM_PARTIAL`).
///
/// In that case the field holds the folded sum of the pseudo header, not complemented. It does not
/// cover the ports.
#[inline]
pub fn replace_pseudo<A: Address>(partial: Be16, old: A, new: A) -> Be16 {
    let sum = Sum::ZERO.add16(Be16::from_raw(0xffff)).add16(partial);
    new.add_to(old.take_from(sum)).fold()
}

/// Replaces a UDP checksum of 0, which would mean "no checksum", by its other representation 0xffff
/// (C: `CSUM_MANGLED_0`).
#[inline]
pub const fn udp_nonzero(check: Be16) -> Be16 {
    if check.raw() == 0 {
        Be16::from_raw(0xffff)
    } else {
        check
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_example_of_rfc1071() {
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        let sum = Sum::ZERO.add_bytes(&data);
        assert_eq!(sum.fold(), Be16::new(0xddf2));
        assert_eq!(checksum(&data), Be16::new(!0xddf2));
    }

    #[test]
    fn agrees_with_the_example_of_rfc1624() {
        // The example of RFC 1624, section 4, which the formula of RFC 1141 gets wrong.
        let check = replace16(Be16::new(0xdd2f), Be16::new(0x5555), Be16::new(0x3285));
        assert_eq!(check, Be16::new(0x0000));
    }

    #[test]
    fn pads_an_odd_byte_at_the_end() {
        assert_eq!(
            Sum::ZERO.add_bytes(&[0x12, 0x34, 0x56]).fold(),
            Sum::ZERO.add_bytes(&[0x12, 0x34, 0x56, 0]).fold()
        );
        assert_eq!(Sum::ZERO.add_bytes(&[0xab]).fold(), Be16::new(0xab00));
        assert_eq!(Sum::ZERO.add_bytes(&[]).fold(), Be16::ZERO);
    }

    #[test]
    fn folds_every_carry() {
        for raw in [
            u64::MAX,
            0xffff_ffff_0000_0001,
            0xffff_0001_ffff_ffff,
            0xffff_ffff_ffff_fffe,
            0xffff_fffe_ffff_ffff,
            0x1_ffff_fffe,
            0x1_fffe_ffff,
            0xffff_ffff,
            0x1_ffff,
            0xffff,
        ] {
            let expected = match raw % 0xffff {
                0 => 0xffff,
                rest => rest as u16,
            };
            assert_eq!(Sum(raw).fold().raw(), expected, "{raw:#x}");
        }
        assert_eq!(Sum(0).fold().raw(), 0);
    }

    #[test]
    fn an_update_never_stores_the_second_zero() {
        assert_eq!(
            replace32(Be16::from_raw(0xffff), Be32::from_raw(!0), Be32::ZERO).raw(),
            0
        );
        assert_eq!(udp_nonzero(Be16::ZERO).raw(), 0xffff);
        assert_eq!(udp_nonzero(Be16::new(7)), Be16::new(7));
    }
}
