// SPDX-License-Identifier: GPL-2.0
// error: E0505

//! A header does not outlive its packet.

use linux::skb::Skb;

pub fn first_byte(skb: Skb) -> Option<u8> {
    let header = skb.network();
    #[cfg(misuse)]
    skb.consume();
    header.first().copied()
}
