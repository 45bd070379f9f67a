// SPDX-License-Identifier: GPL-2.0

//! Translates a packet of a connection: addresses, ports and checksums.
//!
//! C: `tcp_dnat_handler()`, `tcp_snat_handler()`, `udp_dnat_handler()`, `udp_snat_handler()`,
//! `ip_vs_nat_icmp()`. SCTP's ports and checksum are translated in `proto/sctp.rs`.

use super::sctp;
use crate::{
    conn::Conn,
    family::{
        Family,
        Header, //
    },
    packet::IcmpError, //
};
use ipvs_core::{
    checksum::{
        pseudo_header,
        Sum, //
    },
    icmp,
    net::Be32,
    proto::Protocol,
    sctp::HEADER_LEN as SCTP_HEADER_LEN,
    transport::{
        rewrite_tcp,
        rewrite_udp,
        set_port,
        udp_checksum,
        Change,
        End,
        Rewritten,
        Stored,
        TCP_HEADER_LEN,
        UDP_HEADER_LEN, //
    },
};
use linux::{
    rcu::ReadLocked,
    skb::{
        NoMemory,
        Skb,
        Summed, //
    },
};

/// The length of the ports at the beginning of a transport header, in bytes.
const PORTS_LEN: usize = 4;
/// The offset of the checksum in an ICMP header, in bytes.
const ICMP_CHECK_AT: usize = 2;
/// The offset of the checksum in a UDP header, in bytes.
const UDP_CHECK_AT: usize = 6;

/// The error of a packet that can't be translated: it is too short, or there is no memory for a
/// copy of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Untranslatable;

impl From<NoMemory> for Untranslatable {
    fn from(_: NoMemory) -> Self {
        Self
    }
}

/// Returns the change of address and port at one end of the connection's packets: the destination
/// of requests, or the source of answers.
#[inline]
fn change<F: Family>(conn: &Conn<F>, end: End) -> Change<F::Addr> {
    match end {
        End::Dst => Change {
            old_addr: conn.vaddr(),
            new_addr: conn.daddr(),
            old_port: conn.vport(),
            new_port: conn.dport(),
        },
        End::Src => Change {
            old_addr: conn.daddr(),
            new_addr: conn.vaddr(),
            old_port: conn.dport(),
            new_port: conn.vport(),
        },
    }
}

/// Puts `field` at the beginning of `bytes`.
#[inline]
fn put<const N: usize>(bytes: Option<&mut [u8]>, field: [u8; N]) -> Result<(), Untranslatable> {
    let place = bytes.and_then(<[u8]>::first_chunk_mut);
    *place.ok_or(Untranslatable)? = field;
    Ok(())
}

/// Translates the destination of a request, or the source of an answer. `header_len` is the length
/// of the network headers in bytes, which is the offset of the transport header.
///
/// # Errors
///
/// The packet is too short, or there is no memory. It may have been changed and must be dropped.
#[inline]
pub(crate) fn translate<F: Family>(
    skb: &mut Skb,
    conn: &Conn<F>,
    header_len: usize,
    end: End,
    rcu: ReadLocked<'_>,
) -> Result<(), Untranslatable> {
    let change = change(conn, end);
    let summed = skb.summed();
    let stored = match summed {
        Summed::Partial => Stored::Partial,
        Summed::None | Summed::Unnecessary | Summed::Complete => Stored::Complete,
    };
    let transport_len = match conn.protocol() {
        Protocol::Tcp => TCP_HEADER_LEN,
        Protocol::Udp => UDP_HEADER_LEN,
        Protocol::Sctp => SCTP_HEADER_LEN,
    };
    let bytes = skb.writable(header_len.saturating_add(transport_len))?;
    let (ip, transport) = bytes
        .split_at_mut_checked(header_len)
        .ok_or(Untranslatable)?;

    F::set_addr(ip, end, change.new_addr).ok_or(Untranslatable)?;
    let rewritten = match conn.protocol() {
        Protocol::Tcp => {
            let header = transport.first_chunk_mut().ok_or(Untranslatable)?;
            rewrite_tcp(header, end, change, stored);
            Rewritten::Updated
        }
        Protocol::Udp => {
            let header = transport.first_chunk_mut().ok_or(Untranslatable)?;
            rewrite_udp(header, end, change, stored)
        }
        Protocol::Sctp => {
            return Ok(sctp::translate(skb, header_len, end, change.new_port, rcu)?);
        }
    };
    match rewritten {
        // The device's sum was that of the packet before the change.
        Rewritten::Updated if summed == Summed::Complete => skb.set_checksum_none(),
        Rewritten::Updated => (),
        Rewritten::Absent => fill_in_udp_checksum(skb, conn, header_len, end)?,
    }
    Ok(())
}

/// Translates the destination address of a request, or the source address of an answer, and nothing
/// else: the packet has no ports, and no checksum that NAT could update. C: what `ip_vs_nat_xmit()`
/// and `handle_response()` do for a protocol without `dnat_handler` and `snat_handler`.
///
/// # Errors
///
/// The packet is too short, or there is no memory. It is unchanged and must be dropped.
pub(crate) fn translate_addr<F: Family>(
    skb: &mut Skb,
    conn: &Conn<F>,
    end: End,
) -> Result<(), Untranslatable> {
    let Change { new_addr, .. } = change(conn, end);
    let bytes = skb.writable(F::HEADER_LEN)?;

    F::set_addr(bytes, end, new_addr).ok_or(Untranslatable)?;
    // The device's sum was that of the packet before the change.
    if skb.summed() == Summed::Complete {
        skb.set_checksum_none();
    }
    Ok(())
}

/// Computes the checksum of a UDP datagram that was sent without one, as the C module does.
#[cold]
fn fill_in_udp_checksum<F: Family>(
    skb: &mut Skb,
    conn: &Conn<F>,
    header_len: usize,
    end: End,
) -> Result<(), Untranslatable> {
    let len = skb.len().checked_sub(header_len);
    let len = len.and_then(|len| u32::try_from(len).ok());
    let sum = Sum::ZERO.add32(Be32::from_raw(skb.sum(header_len)));
    let (src, dst) = match end {
        End::Dst => (conn.caddr(), conn.daddr()),
        End::Src => (conn.vaddr(), conn.caddr()),
    };
    let check = udp_checksum(src, dst, len.ok_or(Untranslatable)?, sum);

    let bytes = skb.writable(header_len.saturating_add(UDP_HEADER_LEN))?;
    let check_at = header_len.saturating_add(UDP_CHECK_AT);
    put(bytes.get_mut(check_at..), check.to_bytes())?;
    skb.set_checksum_unnecessary();
    Ok(())
}

/// Translates an ICMP error at `end`, and the packet that it embeds at the opposite end. The
/// embedded transport checksum stays as it is, since the error may be cut off before it. C:
/// `ip_vs_nat_icmp()`, `ip_vs_nat_icmp_v6()`.
///
/// # Errors
///
/// The packet is too short, or there is no memory. It may have been changed and must be dropped.
pub(crate) fn translate_icmp<F: Family>(
    skb: &mut Skb,
    conn: &Conn<F>,
    error: IcmpError<'_, F>,
    end: End,
) -> Result<(), Untranslatable> {
    let Change {
        new_addr, new_port, ..
    } = change(conn, end);
    let inner_end = match end {
        End::Src => End::Dst,
        End::Dst => End::Src,
    };
    let inner_at = error.offset.saturating_add(icmp::HEADER_LEN);
    let inner_len = error.embedded.transport_at();
    let ports_len = if error.has_ports { PORTS_LEN } else { 0 };

    let bytes = skb.writable(inner_at.saturating_add(inner_len).saturating_add(ports_len))?;
    let (outer, inner) = bytes.split_at_mut_checked(inner_at).ok_or(Untranslatable)?;
    // The embedded header may have been parsed in a page of the skb that others can write: check it
    // again in the copy.
    if F::linear_len(inner) != Some(inner_len) {
        return Err(Untranslatable);
    }

    F::set_addr(outer, end, new_addr).ok_or(Untranslatable)?;
    F::set_addr(inner, inner_end, new_addr).ok_or(Untranslatable)?;
    // Computed from scratch, since the embedded checksum may have been wrong.
    F::update_checksum(inner);
    if error.has_ports {
        let ports = inner.get_mut(inner_len..).ok_or(Untranslatable)?;
        set_port(ports, inner_end, new_port);
    }

    let check_at = error.offset.saturating_add(ICMP_CHECK_AT);
    put(outer.get_mut(check_at..), [0; 2])?;
    let sum = if F::ICMP_HAS_PSEUDO_HEADER {
        let header = F::header(skb).ok_or(Untranslatable)?;
        let len = skb.len().checked_sub(error.offset);
        let len = len.and_then(|len| u32::try_from(len).ok());
        let len = len.ok_or(Untranslatable)?;
        pseudo_header(header.src(), header.dst(), F::PROTO_ICMP, len)
    } else {
        Sum::ZERO
    };
    let sum = sum.add32(Be32::from_raw(skb.sum(error.offset)));
    let bytes = skb.writable(inner_at)?;
    put(bytes.get_mut(check_at..), sum.finish().to_bytes())?;
    skb.set_checksum_unnecessary();
    Ok(())
}
