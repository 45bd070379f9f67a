// SPDX-License-Identifier: GPL-2.0
// error: E0382

//! A packet that was sent is not used again.

use linux::{
    net::Net,
    netfilter::send_local_out,
    skb::Skb, //
};

pub fn send(skb: Skb, net: &Net) -> usize {
    let len = skb.len();
    send_local_out(skb, net);
    #[cfg(misuse)]
    let len = skb.len();
    len
}
