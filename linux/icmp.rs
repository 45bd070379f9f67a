// SPDX-License-Identifier: GPL-2.0

//! Telling the sender of a packet what became of it.
//!
//! C headers: [`include/net/icmp.h`](srctree/include/net/icmp.h),
//! [`include/net/dst.h`](srctree/include/net/dst.h)

use crate::{
    bindings,
    net::Net,
    skb::Skb, //
};

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Nobody listens at its port.
    PortUnreachable,
    /// It is longer than the bytes given, which is what the way on takes, and must not be
    /// fragmented.
    FragmentationNeeded(u32),
    /// It has been forwarded too often.
    TimeToLiveExceeded,
}

/// Tells the sender of the packet, as far as the rules and limits for ICMP errors allow it. Any
/// context.
pub fn send(skb: &Skb, problem: Problem) {
    use bindings as b;
    let (kind, code, info) = match problem {
        Problem::PortUnreachable => (b::ICMP_DEST_UNREACH, b::ICMP_PORT_UNREACH, 0),
        Problem::FragmentationNeeded(mtu) => (b::ICMP_DEST_UNREACH, b::ICMP_FRAG_NEEDED, mtu),
        Problem::TimeToLiveExceeded => (b::ICMP_TIME_EXCEEDED, b::ICMP_EXC_TTL, 0),
    };
    relay(skb, kind as u8, code as u8, info.to_be_bytes());
}

/// Tells the sender of the packet what an ICMP error of type `kind` says, as [`send`] would.
pub fn relay(skb: &Skb, kind: u8, code: u8, info: [u8; 4]) {
    // SAFETY: The packet is valid, and by its invariants its control block is an `inet_skb_parm`.
    // The packet itself is only read.
    unsafe {
        bindings::__icmp_send(
            skb.as_ptr(),
            i32::from(kind),
            i32::from(code),
            u32::from_ne_bytes(info),
            (&raw const (*skb.as_ptr()).cb).cast(),
        )
    };
}

/// Reports that there is no way to where the packet is to go: to its sender, and to the route that
/// it came by. Any context.
pub fn link_failure(skb: &mut Skb) {
    skb.set_device_from_route();
    // SAFETY: The packet is valid, and by its invariants its route, if any, is.
    unsafe { bindings::ipvs_dst_link_failure(skb.as_ptr()) };
}

/// Lets routing know what an ICMP "fragmentation needed" says of a packet that this host sent.
///
/// The packet must start with the header of the one that the ICMP message embeds. Any context.
pub fn update_pmtu(skb: &mut Skb, net: &Net, mtu: u32, protocol: u8) {
    // SAFETY: Packet and namespace are valid. The header is read at the network header, which is
    // linear if it has passed the IP layer.
    unsafe { bindings::ipv4_update_pmtu(skb.as_ptr(), net.as_ptr(), mtu, 0, protocol) };
}

/// Counts a packet whose header made it impossible to forward it (`InHdrErrors`).
pub fn count_header_error(net: &Net) {
    // SAFETY: The namespace is valid.
    unsafe { bindings::ipvs_ip_inc_in_hdr_errors(net.as_ptr()) };
}
