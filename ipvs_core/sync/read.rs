// SPDX-License-Identifier: GPL-2.0

//! Reads datagrams. Entries up to one that is wrong count, as in the C module.

use super::{
    Entry,
    PeEntry,
    Seq,
    Seqs,
    Version,
    ADDRS_AT_V1,
    BACKUP_MASK,
    ENTRY_LEN_V0,
    ENTRY_LEN_V1_IPV4,
    ENTRY_LEN_V1_IPV6,
    OPTION_MAY_BE_IGNORED,
    OPTION_PE_DATA,
    OPTION_PE_NAME,
    OPTION_SEQ,
    SEQS_LEN,
    SEQ_MASK,
    SIZE_MASK,
    TEMPLATE_ASSURED,
    TYPE_IPV6, //
};
use crate::{
    ipv4::{
        PROTO_SCTP,
        PROTO_TCP,
        PROTO_UDP, //
    },
    net::{
        Be128,
        Be16,
        Be32, //
    },
    netlink::{
        CONN_F_NO_CPORT,
        CONN_F_ONE_PACKET,
        CONN_F_SYNC,
        CONN_F_TEMPLATE,
        PE_NAME_LEN, //
    },
    sctp,
    tcp,
    text::ProtocolName, //
};
use core::fmt;

/// `IPPROTO_ESP`.
const PROTO_ESP: u8 = 50;
/// `IPPROTO_AH`.
const PROTO_AH: u8 = 51;

/// What is wrong with a datagram or with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The datagram is shorter than a header.
    NoHeader,
    /// The header names another length than that of the datagram.
    Length,
    /// The datagram is from a director with another sync id, which this is.
    SyncId(u8),
    /// The datagram ends within an entry.
    Truncated,
    /// The entry has a version that is not known.
    EntryVersion(u8),
    /// The entry has a type that is not known.
    EntryType(u8),
    /// The entry has a length that is too small for its type.
    EntryLength,
    /// An option is empty, or the entry ends within it.
    OptionTruncated,
    /// The option of this type has a length that is not possible.
    OptionLength(u8),
    /// The option of this type is there twice.
    OptionTwice(u8),
    /// The option of this type is not known and must not be ignored.
    OptionUnknown(u8),
    /// The flags contradict each other, or are those of connections that are never sent.
    Flags(u32),
    /// There is no such protocol.
    Protocol(u8),
    /// The protocol has no such state.
    State(u8, u16),
    /// Templates have no such state.
    TemplateState(u16),
    /// There is data of a persistence engine, without its name.
    NoEngine,
}

impl Fault {
    /// Returns whether nothing more of the datagram is looked at. Otherwise its other entries count.
    pub const fn ends_datagram(self) -> bool {
        match self {
            Self::NoHeader
            | Self::Length
            | Self::SyncId(_)
            | Self::Truncated
            | Self::EntryVersion(_)
            | Self::EntryType(_)
            | Self::EntryLength
            | Self::OptionTruncated
            | Self::OptionLength(_)
            | Self::OptionTwice(_) => true,
            Self::OptionUnknown(_)
            | Self::Flags(_)
            | Self::Protocol(_)
            | Self::State(..)
            | Self::TemplateState(_)
            | Self::NoEngine => false,
        }
    }

    /// Returns whether the C module says nothing about it in the log, unless it is built for
    /// debugging.
    pub const fn is_silent_in_c(self) -> bool {
        match self {
            Self::NoHeader | Self::Length | Self::SyncId(_) => true,
            Self::NoEngine => false,
            _ => !self.ends_datagram(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoHeader => write!(f, "it is too short for a header"),
            Self::Length => write!(f, "its length is not the one in its header"),
            Self::SyncId(syncid) => write!(f, "it has sync id {syncid}"),
            Self::Truncated => write!(f, "it ends within an entry"),
            Self::EntryVersion(version) => write!(f, "entry of unknown version {version}"),
            Self::EntryType(kind) => write!(f, "entry of unknown type {kind}"),
            Self::EntryLength => write!(f, "entry too short for its type"),
            Self::OptionTruncated => write!(f, "entry with an incomplete option"),
            Self::OptionLength(kind) => write!(f, "option {kind} of a wrong length"),
            Self::OptionTwice(kind) => write!(f, "option {kind} twice in an entry"),
            Self::OptionUnknown(kind) => write!(f, "entry with unknown option {kind}"),
            Self::Flags(flags) => write!(f, "entry with unusable flags {flags:#x}"),
            Self::Protocol(number) => write!(f, "entry of unknown protocol {number}"),
            Self::State(protocol, state) => {
                let protocol = ProtocolName(protocol.into());
                write!(f, "entry of {protocol} with unknown state {state}")
            }
            Self::TemplateState(state) => write!(f, "template with unknown state {state}"),
            Self::NoEngine => write!(f, "persistence data without the name of an engine"),
        }
    }
}

/// An entry that was read.
///
/// Its flags are those of [`BACKUP_MASK`], and `CONN_F_SYNC`. Unless it is of a template, its state
/// is one of its protocol. An engine's name ends before its first NUL, and may be unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// Of IPv4.
    V4(Entry<'a, Be32>),
    /// Of IPv6.
    V6(Entry<'a, Be128>),
}

/// A datagram whose header is right.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    version: Version,
    syncid: u8,
    count: u8,
    body: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads the header of a datagram, which `bytes` is all of. `syncid` is the sync id of the
    /// directors that are listened to; 0 for all.
    ///
    /// # Errors
    ///
    /// The [`Fault`] of the header: nothing of the datagram counts.
    pub fn parse(bytes: &'a [u8], syncid: u8) -> Result<Self, Fault> {
        let (head, rest) = bytes.split_first_chunk::<4>().ok_or(Fault::NoHeader)?;
        let &[count, id, high, low] = head;
        if bytes.len() != usize::from(u16::from_be_bytes([high, low])) {
            return Err(Fault::Length);
        }
        if syncid != 0 && id != syncid {
            return Err(Fault::SyncId(id));
        }
        // C looks at the last four bytes of version 1's header without a check of the length: it finds
        // what an earlier datagram has left there, and no entry.
        let (version, count, body) = match (count, rest.split_first_chunk::<4>()) {
            (0, Some((&[count, 1, 0, 0], body))) => (Version::V1, count, body),
            _ => (Version::V0, count, rest),
        };
        Ok(Self {
            version,
            syncid: id,
            count,
            body,
        })
    }

    /// Returns the version.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Returns the sync id of the director that has sent it.
    pub const fn syncid(&self) -> u8 {
        self.syncid
    }

    /// Returns the entries.
    pub const fn entries(&self) -> Entries<'a> {
        Entries {
            version: self.version,
            left: self.count,
            rest: self.body,
        }
    }

    /// Returns what follows the last entry of version 1 and its padding, which the C module does not
    /// look at. Empty in version 0, and if an entry is wrong so that nothing behind it is looked at.
    pub fn trailer(&self) -> &'a [u8] {
        let mut entries = self.entries();
        while entries.next().is_some() {}
        match self.version {
            Version::V0 => &[],
            Version::V1 => entries.rest,
        }
    }
}

/// The entries of a datagram. Ends after a [`Fault`] that ends the datagram.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    version: Version,
    left: u8,
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Received<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let entry = match self.version {
            Version::V0 => self.next_v0(),
            Version::V1 => self.next_v1(),
        };
        if entry.is_err_and(Fault::ends_datagram) {
            self.left = 0;
            self.rest = &[];
        }
        Some(entry)
    }
}

impl<'a> Entries<'a> {
    fn next_v0(&mut self) -> Result<Received<'a>, Fault> {
        let (entry, rest) = self
            .rest
            .split_first_chunk::<ENTRY_LEN_V0>()
            .ok_or(Fault::Truncated)?;
        self.rest = rest;
        let mut fields = Fields(entry);
        let [_, protocol] = fields.take();
        let ports = fields.ports();
        let addrs = [(); 3].map(|()| Be32::from_bytes(fields.take()));
        let head = Head {
            protocol,
            ports,
            flags: u16::from_be_bytes(fields.take()).into(),
            state: u16::from_be_bytes(fields.take()),
            fwmark: 0,
            timeout: 0,
        };
        let mut options = Options::default();
        if head.flags & SEQ_MASK != 0 {
            let (seqs, rest) = rest
                .split_first_chunk::<SEQS_LEN>()
                .ok_or(Fault::Truncated)?;
            self.rest = rest;
            options.seqs = Some(Fields(seqs).seqs(u32::from_ne_bytes));
        }
        Ok(Received::V4(head.entry(addrs, &options)?))
    }

    fn next_v1(&mut self) -> Result<Received<'a>, Fault> {
        let start = self
            .rest
            .first_chunk::<ENTRY_LEN_V1_IPV4>()
            .ok_or(Fault::Truncated)?;
        let mut fields = Fields(start);
        let [kind, protocol] = fields.take();
        let version_and_size = u16::from_be_bytes(fields.take());
        let size = usize::from(version_and_size & SIZE_MASK);
        let entry = self.rest.get(..size).ok_or(Fault::Truncated)?;
        let version = version_and_size >> SIZE_MASK.count_ones();
        if version != 0 {
            return Err(Fault::EntryVersion(version as u8));
        }
        let padded = size.wrapping_add(3) & !3;
        self.rest = self.rest.get(padded..).unwrap_or_default();

        // The other bits of the type of an IPv6 entry are ignored.
        let is_ipv6 = kind & TYPE_IPV6 != 0;
        if !is_ipv6 && kind != 0 {
            return Err(Fault::EntryType(kind));
        }
        let flags = u32::from_be_bytes(fields.take());
        let state = u16::from_be_bytes(fields.take());
        let head = Head {
            protocol,
            flags,
            state,
            ports: fields.ports(),
            fwmark: u32::from_be_bytes(fields.take()),
            timeout: u32::from_be_bytes(fields.take()),
        };
        if is_ipv6 {
            let (entry, options) = entry
                .split_first_chunk::<ENTRY_LEN_V1_IPV6>()
                .ok_or(Fault::EntryLength)?;
            let mut fields = Fields(entry.get(ADDRS_AT_V1..).unwrap_or_default());
            let addrs = [(); 3].map(|()| Be128::from_bytes(fields.take()));
            Ok(Received::V6(head.entry(addrs, &Options::parse(options)?)?))
        } else {
            let options = entry.get(ENTRY_LEN_V1_IPV4..).ok_or(Fault::EntryLength)?;
            let addrs = [(); 3].map(|()| Be32::from_bytes(fields.take()));
            Ok(Received::V4(head.entry(addrs, &Options::parse(options)?)?))
        }
    }
}

/// The fields of an entry, which are taken one after the other. Behind their end there are zeros.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((field, rest)) = self.0.split_first_chunk() else {
            return [0; N];
        };
        self.0 = rest;
        *field
    }

    /// Takes the ports of the client, the service and the server.
    fn ports(&mut self) -> [Be16; 3] {
        [(); 3].map(|()| Be16::from_bytes(self.take()))
    }

    /// Takes the changes of sequence numbers, in the byte order of `number`.
    fn seqs(&mut self, number: impl Fn([u8; 4]) -> u32) -> Seqs {
        let [input, output] = [(); 2].map(|()| Seq {
            init_seq: number(self.take()),
            delta: number(self.take()),
            previous_delta: number(self.take()),
        });
        Seqs { input, output }
    }
}

/// The options of an entry. Data and name are empty if there are none.
#[derive(Clone, Copy, Default)]
struct Options<'a> {
    seqs: Option<Seqs>,
    pe_data: &'a [u8],
    pe_name: &'a [u8],
}

impl<'a> Options<'a> {
    /// Reads the options of version 1, up to the first one that is wrong.
    fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut options = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (&[kind, len], after) = rest.split_first_chunk().ok_or(Fault::OptionTruncated)?;
            if len == 0 {
                return Err(Fault::OptionTruncated);
            }
            let (content, after) = after
                .split_at_checked(len.into())
                .ok_or(Fault::OptionTruncated)?;
            rest = after;
            // Whether it may be ignored does not matter for an option that is known.
            let is_new = match kind & !OPTION_MAY_BE_IGNORED {
                OPTION_SEQ => {
                    let seqs: &[u8; SEQS_LEN] = content
                        .try_into()
                        .map_err(|_| Fault::OptionLength(OPTION_SEQ))?;
                    let seqs = Fields(seqs).seqs(u32::from_be_bytes);
                    options.seqs.replace(seqs).is_none()
                }
                OPTION_PE_DATA => core::mem::replace(&mut options.pe_data, content).is_empty(),
                OPTION_PE_NAME if content.len() > PE_NAME_LEN => {
                    return Err(Fault::OptionLength(OPTION_PE_NAME));
                }
                OPTION_PE_NAME => core::mem::replace(&mut options.pe_name, content).is_empty(),
                _ if kind & OPTION_MAY_BE_IGNORED != 0 => true,
                unknown => return Err(Fault::OptionUnknown(unknown)),
            };
            if !is_new {
                return Err(Fault::OptionTwice(kind & !OPTION_MAY_BE_IGNORED));
            }
        }
        Ok(options)
    }

    /// Returns what a persistence engine found. A name alone means nothing.
    fn pe(&self) -> Result<Option<PeEntry<'a>>, Fault> {
        if self.pe_data.is_empty() {
            return Ok(None);
        }
        if self.pe_name.is_empty() {
            return Err(Fault::NoEngine);
        }
        Ok(Some(PeEntry {
            name: self.pe_name.split(|&byte| byte == 0).next().unwrap_or(&[]),
            data: self.pe_data,
        }))
    }
}

/// The fields that entries have in both versions and families.
struct Head {
    protocol: u8,
    flags: u32,
    state: u16,
    ports: [Be16; 3],
    fwmark: u32,
    timeout: u32,
}

impl Head {
    /// Checks the flags and the state. Returns the flags that count (C:
    /// `ip_vs_sync_validate_flags()` and what follows it).
    fn check(&self) -> Result<u32, Fault> {
        const ANY_PORT_TEMPLATE: u32 = CONN_F_NO_CPORT | CONN_F_TEMPLATE;
        let Self {
            protocol,
            flags,
            state,
            ..
        } = *self;
        if flags & ANY_PORT_TEMPLATE == ANY_PORT_TEMPLATE || flags & CONN_F_ONE_PACKET != 0 {
            return Err(Fault::Flags(flags));
        }
        if flags & CONN_F_TEMPLATE != 0 {
            if state > TEMPLATE_ASSURED {
                return Err(Fault::TemplateState(state));
            }
        } else if usize::from(state) >= states(protocol).ok_or(Fault::Protocol(protocol))? {
            return Err(Fault::State(protocol, state));
        }
        Ok(flags & BACKUP_MASK | CONN_F_SYNC)
    }

    /// Checks the fields and returns an entry of them.
    fn entry<'a, A>(&self, addrs: [A; 3], options: &Options<'a>) -> Result<Entry<'a, A>, Fault> {
        let flags = self.check()?;
        let [caddr, vaddr, daddr] = addrs;
        let [cport, vport, dport] = self.ports;
        Ok(Entry {
            protocol: self.protocol,
            caddr,
            vaddr,
            daddr,
            cport,
            vport,
            dport,
            flags,
            state: self.state,
            fwmark: self.fwmark,
            timeout: self.timeout,
            seqs: options.seqs,
            pe: options.pe()?,
        })
    }
}

/// Returns the number of states of a protocol that the C module knows (C: `pp->num_states`).
const fn states(protocol: u8) -> Option<usize> {
    match protocol {
        PROTO_TCP => Some(tcp::STATES),
        PROTO_UDP | PROTO_AH | PROTO_ESP => Some(1),
        PROTO_SCTP => Some(sctp::STATES),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
