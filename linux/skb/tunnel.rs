// SPDX-License-Identifier: GPL-2.0

//! Putting a packet into another one.

use super::{
    Headers,
    NoMemory,
    Skb, //
};
use crate::{
    bindings,
    net::Net, //
};
use core::mem::offset_of;

/// Bytes of an IPv4 header without options.
const IPV4_HEADER_LEN: usize = size_of::<bindings::iphdr>();

impl Skb {
    /// Declares the packet the inner one of an IPv4 in IPv4 tunnel, for devices that cut or check
    /// it on behalf of this host. `GFP_ATOMIC`.
    pub fn become_inner_ipip(&mut self) -> Result<(), NoMemory> {
        // SAFETY: By the type invariants.
        let err =
            unsafe { bindings::iptunnel_handle_offloads(self.as_ptr(), bindings::SKB_GSO_IPXIP4) };
        if err != 0 {
            return Err(NoMemory);
        }
        let headers = self.headers();
        // SAFETY: By the type invariants, and the packet is ours alone.
        unsafe {
            (*headers).transport_header = (*headers).network_header;
            (*headers).__bindgen_anon_5.inner_ipproto = bindings::IPPROTO_IPIP as u8;
            Headers::set_inner_protocol_type_raw(headers, bindings::ENCAP_TYPE_IPPROTO as u8);
            (*headers).inner_mac_header = (*headers).inner_network_header;
        }
        Ok(())
    }

    /// Puts an outer IPv4 header before the packet, and forgets the IP options of the inner one.
    /// Fails if there is no headroom for it.
    pub fn push_ipv4(&mut self, header: [u8; IPV4_HEADER_LEN]) -> Result<(), NoMemory> {
        if self.headroom() < IPV4_HEADER_LEN || self.is_cloned() {
            return Err(NoMemory);
        }
        let skb = self.as_ptr();
        // SAFETY: So much headroom is there, and the buffer is not shared.
        unsafe {
            (*skb).data = (*skb).data.sub(IPV4_HEADER_LEN);
            (*skb).len = (*skb).len.wrapping_add(IPV4_HEADER_LEN as u32);
            (*skb).data.cast::<[u8; IPV4_HEADER_LEN]>().write(header);
        }
        // INVARIANT: The network header is at `data` again.
        // SAFETY: By the type invariants, and the packet is ours alone. The headroom of a packet
        // fits 16 bits as far as headers are concerned.
        unsafe { (*self.headers()).network_header = self.headroom() as u16 };
        self.clear_ip_options();
        Ok(())
    }

    /// Takes off the first `len` bytes, and makes what follows, an IPv4 header of `header_len`
    /// bytes and its payload, the packet. `GFP_ATOMIC`.
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
        self.clear_ip_options();
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
