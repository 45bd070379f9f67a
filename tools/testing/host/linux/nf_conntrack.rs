// SPDX-License-Identifier: GPL-2.0

//! Connection tracking: each packet has an entry of its own, or none, as its test says.

use crate::{
    events::{
        happened,
        Event, //
    },
    net::{
        Net,
        OwnNet, //
    },
    netfilter::Protocol,
    rcu::ReadLocked,
    skb::{
        Conntrack,
        Packet,
        Skb, //
    },
};
use kernel::prelude::*;
use std::{
    net::{
        IpAddr,
        SocketAddr, //
    },
    sync::atomic::Ordering::SeqCst, //
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    pub protocol: u8,
    pub src: SocketAddr,
    pub dst: SocketAddr,
}

fn set(end: &mut SocketAddr, addr: IpAddr, port: Option<u16>) {
    assert_eq!(end.is_ipv4(), addr.is_ipv4());
    end.set_ip(addr);
    end.set_port(port.unwrap_or(end.port()));
}

impl Tuple {
    pub fn new(protocol: u8, src: (IpAddr, u16), dst: (IpAddr, u16)) -> Self {
        let (src, dst): (SocketAddr, SocketAddr) = (src.into(), dst.into());
        assert_eq!(src.is_ipv4(), dst.is_ipv4());
        Self { protocol, src, dst }
    }

    pub fn src(&self) -> (IpAddr, u16) {
        (self.src.ip(), self.src.port())
    }

    pub fn dst(&self) -> (IpAddr, u16) {
        (self.dst.ip(), self.dst.port())
    }

    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    pub fn set_src(&mut self, addr: IpAddr, port: Option<u16>) {
        set(&mut self.src, addr, port);
    }

    pub fn set_dst(&mut self, addr: IpAddr, port: Option<u16>) {
        set(&mut self.dst, addr, port);
    }
}

pub struct Entry<'a>(&'a mut Packet);

impl Entry<'_> {
    pub fn is_confirmed(&self) -> bool {
        self.0.conntrack == Conntrack::Confirmed
    }

    pub fn is_unconfirmed(&self) -> bool {
        self.0.conntrack == Conntrack::New
    }

    pub fn has_seqadj(&self) -> bool {
        self.0.has_seqadj
    }

    pub fn add_seqadj(&mut self) -> bool {
        if !self.0.has_seqadj && self.is_unconfirmed() {
            self.0.has_seqadj = kernel::memory::permits(GFP_ATOMIC);
        }
        self.0.has_seqadj
    }

    pub fn is_original(&self) -> bool {
        self.0.is_original
    }

    pub fn reply(&self) -> Tuple {
        self.0
            .reply
            .expect("the test has said what replies are like")
    }

    pub fn set_reply(&mut self, reply: Tuple) {
        assert!(self.is_unconfirmed());
        self.0.reply = Some(reply);
    }
}

impl Skb {
    pub fn conntrack_entry(&mut self) -> Option<Entry<'_>> {
        let packet = self.packet_mut();
        matches!(packet.conntrack, Conntrack::New | Conntrack::Confirmed).then(|| Entry(packet))
    }

    #[must_use]
    pub fn confirm_conntrack(&mut self) -> bool {
        let packet = self.packet_mut();
        if packet.conntrack == Conntrack::New {
            packet.conntrack = Conntrack::Confirmed;
            happened(Event::Confirmed);
        }
        !packet.clashes
    }

    pub fn reset_conntrack(&mut self) {
        self.packet_mut().conntrack = Conntrack::None;
    }

    pub fn set_untracked(&mut self) {
        let conntrack = &mut self.packet_mut().conntrack;
        if *conntrack != Conntrack::None {
            *conntrack = Conntrack::Untracked;
        }
    }
}

pub fn kill(_net: &Net, original: &Tuple, _rcu: ReadLocked<'_>) {
    happened(Event::Killed(*original));
}

pub struct Tracking(OwnNet);

impl Tracking {
    pub fn new(net: &OwnNet, _protocol: Protocol) -> Result<Self> {
        if !kernel::memory::permits(GFP_KERNEL) {
            return Err(ENOMEM);
        }
        net.tracking.fetch_add(1, SeqCst);
        Ok(Self(net.clone()))
    }
}

impl Drop for Tracking {
    fn drop(&mut self) {
        self.0.tracking.fetch_sub(1, SeqCst);
    }
}
