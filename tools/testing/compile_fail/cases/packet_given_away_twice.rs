// SPDX-License-Identifier: GPL-2.0
// error: E0382

//! Netfilter gets a packet back once.

use linux::{
    netfilter::Verdict,
    skb::Skb, //
};

pub fn decide(skb: Skb) -> Verdict {
    #[cfg(misuse)]
    skb.consume();
    Verdict::Accept(skb)
}
