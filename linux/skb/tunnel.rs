// SPDX-License-Identifier: GPL-2.0

//! Putting a packet into another one.

use super::{
    Headers,
    NoMemory,
    Skb,
    Summed, //
};
use crate::{
    bindings,
    net::Net, //
};
use core::mem::offset_of;
use kernel::prelude::*;

/// Bytes of an IPv4 header without options.
const IPV4_HEADER_LEN: usize = size_of::<bindings::iphdr>();
/// Bytes of an IPv6 header.
const IPV6_HEADER_LEN: usize = size_of::<bindings::ipv6hdr>();

/// Bytes of the longer of both families' control blocks.
const CONTROL_BLOCK_LEN: usize = {
    let (ipv4, ipv6) = (
        size_of::<bindings::inet_skb_parm>(),
        size_of::<bindings::inet6_skb_parm>(),
    );
    if ipv4 > ipv6 {
        ipv4
    } else {
        ipv6
    }
};

/// The IP header that goes around a packet, without length and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OuterHeader {
    /// IPv4.
    Ipv4([u8; IPV4_HEADER_LEN]),
    /// IPv6.
    Ipv6([u8; IPV6_HEADER_LEN]),
}

/// The headers between the outer IP header and the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// Nothing: IP in IP.
    Ip,
    /// UDP and Generic UDP Encapsulation, version 0.
    Gue {
        /// Destination port, in network byte order.
        port: u16,
        /// Set if the datagram has a checksum.
        checksum: bool,
        /// Set if a checksum that a device would have to complete is left to the receiver (remote
        /// checksum offload). The datagram has a checksum in any case, then.
        remote_checksum: bool,
    },
    /// Generic Routing Encapsulation, version 0.
    Gre {
        /// Set if it has a checksum.
        checksum: bool,
    },
}

/// Bytes of a UDP header.
const UDP_LEN: usize = 8;
/// Bytes of a GUE header without options.
const GUE_LEN: usize = 4;
/// Bytes of the options for a remote checksum: private flags, and two offsets.
const GUE_REMOTE_CHECKSUM_LEN: usize = 8;
/// Private flags are in the options (C: `GUE_FLAG_PRIV`).
const GUE_FLAG_PRIVATE: u16 = 1;
/// There are offsets for a remote checksum (C: `GUE_PFLAG_REMCSUM`).
const GUE_PRIVATE_REMOTE_CHECKSUM: u32 = 1 << 31;
/// Bytes of a GRE header without options, and of its checksum with padding.
const GRE_LEN: usize = 4;
/// C: `GRE_CSUM`.
const GRE_FLAG_CHECKSUM: u16 = 0x8000;

impl Encapsulation {
    /// Returns its length in bytes. `partial` says whether a device has to complete the packet's
    /// checksum.
    #[inline]
    pub const fn len(self, partial: bool) -> usize {
        match self {
            Self::Ip => 0,
            Self::Gue {
                remote_checksum, ..
            } if remote_checksum && partial => UDP_LEN + GUE_LEN + GUE_REMOTE_CHECKSUM_LEN,
            Self::Gue { .. } => UDP_LEN + GUE_LEN,
            Self::Gre { checksum: false } => GRE_LEN,
            Self::Gre { checksum: true } => 2 * GRE_LEN,
        }
    }

    /// Returns whether there are none.
    #[inline]
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::Ip)
    }

    /// Returns what has to be done to each segment of a packet (C: `SKB_GSO_*`).
    fn gso_type(self, partial: bool) -> c_int {
        match self {
            Self::Ip => 0,
            Self::Gue {
                checksum,
                remote_checksum,
                ..
            } => {
                let kind = if checksum || remote_checksum {
                    bindings::SKB_GSO_UDP_TUNNEL_CSUM
                } else {
                    bindings::SKB_GSO_UDP_TUNNEL
                };
                if remote_checksum && partial {
                    kind | bindings::SKB_GSO_TUNNEL_REMCSUM
                } else {
                    kind
                }
            }
            Self::Gre { checksum: false } => bindings::SKB_GSO_GRE,
            Self::Gre { checksum: true } => bindings::SKB_GSO_GRE_CSUM,
        }
    }
}

impl Skb {
    /// Puts a packet into another one, which has no route yet. `GFP_ATOMIC`; fails if there is no
    /// headroom for it, or no memory.
    #[inline]
    pub fn encapsulate(
        &mut self,
        net: &Net,
        outer: OuterHeader,
        encapsulation: Encapsulation,
    ) -> Result<(), NoMemory> {
        let partial = self.summed() == Summed::Partial;
        let (ip_len, ip_gso_type) = match outer {
            OuterHeader::Ipv4(_) => (IPV4_HEADER_LEN, bindings::SKB_GSO_IPXIP4),
            OuterHeader::Ipv6(_) => (IPV6_HEADER_LEN, bindings::SKB_GSO_IPXIP6),
        };
        if self.headroom() < ip_len + encapsulation.len(partial) || self.is_cloned() {
            return Err(NoMemory);
        }
        let gso_type = ip_gso_type | encapsulation.gso_type(partial);
        // SAFETY: By the type invariants.
        if unsafe { bindings::iptunnel_handle_offloads(self.as_ptr(), gso_type) } != 0 {
            return Err(NoMemory);
        }
        let protocol = match self.is_ipv6() {
            false => bindings::IPPROTO_IPIP,
            true => bindings::IPPROTO_IPV6,
        };
        let headers = self.headers();
        // SAFETY: By the type invariants, and the packet is ours alone.
        unsafe {
            (*headers).transport_header = (*headers).network_header;
            (*headers).__bindgen_anon_5.inner_ipproto = protocol as u8;
            Headers::set_inner_protocol_type_raw(headers, bindings::ENCAP_TYPE_IPPROTO as u8);
            (*headers).inner_mac_header = (*headers).inner_network_header;
        }
        match encapsulation {
            Encapsulation::Ip => (),
            Encapsulation::Gue {
                port,
                checksum,
                remote_checksum,
            } => {
                let remote = (remote_checksum && partial)
                    .then(|| self.partial_checksum().ok_or(NoMemory))
                    .transpose()?;
                self.push_gue(net, port, protocol as u8, remote)?;
                self.set_udp_checksum(outer, checksum || remote_checksum);
            }
            Encapsulation::Gre { checksum } => self.push_gre(checksum, partial)?,
        }
        match outer {
            OuterHeader::Ipv4(header) => {
                self.push(header)?;
                self.become_outer(false);
            }
            OuterHeader::Ipv6(header) => {
                self.push(header)?;
                self.become_outer(true);
            }
        }
        Ok(())
    }

    /// Puts a header before the packet. Until the invariants hold again, nothing else must be done
    /// with the packet than dropping it.
    #[inline]
    fn push<const N: usize>(&mut self, header: [u8; N]) -> Result<(), NoMemory> {
        if self.headroom() < N || self.is_cloned() {
            return Err(NoMemory);
        }
        let skb = self.as_ptr();
        // SAFETY: So much headroom is there, and the buffer is not shared.
        unsafe {
            (*skb).data = (*skb).data.sub(N);
            (*skb).len = (*skb).len.wrapping_add(N as u32);
            (*skb).data.cast::<[u8; N]>().write(header);
        }
        Ok(())
    }

    /// Makes what was pushed last the transport header. The headroom of a packet fits 16 bits as far
    /// as headers are concerned.
    fn reset_transport_header(&mut self) {
        // SAFETY: By the type invariants, and the packet is ours alone.
        unsafe { (*self.headers()).transport_header = self.headroom() as u16 };
    }

    #[inline]
    fn checksum_place(
        &self,
    ) -> *mut bindings::sk_buff__bindgen_ty_4__bindgen_ty_1__bindgen_ty_1__bindgen_ty_1 {
        // SAFETY: The place is inside of a valid `sk_buff`; nothing is read.
        unsafe { (&raw mut (*self.headers()).__bindgen_anon_1.__bindgen_anon_1).cast() }
    }

    /// Returns the offset from which a device has to sum up the packet and the offset at which it
    /// has to store the sum, from the network header on, if it has to.
    fn partial_checksum(&self) -> Option<[u16; 2]> {
        // SAFETY: By the type invariants; while a device has to complete the checksum, the union
        // holds this.
        let (start, offset) = unsafe {
            let place = self.checksum_place();
            ((*place).csum_start, (*place).csum_offset)
        };
        let start = start.checked_sub(u16::try_from(self.headroom()).ok()?)?;
        Some([start, start.checked_add(offset)?])
    }

    /// Leaves it to the device to complete the checksum at `offset` in the transport header.
    fn set_partial_checksum(&mut self, offset: u16) {
        // SAFETY: By the type invariants, and the packet is ours alone.
        unsafe {
            let place = self.checksum_place();
            (*place).csum_start = (*self.headers()).transport_header;
            (*place).csum_offset = offset;
        }
        self.set_summed(bindings::CHECKSUM_PARTIAL);
    }

    fn push_gue(
        &mut self,
        net: &Net,
        port: u16,
        protocol: u8,
        remote: Option<[u16; 2]>,
    ) -> Result<(), NoMemory> {
        // SAFETY: Packet and namespace are valid.
        let source = unsafe { bindings::linux_udp_flow_src_port(net.as_ptr(), self.as_ptr()) };
        match remote {
            None => self.push([0, protocol, 0, 0])?,
            Some([start, place]) => {
                let [s0, s1] = start.to_be_bytes();
                let [p0, p1] = place.to_be_bytes();
                self.push([s0, s1, p0, p1])?;
                self.push(GUE_PRIVATE_REMOTE_CHECKSUM.to_be_bytes())?;
                let [f0, f1] = GUE_FLAG_PRIVATE.to_be_bytes();
                self.push([(GUE_REMOTE_CHECKSUM_LEN / 4) as u8, protocol, f0, f1])?;
                if !self.is_gso() {
                    self.set_checksum_none();
                    // SAFETY: By the type invariants, and the packet is ours alone.
                    unsafe { Headers::set_encapsulation_raw(self.headers(), 0) };
                }
            }
        }
        let [s0, s1] = source.to_ne_bytes();
        let [d0, d1] = port.to_ne_bytes();
        // What is longer is cut before it is sent.
        let len = u16::try_from(self.len() + UDP_LEN).unwrap_or(0);
        let [l0, l1] = len.to_be_bytes();
        self.push([s0, s1, d0, d1, l0, l1, 0, 0])?;
        self.reset_transport_header();
        Ok(())
    }

    fn set_udp_checksum(&mut self, outer: OuterHeader, checksum: bool) {
        let len = self.len() as i32;
        match outer {
            OuterHeader::Ipv4(header) => {
                let [.., s0, s1, s2, s3, d0, d1, d2, d3] = header;
                let src = u32::from_ne_bytes([s0, s1, s2, s3]);
                let dst = u32::from_ne_bytes([d0, d1, d2, d3]);
                // SAFETY: By the type invariants; the transport header is UDP's, in a buffer that is
                // not shared.
                unsafe { bindings::udp_set_csum(!checksum, self.as_ptr(), src, dst, len) };
            }
            OuterHeader::Ipv6(header) => {
                let addr = |at: usize| {
                    let mut bytes = [0; 16];
                    if let Some(from) = header.get(at..at + 16) {
                        bytes.copy_from_slice(from);
                    }
                    bindings::in6_addr {
                        in6_u: bindings::in6_addr__bindgen_ty_1 { u6_addr8: bytes },
                    }
                };
                let (src, dst) = (addr(8), addr(24));
                // SAFETY: As above; the addresses are valid for the call.
                unsafe { bindings::udp6_set_csum(!checksum, self.as_ptr(), &src, &dst, len) };
            }
        }
    }

    fn push_gre(&mut self, checksum: bool, partial: bool) -> Result<(), NoMemory> {
        let protocol = match self.is_ipv6() {
            false => bindings::ETH_P_IP,
            true => bindings::ETH_P_IPV6,
        } as u16;
        let [p0, p1] = protocol.to_be_bytes();
        let [f0, f1] = if checksum { GRE_FLAG_CHECKSUM } else { 0 }.to_be_bytes();
        if checksum {
            self.push([0; GRE_LEN])?;
        }
        self.push([f0, f1, p0, p1])?;
        self.reset_transport_header();
        let headers = self.headers();
        // SAFETY: By the type invariants, and the packet is ours alone.
        unsafe {
            (*headers).__bindgen_anon_5.inner_protocol = protocol.to_be();
            Headers::set_inner_protocol_type_raw(headers, bindings::ENCAP_TYPE_ETHER as u8);
        }
        // Each packet that is cut from a longer one gets its own.
        if !checksum || self.is_gso() {
            return Ok(());
        }
        if partial {
            // SAFETY: By the type invariants; a checksum is to be completed behind the transport
            // header, in the linear part. The place has just been pushed.
            unsafe {
                let check = bindings::linux_lco_csum_fold(self.as_ptr());
                let place = (*self.as_ptr()).data.add(GRE_LEN);
                place.cast::<[u8; 2]>().write(check.to_ne_bytes());
            }
        } else {
            self.set_partial_checksum(GRE_LEN as u16);
        }
        Ok(())
    }

    /// Makes the packet one of the family of the header that was pushed. Where that is another than
    /// before, what the control block says means nothing any more; where not, the options of the
    /// inner header are forgotten. The route led to where the inner packet went.
    fn become_outer(&mut self, is_ipv6: bool) {
        let protocol = if is_ipv6 {
            bindings::ETH_P_IPV6
        } else {
            bindings::ETH_P_IP
        };
        self.clear_route();
        match (self.is_ipv6(), is_ipv6) {
            (false, false) => self.clear_ip_options(),
            // The fragments that the inner packet came in are the measure for the outer one.
            (true, true) => {
                self.clear_control_block(offset_of!(bindings::inet6_skb_parm, frag_max_size))
            }
            _ => self.clear_control_block(CONTROL_BLOCK_LEN),
        }
        // INVARIANT: The network header is at `data` again, it and the control block are of that
        // family, and there is no route.
        // SAFETY: By the type invariants, and the packet is ours alone. The headroom of a packet
        // fits 16 bits as far as headers are concerned.
        unsafe {
            (*self.headers()).network_header = self.headroom() as u16;
            (*self.headers()).protocol = (protocol as u16).to_be();
        }
    }

    /// Forgets what the first `len` bytes of the control block say, but for the index of the device,
    /// which both families have in the same place.
    fn clear_control_block(&mut self, len: usize) {
        const KEPT: usize = size_of::<c_int>();
        let len = len.min(CONTROL_BLOCK_LEN).saturating_sub(KEPT);
        // SAFETY: By the type invariants, the control block is that of a family, and there is room
        // for that of either.
        unsafe {
            (&raw mut (*self.as_ptr()).cb)
                .cast::<u8>()
                .add(KEPT)
                .write_bytes(0, len);
        }
    }

    /// Takes off the first `len` bytes, and makes what follows, an IP header of `header_len` bytes of
    /// the packet's own family and its payload, the packet. `GFP_ATOMIC`.
    pub fn strip(&mut self, len: usize, header_len: usize) -> Result<(), NoMemory> {
        let missing = len
            .checked_add(header_len)
            .filter(|&end| end <= self.len())
            .ok_or(NoMemory)?
            .saturating_sub(self.linear_len());
        let skb = self.as_ptr();

        if missing != 0 {
            // SAFETY: By the type invariants; so many bytes are left that are not linear.
            let tail = unsafe { bindings::__pskb_pull_tail(skb, missing as i32) };
            if tail.is_null() {
                return Err(NoMemory);
            }
        }
        // INVARIANT: The network header is at `data` again.
        // SAFETY: By the type invariants, and so many bytes are linear; the packet is ours alone.
        unsafe {
            (*skb).data = (*skb).data.add(len);
            (*skb).len = (*skb).len.wrapping_sub(len as u32);
            (*self.headers()).network_header = self.headroom() as u16;
            (*self.headers()).transport_header = self.headroom().wrapping_add(header_len) as u16;
        }
        if self.is_ipv6() {
            self.clear_control_block(CONTROL_BLOCK_LEN);
        } else {
            self.clear_ip_options();
        }
        Ok(())
    }

    /// Forgets the IP options of the header that was the first.
    fn clear_ip_options(&mut self) {
        let opt = offset_of!(bindings::inet_skb_parm, opt);
        // SAFETY: By the type invariants, the control block is an `inet_skb_parm`, for which there
        // is room in it.
        unsafe {
            (&raw mut (*self.as_ptr()).cb)
                .cast::<u8>()
                .add(opt)
                .write_bytes(0, size_of::<bindings::ip_options>());
        }
    }

    /// Gives the packet an IPv4 identification, if it may be fragmented, and 0 otherwise.
    pub fn select_ident(&mut self, net: &Net) {
        const DF: u16 = (bindings::IP_DF as u16).to_be();

        if self.linear_len() < IPV4_HEADER_LEN || self.is_cloned() {
            return;
        }
        // SAFETY: By the type invariants; the header is linear and not shared.
        let iph = unsafe { (*self.as_ptr()).data }.cast::<bindings::iphdr>();
        // SAFETY: As above. Packets of the network need not be aligned.
        unsafe {
            let frag_off = (&raw const (*iph).frag_off).read_unaligned();
            if frag_off & DF != 0 && !self.ignore_df() {
                (&raw mut (*iph).id).write_unaligned(0);
            } else {
                bindings::__ip_select_ident(net.as_ptr(), iph, 1);
            }
        }
    }
}
