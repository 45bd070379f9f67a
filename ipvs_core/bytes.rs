// SPDX-License-Identifier: GPL-2.0

//! Reads and writes fixed-size fields of headers.
//!
//! The packet path calls these with arrays and constant offsets, for which the compiler resolves
//! the bounds checks: a single load or store remains.

use crate::net::{
    Be16,
    Be32, //
};

/// Reads the 16-bit field at byte `at`. `None` if it is out of bounds.
#[inline(always)]
pub(crate) fn be16(data: &[u8], at: usize) -> Option<Be16> {
    Some(Be16::from_bytes(*data.get(at..)?.first_chunk()?))
}

/// Reads the 32-bit field at byte `at`. `None` if it is out of bounds.
#[inline(always)]
pub(crate) fn be32(data: &[u8], at: usize) -> Option<Be32> {
    Some(Be32::from_bytes(*data.get(at..)?.first_chunk()?))
}

/// Writes `field` at byte `at`. Does nothing if it is out of bounds.
#[inline(always)]
pub(crate) fn put<const N: usize>(data: &mut [u8], at: usize, field: [u8; N]) {
    if let Some(place) = data.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = field;
    }
}

/// The bytes of a packet: a slice, or an skb whose data may be in fragments.
pub trait PacketBytes {
    /// Returns `N` bytes at offset `at`. `None` if the packet ends before.
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]>;

    /// Returns the length of the packet in bytes.
    fn size(&self) -> usize;
}

impl PacketBytes for [u8] {
    #[inline]
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..)?.first_chunk().copied()
    }

    #[inline]
    fn size(&self) -> usize {
        self.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_end_where_the_data_ends() {
        let mut data = [1, 2, 3, 4, 5];
        assert_eq!(be16(&data, 3), Some(Be16::new(0x0405)));
        assert_eq!(be16(&data, 4), None);
        assert_eq!(be32(&data, 1), Some(Be32::new(0x0203_0405)));
        assert_eq!(be32(&data, 2), None);
        assert_eq!(be32(&data, usize::MAX), None);
        put(&mut data, 3, [8, 9]);
        put(&mut data, 4, [7, 7]);
        assert_eq!(data, [1, 2, 3, 8, 9]);
    }
}
