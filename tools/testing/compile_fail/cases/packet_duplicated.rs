// SPDX-License-Identifier: GPL-2.0
// error: E0599

//! There is one owner of a packet.

use linux::skb::Skb;

pub fn pass_on(skb: Skb) -> Skb {
    #[cfg(misuse)]
    return skb.clone();
    #[cfg(not(misuse))]
    skb
}
