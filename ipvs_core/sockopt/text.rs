// SPDX-License-Identifier: GPL-2.0

//! The only answer that is text: the version.

use crate::netlink::VERSION_CODE;
use core::fmt::{
    self,
    Write, //
};

/// The maximum length in bytes of the text with its terminating NUL, and the minimum length of the
/// user's buffer.
pub const VERSION_LEN: usize = 64;

struct Line<'a> {
    rest: &'a mut [u8],
}

impl Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let rest = core::mem::take(&mut self.rest);
        let (line, rest) = rest.split_at_mut_checked(text.len()).ok_or(fmt::Error)?;
        for (place, byte) in line.iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        self.rest = rest;
        Ok(())
    }
}

/// Formats the version of IPVS. Returns the text and its length in bytes with its terminating NUL.
/// `buckets` is the size of the connection table.
pub fn version(buckets: u32) -> ([u8; VERSION_LEN], usize) {
    let mut text = [0; VERSION_LEN];
    let [_, major, minor, patch] = VERSION_CODE.to_be_bytes();
    let mut line = Line { rest: &mut text };
    // It fits, as the test below shows.
    let _ = write!(
        line,
        "IP Virtual Server version {major}.{minor}.{patch} (size={buckets})"
    );
    let len = VERSION_LEN
        .saturating_sub(line.rest.len())
        .saturating_add(1);
    (text, len.min(VERSION_LEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_version_fits() {
        let (text, len) = version(4096);
        assert_eq!(
            &text[..len],
            b"IP Virtual Server version 1.2.1 (size=4096)\0"
        );
        let (text, len) = version(u32::MAX);
        assert_eq!(
            &text[..len],
            b"IP Virtual Server version 1.2.1 (size=4294967295)\0"
        );
    }
}
