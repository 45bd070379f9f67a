// SPDX-License-Identifier: GPL-2.0

//! Telling the sender of a packet what became of it.
//!
//! C headers: [`include/net/icmp.h`](srctree/include/net/icmp.h),
//! [`include/net/dst.h`](srctree/include/net/dst.h)

use crate::{
    bindings,
    net::Net,
    route::Dst,
    skb::Skb, //
};

/// An error that a packet is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Nobody listens at its port.
    PortUnreachable,
    /// It is longer than the bytes given, which is what the way on takes, and must not be
    /// fragmented (IPv6: packet too big).
    FragmentationNeeded(u32),
    /// It has been forwarded too often.
    TimeToLiveExceeded,
}

/// Tells the sender of the packet, as far as the rules and limits for ICMP errors allow it. Any
/// context.
pub fn send(skb: &mut Skb, net: &Net, problem: Problem) {
    if skb.is_ipv6() {
        send6(skb, net, problem);
    } else {
        send4(skb, problem);
    }
}

fn send4(skb: &Skb, problem: Problem) {
    use bindings as b;
    let (kind, code, info) = match problem {
        Problem::PortUnreachable => (b::ICMP_DEST_UNREACH, b::ICMP_PORT_UNREACH, 0),
        Problem::FragmentationNeeded(mtu) => (b::ICMP_DEST_UNREACH, b::ICMP_FRAG_NEEDED, mtu),
        Problem::TimeToLiveExceeded => (b::ICMP_TIME_EXCEEDED, b::ICMP_EXC_TTL, 0),
    };
    relay(skb, kind as u8, code as u8, info.to_be_bytes());
}

fn send6(skb: &mut Skb, net: &Net, problem: Problem) {
    use bindings as b;
    let (kind, code, info) = match problem {
        Problem::PortUnreachable => (b::ICMPV6_DEST_UNREACH, b::ICMPV6_PORT_UNREACH, 0),
        Problem::FragmentationNeeded(mtu) => (b::ICMPV6_PKT_TOOBIG, 0, mtu),
        Problem::TimeToLiveExceeded => {
            // From the address of the device that it was to go out by.
            if let Some(device) = skb.route().and_then(Dst::device_of_skb) {
                let device = device.as_ptr();
                skb.set_device(device);
            }
            (b::ICMPV6_TIME_EXCEED, b::ICMPV6_EXC_HOPLIMIT, 0)
        }
    };
    if skb.device().is_none() {
        // SAFETY: The namespace is valid, and its loopback device lives as long.
        skb.set_device(unsafe { (*net.as_ptr()).loopback_dev });
    }
    relay(skb, kind as u8, code as u8, info.to_be_bytes());
}

/// Tells the sender of the packet what an ICMP error of its family, of type `kind`, says, as [`send`]
/// would. `info` is the second word of that error's header.
pub fn relay(skb: &Skb, kind: u8, code: u8, info: [u8; 4]) {
    if skb.is_ipv6() {
        // SAFETY: The packet is valid, and by its invariants its control block is an
        // `inet6_skb_parm`. The packet itself is only read.
        unsafe { bindings::linux_icmpv6_send(skb.as_ptr(), kind, code, u32::from_be_bytes(info)) };
        return;
    }
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
    unsafe { bindings::linux_dst_link_failure(skb.as_ptr()) };
}

/// Tells routing the MTU that an ICMP "fragmentation needed" or "packet too big" reports for a
/// packet that this host sent.
///
/// The packet must start with the header of the one that the ICMP message embeds. Any context.
pub fn update_pmtu(skb: &mut Skb, net: &Net, mtu: u32, protocol: u8) {
    // The header is read where the packet begins.
    let linear = skb.network().len();
    if skb.is_ipv6() {
        if linear >= size_of::<bindings::ipv6hdr>() {
            // SAFETY: Packet and namespace are valid, and the header is linear.
            unsafe { bindings::linux_ip6_update_pmtu(skb.as_ptr(), net.as_ptr(), mtu) };
        }
        return;
    }
    if linear < size_of::<bindings::iphdr>() {
        return;
    }
    // SAFETY: Packet and namespace are valid, and the header is linear.
    unsafe { bindings::ipv4_update_pmtu(skb.as_ptr(), net.as_ptr(), mtu, 0, protocol) };
}

/// Counts a packet whose header made it impossible to forward it (`InHdrErrors`,
/// `Ip6InHdrErrors`).
pub fn count_header_error(skb: &Skb, net: &Net) {
    // SAFETY: Packet and namespace are valid.
    unsafe {
        if skb.is_ipv6() {
            bindings::linux_ip6_inc_in_hdr_errors(net.as_ptr(), skb.as_ptr());
        } else {
            bindings::linux_ip_inc_in_hdr_errors(net.as_ptr());
        }
    }
}
