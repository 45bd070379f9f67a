// SPDX-License-Identifier: GPL-2.0
// error: E0502

//! A header that was looked at is not kept while the packet's memory moves.

use linux::skb::Skb;

pub fn first_byte(skb: &mut Skb) -> Option<u8> {
    let header = skb.network();
    #[cfg(misuse)]
    let _ = skb.cow(64);
    header.first().copied()
}
