// SPDX-License-Identifier: GPL-2.0

//! SCTP: reads the chunks of packets, tracks the state of associations, and keeps the checksum right.
//! `ipvs_core/sctp.rs` has the states and what the chunks mean.
//!
//! C: `ip_vs_proto_sctp.c`.

use crate::conn::Bits;
use ipvs_core::{
    net::Be16,
    proto::Direction,
    sctp::{
        self,
        Chunks,
        SctpState,
        CHECK_AT,
        CRC_SEED,
        FIRST_CHUNK_END,
        HEADER_LEN, //
    },
    transport::{
        End,
        Ports, //
    },
};
use linux::{
    jiffies::HZ,
    rcu::ReadLocked,
    skb::{
        NoMemory,
        Skb,
        Summed, //
    },
};

/// Reads the ports and chunks of the packet whose SCTP header is at `offset`. `None` if it ends before
/// the end of the first chunk's header.
#[inline]
pub(super) fn read(skb: &Skb, offset: usize) -> Option<(Ports, Chunks)> {
    let header: [u8; FIRST_CHUNK_END] = skb.header(offset)?;
    let chunks = Chunks::read(sctp::first_chunk(&header), |at| {
        skb.header(offset.checked_add(at)?)
    });
    Some((sctp::ports(&header), chunks))
}

#[inline]
fn state(bits: Bits) -> SctpState {
    SctpState::from_number(bits.state()).unwrap_or(SctpState::None)
}

/// Returns whether the association is established.
#[inline]
pub(super) fn is_established(bits: Bits) -> bool {
    state(bits) == SctpState::Established
}

/// Returns whether the association has ended.
pub(super) fn is_closed(bits: Bits) -> bool {
    state(bits) == SctpState::Closed
}

/// Returns the idle timeout of an association with these flags and state, in ticks.
#[inline]
pub(super) fn timeout(bits: Bits) -> u32 {
    state(bits).timeout().wrapping_mul(HZ)
}

/// Returns the flags and state of an association after a packet. C: `set_sctp_state()`.
#[inline]
pub(super) fn step(bits: Bits, direction: Direction, chunks: Chunks) -> Bits {
    let (direction, no_output) = direction.with_flag(bits.no_output());
    let state = sctp::next(direction, state(bits), chunks.event());
    bits.with_no_output(no_output)
        .with_state(state.number())
        .with_active(state.is_active())
}

/// Translates the port at `end` of a packet whose network header is `header_len` bytes long, and makes
/// its checksum right, which covers the ports but no addresses. C: `sctp_snat_handler()`,
/// `sctp_dnat_handler()`.
///
/// A checksum that is left to the device is computed here if the device can't, or, of an answer, in
/// any case, as in C. That of a packet which is yet to be segmented is always computed later.
///
/// # Errors
///
/// The packet is too short, or there is no memory. It may have been changed and must be dropped.
#[inline]
pub(super) fn translate(
    skb: &mut Skb,
    header_len: usize,
    end: End,
    port: Be16,
    rcu: ReadLocked<'_>,
) -> Result<(), NoMemory> {
    let header = header(skb, header_len)?;
    let is_changed = sctp::set_port(header, end, port);
    let is_left_here = match (skb.summed(), end) {
        (Summed::Partial, End::Src) => true,
        (Summed::Partial, End::Dst) => !is_left_to_device(skb, rcu),
        (Summed::None | Summed::Unnecessary | Summed::Complete, _) => false,
    };
    if (is_changed || is_left_here) && !skb.is_gso() {
        return compute(skb, header_len);
    }
    // The device's sum was that of the packet before the change of the address.
    skb.forward_checksum();
    Ok(())
}

/// Returns whether the device that the packet is routed to computes its checksum.
#[cold]
fn is_left_to_device(skb: &Skb, rcu: ReadLocked<'_>) -> bool {
    skb.route()
        .and_then(|rt| rt.device(rcu))
        .is_some_and(|device| device.computes_sctp_crc())
}

/// Lends the SCTP header of a packet.
#[inline]
fn header(skb: &mut Skb, header_len: usize) -> Result<&mut [u8; HEADER_LEN], NoMemory> {
    let bytes = skb.writable(header_len.saturating_add(HEADER_LEN))?;
    bytes
        .get_mut(header_len..)
        .and_then(<[u8]>::first_chunk_mut)
        .ok_or(NoMemory)
}

/// Computes the checksum. C: `sctp_nat_csum()`.
fn compute(skb: &mut Skb, header_len: usize) -> Result<(), NoMemory> {
    sctp::clear_checksum(header(skb, header_len)?);
    let check = sctp::checksum_of(skb.crc32c(header_len, CRC_SEED));
    let place = header(skb, header_len)?.get_mut(CHECK_AT..);
    *place.and_then(<[u8]>::first_chunk_mut).ok_or(NoMemory)? = check;
    skb.set_checksum_unnecessary();
    Ok(())
}
