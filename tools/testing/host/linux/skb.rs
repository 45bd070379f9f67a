// SPDX-License-Identifier: GPL-2.0

//! Packets.

use crate::{
    net::Net,
    netdevice::Device,
    rcu::ReadLocked,
    route::{
        Dst,
        Owned,
        Route,
        Rt6Info,
        Rtable, //
    },
};
use kernel::{
    memory,
    prelude::*, //
};
use std::sync::{
    atomic::{
        AtomicUsize,
        Ordering::SeqCst, //
    },
    Arc, //
};

mod tunnel;

pub use tunnel::{
    Encapsulation,
    OuterHeader, //
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summed {
    None,
    Unnecessary,
    Complete,
    Partial,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conntrack {
    None,
    New,
    Confirmed,
    Untracked,
}

/// The route of a packet.
#[derive(Clone, Debug)]
pub enum PacketRoute {
    V4(Arc<Rtable>),
    V6(Arc<Rt6Info>),
}

/// A packet, from the network header on, and what the kernel knows of it.
#[derive(Clone, Debug)]
pub struct Packet {
    pub bytes: Vec<u8>,
    /// So many of the bytes can be seen without copying.
    pub linear: usize,
    pub headroom: usize,
    pub is_ipv6: bool,
    pub mark: u32,
    /// Addressed to this host on its link.
    pub is_for_this_host: bool,
    pub ipvs_property: bool,
    pub ignore_df: bool,
    pub device: Option<&'static Device>,
    pub route: Option<PacketRoute>,
    pub summed: Summed,
    /// The place of a checksum that is to be filled in.
    pub partial: Option<[u16; 2]>,
    /// The length of the longest segment that the packet will be cut into.
    pub segment_len: Option<usize>,
    pub is_cloned: bool,
    pub has_socket: bool,
    pub is_nodefrag: bool,
    pub conntrack: Conntrack,
    /// Goes in the direction of its entry's first packet.
    pub is_original: bool,
    /// What replies to its entry look like.
    pub reply: Option<crate::nf_conntrack::Tuple>,
    /// Its entry may adjust sequence numbers.
    pub has_seqadj: bool,
    /// Its entry can't be confirmed, since there is another.
    pub clashes: bool,
    pub timestamp: u64,
    /// Of IPv6: the length of the longest fragment that it came in.
    pub longest_fragment: u32,
}

impl Packet {
    /// A packet that has come by no device and no route.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            linear: bytes.len(),
            headroom: 64,
            is_ipv6: bytes.first().is_some_and(|first| first >> 4 == 6),
            bytes,
            mark: 0,
            is_for_this_host: true,
            ipvs_property: false,
            ignore_df: false,
            device: None,
            route: None,
            summed: Summed::None,
            partial: None,
            segment_len: None,
            is_cloned: false,
            has_socket: false,
            is_nodefrag: false,
            conntrack: Conntrack::New,
            is_original: true,
            reply: None,
            has_seqadj: true,
            clashes: false,
            timestamp: 1,
            longest_fragment: 0,
        }
    }
}

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Returns the number of packets that have not been freed or sent.
pub fn live() -> usize {
    LIVE.load(SeqCst)
}

#[derive(Debug)]
pub struct Skb(Box<Packet>);

impl Drop for Skb {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, SeqCst);
    }
}

impl Skb {
    pub fn new(packet: Packet) -> Self {
        LIVE.fetch_add(1, SeqCst);
        Self(Box::new(packet))
    }

    pub fn packet(&self) -> &Packet {
        &self.0
    }

    pub fn packet_mut(&mut self) -> &mut Packet {
        &mut self.0
    }

    pub fn into_packet(mut self) -> Packet {
        std::mem::replace(&mut *self.0, Packet::new(Vec::new()))
    }

    pub fn consume(self) {}

    pub fn is_ipv6(&self) -> bool {
        self.0.is_ipv6
    }

    #[expect(clippy::len_without_is_empty, reason = "no IP packet is empty")]
    pub fn len(&self) -> usize {
        self.0.bytes.len()
    }

    pub fn mark(&self) -> u32 {
        self.0.mark
    }

    pub fn is_for_this_host(&self) -> bool {
        self.0.is_for_this_host
    }

    pub fn ipvs_property(&self) -> bool {
        self.0.ipvs_property
    }

    pub fn set_ipvs_property(&mut self) {
        self.0.ipvs_property = true;
    }

    pub fn set_ignore_df(&mut self) {
        self.0.ignore_df = true;
    }

    pub fn ignore_df(&self) -> bool {
        self.0.ignore_df
    }

    pub fn device(&self) -> Option<&Device> {
        self.0.device
    }

    pub fn has_full_socket(&self) -> bool {
        self.0.has_socket
    }

    pub fn has_socket(&self) -> bool {
        self.0.has_socket
    }

    pub fn is_nodefrag(&self) -> bool {
        self.0.has_socket && self.0.is_nodefrag
    }

    pub fn orphan(&mut self) {
        self.0.has_socket = false;
    }

    pub fn clear_timestamp(&mut self) {
        self.0.timestamp = 0;
    }

    pub fn is_cloned(&self) -> bool {
        self.0.is_cloned
    }

    pub fn is_gso(&self) -> bool {
        self.0.segment_len.is_some()
    }

    pub fn fits(&self, mtu: u32) -> bool {
        self.0.segment_len.unwrap_or(self.len()) <= mtu as usize
    }

    pub fn ipv6_frag_max_size(&self) -> u32 {
        match self.is_ipv6() {
            true => self.0.longest_fragment,
            false => 0,
        }
    }

    pub fn route(&self) -> Option<&Dst> {
        match self.0.route.as_ref()? {
            PacketRoute::V4(rt) => Some(rt),
            PacketRoute::V6(rt) => Some(rt),
        }
    }

    pub fn set_route_noref<'rcu, R: Route>(&mut self, rt: &'rcu R, _rcu: ReadLocked<'rcu>) {
        // With a reference all the same: nobody else is asked to take one in time.
        if let Some(rt) = Owned::of(rt) {
            self.set_route(rt);
        }
    }

    pub fn set_route<R: Route>(&mut self, rt: Owned<R>) {
        self.0.route = None;
        if self.is_ipv6() != R::IS_IPV6 {
            return;
        }
        let rt = Arc::into_raw(rt.into_arc());
        // SAFETY: `R` is the type that its constant says.
        self.0.route = Some(unsafe {
            match R::IS_IPV6 {
                false => PacketRoute::V4(Arc::from_raw(rt.cast())),
                true => PacketRoute::V6(Arc::from_raw(rt.cast())),
            }
        });
    }

    pub fn take_route<R: Route>(&mut self) -> Option<Owned<R>> {
        let taken = self.0.route.take()?;
        let ptr: *const R = match (&taken, R::IS_IPV6) {
            (PacketRoute::V4(rt), false) => Arc::as_ptr(rt).cast(),
            (PacketRoute::V6(rt), true) => Arc::as_ptr(rt).cast(),
            _ => return None,
        };
        // SAFETY: `R` is the type that its constant says, and `taken` keeps it.
        Owned::of(unsafe { &*ptr })
    }

    pub fn summed(&self) -> Summed {
        self.0.summed
    }

    pub fn set_checksum_none(&mut self) {
        self.0.summed = Summed::None;
    }

    pub fn set_checksum_unnecessary(&mut self) {
        self.0.summed = Summed::Unnecessary;
    }

    pub fn forward_checksum(&mut self) {
        if self.0.summed == Summed::Complete {
            self.0.summed = Summed::None;
        }
    }

    pub fn sum(&self, offset: usize) -> u32 {
        sum_of(self.0.bytes.get(offset..).unwrap_or_default())
    }

    pub fn crc32c(&self, offset: usize, crc: u32) -> u32 {
        let mut crc = crc;
        for byte in self.0.bytes.get(offset..).unwrap_or_default() {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
            }
        }
        crc
    }

    /// Which policies that these tests know do not need.
    pub fn complete_sctp_checksum(&mut self) -> Result {
        Ok(())
    }

    pub fn checksum_is_valid(&mut self, offset: usize, protocol: u8) -> bool {
        if self.0.device.is_none() || self.0.summed == Summed::Unnecessary {
            return true;
        }
        let Some(payload) = self.0.bytes.get(offset..) else {
            return false;
        };
        let mut summed = match self.is_ipv6() {
            true => self.0.bytes[8..40].to_vec(),
            false => self.0.bytes[12..20].to_vec(),
        };
        // The pseudo-header, which ICMP has in IPv6 only.
        if self.is_ipv6() || protocol != 1 {
            summed.extend((payload.len() as u32).to_be_bytes());
            summed.extend([0, 0, 0, protocol]);
        } else {
            summed.clear();
        }
        summed.extend(payload);
        fold(sum_of(&summed)) == 0xffff
    }

    pub fn network(&self) -> &[u8] {
        &self.0.bytes[..self.0.linear]
    }

    pub fn header<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.bytes.get(offset..)?.first_chunk().copied()
    }

    pub fn writable(&mut self, len: usize) -> Result<&mut [u8], NoMemory> {
        if self.0.is_cloned || len > self.0.linear {
            if len > self.len() || !memory::permits(GFP_ATOMIC) {
                return Err(NoMemory);
            }
            self.0.is_cloned = false;
            self.0.linear = self.0.linear.max(len);
        }
        Ok(&mut self.0.bytes[..len])
    }

    pub fn linearize(&mut self) -> Result<(), NoMemory> {
        if self.0.linear != self.len() {
            if !memory::permits(GFP_ATOMIC) {
                return Err(NoMemory);
            }
            self.0.linear = self.len();
        }
        Ok(())
    }

    pub fn headroom(&self) -> usize {
        self.0.headroom
    }

    pub fn cow(&mut self, headroom: usize) -> Result<(), NoMemory> {
        if self.0.headroom < headroom || self.0.is_cloned {
            if !memory::permits(GFP_ATOMIC) {
                return Err(NoMemory);
            }
            self.0.headroom = self.0.headroom.max(headroom);
            self.0.is_cloned = false;
        }
        Ok(())
    }

    pub fn with_headroom(mut self, headroom: usize) -> Result<Self, NoMemory> {
        self.cow(headroom)?;
        Ok(self)
    }

    pub fn strip(&mut self, len: usize, header_len: usize) -> Result<(), NoMemory> {
        let end = len.checked_add(header_len).ok_or(NoMemory)?;
        if end > self.len() {
            return Err(NoMemory);
        }
        if end > self.0.linear {
            if !memory::permits(GFP_ATOMIC) {
                return Err(NoMemory);
            }
            self.0.linear = end;
        }
        self.0.bytes.drain(..len);
        self.0.linear -= len;
        self.0.headroom += len;
        Ok(())
    }

    pub fn select_ident(&mut self, _net: &Net) {
        let ident: [u8; 2] = match self.0.bytes[6] & 0x40 != 0 && !self.0.ignore_df {
            true => [0, 0],
            false => [0x12, 0x34],
        };
        self.0.bytes[4..6].copy_from_slice(&ident);
    }
}

/// A packet that is lent.
#[derive(Clone, Copy)]
pub struct SkbRef<'a>(&'a Packet);

impl<'a> SkbRef<'a> {
    pub fn new(packet: &'a Packet) -> Self {
        Self(packet)
    }

    pub fn ipvs_property(&self) -> bool {
        self.0.ipvs_property
    }

    pub fn is_tracked_original(&self) -> Option<bool> {
        match self.0.conntrack {
            Conntrack::New | Conntrack::Confirmed => Some(self.0.is_original),
            Conntrack::None | Conntrack::Untracked => None,
        }
    }

    #[expect(clippy::len_without_is_empty, reason = "no IP packet is empty")]
    pub fn len(&self) -> usize {
        self.0.bytes.len()
    }

    pub fn header<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.bytes.get(offset..)?.first_chunk().copied()
    }
}

#[derive(Clone, Copy, Debug)]
pub struct NoMemory;

impl From<NoMemory> for Error {
    fn from(_: NoMemory) -> Self {
        ENOMEM
    }
}

/// The sum of words as they are in memory. C: `csum_partial()`.
pub fn sum_of(bytes: &[u8]) -> u32 {
    let mut sum = 0u64;
    for word in bytes.chunks(2) {
        let word = [word[0], word.get(1).copied().unwrap_or(0)];
        sum += u64::from(u16::from_ne_bytes(word));
    }
    while sum >> 32 != 0 {
        sum = (sum & 0xffff_ffff) + (sum >> 32);
    }
    sum as u32
}

/// The sum in sixteen bits. C: `~csum_fold()`.
pub fn fold(mut sum: u32) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
