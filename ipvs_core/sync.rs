// SPDX-License-Identifier: GPL-2.0

//! The datagrams by which directors tell each other their connections: versions 0 and 1, as the C
//! module writes and reads them, and when it sends which connection.
//!
//! C: `ip_vs_sync.c`. The module's `sync.rs` has the daemons: sockets, queues, and what a backup
//! makes of what it receives.
//!
//! A datagram is a header with the number of entries, and the entries. Numbers are in network byte
//! order, with one exception.
//!
//! - Version 0 has entries of IPv4 connections, of 24 bytes each, or of 48 with sequence numbers,
//!   which are in the byte order of the host that sends them. It has neither timeouts nor firewall
//!   marks.
//! - Version 1 has a type, a length and options for each entry. Entries begin at multiples of four
//!   bytes. What follows the last one is ignored by the C module.

mod due;
mod read;
mod write;

pub use due::{
    Due,
    Rules,
    Subject, //
};
pub use read::{
    Datagram,
    Entries,
    Fault,
    Received, //
};
pub use write::{
    size,
    Full,
    Message, //
};

use crate::{
    net::{
        Address,
        Be128,
        Be16, //
    },
    netlink::{
        CONN_F_INACTIVE,
        CONN_F_IN_SEQ,
        CONN_F_NOOUTPUT,
        CONN_F_NO_CPORT,
        CONN_F_OUT_SEQ,
        CONN_F_TEMPLATE,
        FWD_MASK, //
    },
};

/// The multicast group, unless the user names another one (C: `IP_VS_SYNC_GROUP`).
pub const GROUP: [u8; 4] = [224, 0, 0, 81];
/// The UDP port, unless the user names another one (C: `IP_VS_SYNC_PORT`).
pub const PORT: u16 = 8848;
/// The maximum number of ports, and of threads (C: `IPVS_SYNC_PORTS_MAX`).
pub const PORTS_MAX: usize = 64;

/// The length in bytes of the header of version 0 (C: `struct ip_vs_sync_mesg_v0`).
pub const HEADER_LEN_V0: usize = 4;
/// The length in bytes of the header of version 1 (C: `struct ip_vs_sync_mesg`).
pub const HEADER_LEN_V1: usize = 8;
/// The maximum number of entries of a datagram, whose header has a byte for it. In C it overflows: a
/// reader ignores 256 entries.
pub const MAX_ENTRIES: u8 = u8::MAX;

/// The flags of a connection whose sequence numbers are changed (C: `IP_VS_CONN_F_SEQ_MASK`).
pub const SEQ_MASK: u32 = CONN_F_OUT_SEQ | CONN_F_IN_SEQ;
/// The flags that a backup takes over for a new connection (C: `IP_VS_CONN_F_BACKUP_MASK`).
pub const BACKUP_MASK: u32 =
    FWD_MASK | CONN_F_NOOUTPUT | CONN_F_INACTIVE | SEQ_MASK | CONN_F_NO_CPORT | CONN_F_TEMPLATE;
/// The flags that a backup takes over for a connection that it has (C:
/// `IP_VS_CONN_F_BACKUP_UPD_MASK`).
pub const BACKUP_UPD_MASK: u32 = CONN_F_INACTIVE | SEQ_MASK;

/// The state of a template whose client has been seen to exist (C: `IP_VS_CTPL_S_ASSURED`). Others
/// have state 0.
pub const TEMPLATE_ASSURED: u16 = 1;

/// The length in bytes of an entry of version 0 without sequence numbers.
const ENTRY_LEN_V0: usize = 24;
/// The length in bytes of an IPv4 entry of version 1 without options.
const ENTRY_LEN_V1_IPV4: usize = 36;
/// The length in bytes of an IPv6 entry of version 1 without options.
const ENTRY_LEN_V1_IPV6: usize = 72;
/// Where the addresses of an entry of version 1 begin.
const ADDRS_AT_V1: usize = 24;
/// The bit in the type of an entry of version 1 that tells that it is of IPv6 (C: `STYPE_F_INET6`).
const TYPE_IPV6: u8 = 1;
/// The bits of an entry's length in the field that it shares with a version (C: `SVER_MASK`).
const SIZE_MASK: u16 = 0x0fff;

/// The length in bytes of the type and length of an option.
const OPTION_HEADER_LEN: usize = 2;
/// The option with sequence numbers (C: `IPVS_OPT_SEQ_DATA`).
const OPTION_SEQ: u8 = 1;
/// The option with what a persistence engine found (C: `IPVS_OPT_PE_DATA`).
const OPTION_PE_DATA: u8 = 2;
/// The option with the name of the persistence engine (C: `IPVS_OPT_PE_NAME`).
const OPTION_PE_NAME: u8 = 3;
/// The bit in the type of an option that tells that a reader may ignore it (C: `IPVS_OPT_F_PARAM`).
const OPTION_MAY_BE_IGNORED: u8 = 0x40;

/// The version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The old one: IPv4 only.
    V0,
    /// The current one.
    V1,
}

impl Version {
    /// Returns the length of the header in bytes.
    #[inline]
    pub const fn header_len(self) -> usize {
        match self {
            Self::V0 => HEADER_LEN_V0,
            Self::V1 => HEADER_LEN_V1,
        }
    }
}

/// The change of the sequence numbers of one direction (C: `struct ip_vs_seq`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seq {
    /// The sequence number from which on `delta` is added.
    pub init_seq: u32,
    /// What is added.
    pub delta: u32,
    /// What is added to earlier ones.
    pub previous_delta: u32,
}

/// The length of a [`Seq`] in bytes.
const SEQ_LEN: usize = 12;
/// The length in bytes of those of both directions (C: `struct ip_vs_sync_conn_options`).
const SEQS_LEN: usize = 2 * SEQ_LEN;

/// The changes of the sequence numbers of both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seqs {
    /// Those of the client's packets (C: `in_seq`).
    pub input: Seq,
    /// Those of answers (C: `out_seq`).
    pub output: Seq,
}

/// What a persistence engine found in the client's first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeEntry<'a> {
    /// The engine's name, of at most [`PE_NAME_LEN`](crate::netlink::PE_NAME_LEN) bytes.
    pub name: &'a [u8],
    /// What it found, of at most [`MAX_DATA`](crate::pe::MAX_DATA) bytes.
    pub data: &'a [u8],
}

/// A connection or template in a datagram, with addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a, A> {
    /// The number of the transport protocol.
    pub protocol: u8,
    /// The client's address.
    pub caddr: A,
    /// The virtual address.
    pub vaddr: A,
    /// The server's address.
    pub daddr: A,
    /// The client's port.
    pub cport: Be16,
    /// The virtual port.
    pub vport: Be16,
    /// The server's port.
    pub dport: Be16,
    /// The flags (C: `IP_VS_CONN_F_*`).
    pub flags: u32,
    /// The state: a number that the protocol defines, or [`TEMPLATE_ASSURED`].
    pub state: u16,
    /// The firewall mark of the service. 0 in version 0.
    pub fwmark: u32,
    /// The timeout in seconds. 0 in version 0.
    pub timeout: u32,
    /// The changes of sequence numbers.
    pub seqs: Option<Seqs>,
    /// What a persistence engine found. None in version 0.
    pub pe: Option<PeEntry<'a>>,
}

impl<A> Entry<'_, A> {
    /// Returns whether it is of a persistence template.
    #[inline]
    pub const fn is_template(&self) -> bool {
        self.flags & CONN_F_TEMPLATE != 0
    }
}

/// Returns whether addresses of type `A` are those of IPv6.
#[inline]
fn is_ipv6<A: Address>() -> bool {
    A::of(Be128::ZERO.into()).is_some()
}
