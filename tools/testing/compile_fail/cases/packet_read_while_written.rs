// SPDX-License-Identifier: GPL-2.0
// error: E0502

//! Whoever writes to a header has the packet alone.

use linux::skb::Skb;

pub fn write(skb: &mut Skb) -> usize {
    let len = skb.len();
    let Ok(header) = skb.writable(20) else {
        return 0;
    };
    #[cfg(misuse)]
    let len = skb.len();
    header.fill(0);
    len
}
