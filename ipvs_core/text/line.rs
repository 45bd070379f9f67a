// SPDX-License-Identifier: GPL-2.0

//! Formats a line of text without [`core::fmt`], which would take most of the time of reading a
//! `/proc/net/ip_vs_conn` of a million lines.

use super::ProtocolName;
use crate::net::Addr;
use core::fmt;

/// The longest line in bytes. A connection's line has at most three IPv6 addresses and about 80
/// other bytes.
const MAX_LEN: usize = 200;

/// A line of ASCII text. Text that does not fit is dropped.
pub(super) struct Line {
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl Line {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; MAX_LEN],
            len: 0,
        }
    }

    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        let rest = self.bytes.get_mut(self.len..);
        if let Some(place) = rest.and_then(<[u8]>::first_chunk_mut) {
            *place = bytes;
            self.len = self.len.wrapping_add(N);
        }
    }

    /// Appends one ASCII character.
    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        self.put([byte]);
    }

    /// Appends text, padded with spaces to at least `width` columns.
    #[inline]
    pub(super) fn text(&mut self, text: &[u8], width: usize) {
        for &byte in text {
            self.byte(byte);
        }
        for _ in text.len()..width {
            self.byte(b' ');
        }
    }

    /// Appends the lowest `DIGITS` hexadecimal digits of `value`, at most 8. Digits above 9 start
    /// at the character `after_nine`.
    #[inline]
    fn hex<const DIGITS: usize>(&mut self, value: u32, after_nine: u8) {
        let mut rest = value.rotate_right((DIGITS as u32).wrapping_mul(4));
        self.put([(); DIGITS].map(|()| {
            rest = rest.rotate_left(4);
            let digit = (rest & 0xf) as u8;
            match digit.checked_sub(10) {
                None => b'0' | digit,
                Some(more) => after_nine.wrapping_add(more),
            }
        }));
    }

    /// Appends a port, given in host byte order, as four hexadecimal digits.
    #[inline]
    pub(super) fn port(&mut self, port: u16) {
        self.hex::<4>(port.into(), b'A');
    }

    /// Appends an address: IPv4 as eight hexadecimal digits, IPv6 as eight groups of four.
    #[inline]
    pub(super) fn addr(&mut self, addr: Addr) {
        let addr = match addr {
            Addr::V4(addr) => return self.hex::<8>(addr.host(), b'A'),
            Addr::V6(addr) => addr,
        };
        for (number, word) in addr.words().into_iter().enumerate() {
            let word = word.host();
            if number != 0 {
                self.byte(b':');
            }
            self.hex::<4>(word >> 16, b'a');
            self.byte(b':');
            self.hex::<4>(word, b'a');
        }
    }

    /// Appends a decimal number, right-aligned in at least `width` columns.
    #[inline]
    pub(super) fn decimal(&mut self, value: u32, width: usize) {
        let mut digits = [b' '; 10];
        let mut rest = value;
        let mut first = digits.len();
        for digit in digits.iter_mut().rev() {
            *digit = b'0' | (rest % 10) as u8;
            first = first.wrapping_sub(1);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let first = first.min(digits.len().saturating_sub(width));
        self.text(digits.get(first..).unwrap_or_default(), 0);
    }

    /// Appends the name of a protocol, padded to at least 3 columns.
    #[inline]
    pub(super) fn protocol(&mut self, protocol: ProtocolName) {
        match protocol.known() {
            Some(name) => self.text(name.as_bytes(), 3),
            None => {
                self.text(b"IP_", 3);
                self.decimal(protocol.0.into(), 0);
            }
        }
    }

    /// Returns the line.
    pub(super) fn as_str(&self) -> Result<&str, fmt::Error> {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        core::str::from_utf8(bytes).map_err(|_| fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{
        Be128,
        Be32, //
    };
    use std::format;

    fn line(add: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::new();
        add(&mut line);
        line.as_str().unwrap().into()
    }

    #[test]
    fn numbers_are_as_the_formatter_writes_them() {
        for shift in 0..32 {
            for value in [u32::MAX >> shift, 1 << shift, 0x1234_5678 >> shift] {
                for width in [0, 1, 7, 10] {
                    assert_eq!(
                        line(|line| line.decimal(value, width)),
                        format!("{value:width$}")
                    );
                }
                let addr = Addr::V4(Be32::new(value));
                assert_eq!(line(|line| line.addr(addr)), format!("{value:08X}"));
                let port = value as u16;
                assert_eq!(line(|line| line.port(port)), format!("{port:04X}"));
            }
        }
        assert_eq!(line(|line| line.decimal(0, 0)), "0");
    }

    #[test]
    fn addresses_of_ipv6_are_in_full() {
        let addr = Addr::V6(Be128::new(0xfd00_0000_00ab_cdef_0000_9a00_0001_0002));
        assert_eq!(
            line(|line| line.addr(addr)),
            "fd00:0000:00ab:cdef:0000:9a00:0001:0002"
        );
    }

    #[test]
    fn what_there_is_no_room_for_is_left_out() {
        let text = line(|line| {
            line.text(b"", MAX_LEN - 3);
            line.addr(Addr::V4(Be32::ZERO));
            line.text(b"abcdef", 9);
        });
        assert_eq!(text.trim_start(), "abc");
        assert_eq!(text.len(), MAX_LEN);
    }
}
