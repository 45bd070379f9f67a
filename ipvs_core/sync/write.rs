// SPDX-License-Identifier: GPL-2.0

//! Writes datagrams, entry by entry.

use super::{
    is_ipv6,
    Entry,
    PeEntry,
    Seq,
    Seqs,
    Version,
    ADDRS_AT_V1,
    ENTRY_LEN_V0,
    ENTRY_LEN_V1_IPV4,
    ENTRY_LEN_V1_IPV6,
    MAX_ENTRIES,
    OPTION_HEADER_LEN,
    OPTION_PE_DATA,
    OPTION_PE_NAME,
    OPTION_SEQ,
    SEQS_LEN,
    SEQ_LEN,
    SEQ_MASK,
    SIZE_MASK,
    TYPE_IPV6, //
};
use crate::{
    bytes::put,
    net::{
        Addr,
        Address, //
    },
    netlink::{
        CONN_F_HASHED,
        PE_NAME_LEN, //
    },
    pe::MAX_DATA, //
};

/// Tells that a datagram has no room for an entry. It is to be sent, and the entry to be added to
/// the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A datagram that is being written into a buffer. The caller passes the same buffer each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    version: Version,
    entries: u8,
    len: u16,
}

impl Message {
    /// Begins a datagram of this version in `buffer`, from the director whose daemon has this sync
    /// id. No more than `buffer` has room for is ever added.
    ///
    /// A `buffer` that has room for [`Version::header_len`] and the [`size`] of an entry takes that
    /// entry.
    pub fn begin(buffer: &mut [u8], version: Version, syncid: u8) -> Self {
        let len = version.header_len() as u16;
        let [high, low] = len.to_be_bytes();
        match version {
            Version::V0 => put(buffer, 0, [0, syncid, high, low]),
            // In the place of version 0's number of entries is a 0, so that its readers find none.
            Version::V1 => put(buffer, 0, [0, syncid, high, low, 0, 1, 0, 0]),
        }
        Self {
            version,
            entries: 0,
            len,
        }
    }

    /// Returns the version.
    #[inline]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Returns the number of entries.
    #[inline]
    pub const fn entries(&self) -> u8 {
        self.entries
    }

    /// Returns the length of the datagram in bytes: what of the buffer is to be sent.
    #[inline]
    pub const fn total_len(&self) -> usize {
        self.len as usize
    }

    /// Adds an entry. An IPv6 entry is left out of a datagram of version 0, as the C module does.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room for the entry. The datagram stays as it is.
    pub fn add<A: Address>(&mut self, buffer: &mut [u8], entry: &Entry<'_, A>) -> Result<(), Full> {
        let size = size(self.version, entry);
        if size == 0 {
            return Ok(());
        }
        let end_of_last = usize::from(self.len);
        let start = end_of_last.wrapping_add(3) & !3;
        let end = start.wrapping_add(size);
        let len = u16::try_from(end).map_err(|_| Full)?;
        if self.entries == MAX_ENTRIES {
            return Err(Full);
        }
        let room = buffer.get_mut(end_of_last..end).ok_or(Full)?;
        let (pad, room) = room
            .split_at_mut_checked(start.wrapping_sub(end_of_last))
            .ok_or(Full)?;
        pad.fill(0);
        match self.version {
            Version::V0 => write_v0(room, entry),
            Version::V1 => write_v1(room, entry),
        }
        self.entries = self.entries.wrapping_add(1);
        self.len = len;
        put(buffer, 2, len.to_be_bytes());
        let entries_at = match self.version {
            Version::V0 => 0,
            Version::V1 => 4,
        };
        put(buffer, entries_at, [self.entries]);
        Ok(())
    }
}

/// Returns the length of an entry in bytes, without padding. 0 for an IPv6 entry in version 0, which
/// has none.
pub fn size<A: Address>(version: Version, entry: &Entry<'_, A>) -> usize {
    let fixed = match version {
        Version::V0 if is_ipv6::<A>() => return 0,
        Version::V0 if entry.flags & SEQ_MASK != 0 => return ENTRY_LEN_V0.wrapping_add(SEQS_LEN),
        Version::V0 => return ENTRY_LEN_V0,
        Version::V1 if is_ipv6::<A>() => ENTRY_LEN_V1_IPV6,
        Version::V1 => ENTRY_LEN_V1_IPV4,
    };
    let option = |len: usize| match len {
        0 => 0,
        len => len.wrapping_add(OPTION_HEADER_LEN),
    };
    let seqs = entry.seqs.map_or(0, |_| SEQS_LEN);
    let (data, name) = pe_options(entry.pe);
    [seqs, data.len(), name.len()]
        .into_iter()
        .fold(fixed, |size, len| size.wrapping_add(option(len)))
}

/// Returns the content of the options with a persistence engine's data and name. C writes no empty
/// option, nor a name without data.
fn pe_options(pe: Option<PeEntry<'_>>) -> (&[u8], &[u8]) {
    match pe {
        Some(PeEntry { name, data }) if !data.is_empty() => (
            data.get(..MAX_DATA).unwrap_or(data),
            name.get(..PE_NAME_LEN).unwrap_or(name),
        ),
        _ => (&[], &[]),
    }
}

/// Writes an entry of version 0, of the flags and the state that fit into it. The flags tell a
/// reader whether there are sequence numbers; without any in `entry` they are 0.
fn write_v0<A: Address>(room: &mut [u8], entry: &Entry<'_, A>) {
    put(room, 0, [0, entry.protocol]);
    put(room, 2, entry.cport.to_bytes());
    put(room, 4, entry.vport.to_bytes());
    put(room, 6, entry.dport.to_bytes());
    put_addrs(room, 8, entry);
    let flags = entry.flags & !CONN_F_HASHED;
    put(room, 20, (flags as u16).to_be_bytes());
    put(room, 22, entry.state.to_be_bytes());
    if flags & SEQ_MASK != 0 {
        let seqs = entry.seqs.unwrap_or_default();
        put_seqs(room, ENTRY_LEN_V0, seqs, u32::to_ne_bytes);
    }
}

/// Writes an entry of version 1, which fills `room`.
fn write_v1<A: Address>(room: &mut [u8], entry: &Entry<'_, A>) {
    let kind = if is_ipv6::<A>() { TYPE_IPV6 } else { 0 };
    let size = room.len() as u16 & SIZE_MASK;
    put(room, 0, [kind, entry.protocol]);
    put(room, 2, size.to_be_bytes());
    put(room, 4, (entry.flags & !CONN_F_HASHED).to_be_bytes());
    put(room, 8, entry.state.to_be_bytes());
    put(room, 10, entry.cport.to_bytes());
    put(room, 12, entry.vport.to_bytes());
    put(room, 14, entry.dport.to_bytes());
    put(room, 16, entry.fwmark.to_be_bytes());
    put(room, 20, entry.timeout.to_be_bytes());
    put_addrs(room, ADDRS_AT_V1, entry);

    let mut at = match kind {
        TYPE_IPV6 => ENTRY_LEN_V1_IPV6,
        _ => ENTRY_LEN_V1_IPV4,
    };
    if let Some(seqs) = entry.seqs {
        put(room, at, [OPTION_SEQ, SEQS_LEN as u8]);
        at = at.wrapping_add(OPTION_HEADER_LEN);
        put_seqs(room, at, seqs, u32::to_be_bytes);
        at = at.wrapping_add(SEQS_LEN);
    }
    let (data, name) = pe_options(entry.pe);
    for (kind, content) in [(OPTION_PE_DATA, data), (OPTION_PE_NAME, name)] {
        if content.is_empty() {
            continue;
        }
        put(room, at, [kind, content.len() as u8]);
        at = at.wrapping_add(OPTION_HEADER_LEN);
        let place = room.get_mut(at..).unwrap_or_default();
        for (to, from) in place.iter_mut().zip(content) {
            *to = *from;
        }
        at = at.wrapping_add(content.len());
    }
}

/// Writes the three addresses of an entry at byte `at`.
fn put_addrs<A: Address>(room: &mut [u8], at: usize, entry: &Entry<'_, A>) {
    let mut at = at;
    for addr in [entry.caddr, entry.vaddr, entry.daddr] {
        match addr.into() {
            Addr::V4(addr) => {
                put(room, at, addr.to_bytes());
                at = at.wrapping_add(4);
            }
            Addr::V6(addr) => {
                put(room, at, addr.to_bytes());
                at = at.wrapping_add(16);
            }
        }
    }
}

/// Writes the changes of sequence numbers at byte `at`, in the byte order of `bytes`.
fn put_seqs(room: &mut [u8], at: usize, seqs: Seqs, bytes: impl Fn(u32) -> [u8; 4]) {
    let mut put_seq = |at: usize, seq: Seq| {
        put(room, at, bytes(seq.init_seq));
        put(room, at.wrapping_add(4), bytes(seq.delta));
        put(room, at.wrapping_add(8), bytes(seq.previous_delta));
    };
    put_seq(at, seqs.input);
    put_seq(at.wrapping_add(SEQ_LEN), seqs.output);
}

#[cfg(test)]
mod tests;
