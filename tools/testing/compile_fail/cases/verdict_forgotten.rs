// SPDX-License-Identifier: GPL-2.0
// error: unused_must_use

//! A verdict is handed on, since its packet is freed otherwise.

#![deny(unused_must_use)]

use linux::{
    netfilter::Verdict,
    skb::Skb, //
};

fn decide(skb: Skb) -> Verdict {
    Verdict::Accept(skb)
}

pub fn hook(skb: Skb) -> Option<Verdict> {
    #[cfg(misuse)]
    {
        decide(skb);
        None
    }
    #[cfg(not(misuse))]
    Some(decide(skb))
}
