// SPDX-License-Identifier: GPL-2.0

//! The socket options, the older one of the two control interfaces: their numbers, and the layout
//! of their arguments and answers. They support IPv4 only.
//!
//! C: the structures of `include/uapi/linux/ip_vs.h`, including their padding. Numbers are in host
//! byte order, except addresses, netmasks and ports. The module's `ctl/sockopt.rs` carries them
//! out.

mod dest;
mod service;
mod text;

pub use dest::{
    dest_entry,
    Dest,
    DEST_ENTRY_LEN, //
};
pub use service::{
    parse_id,
    service_entry,
    Service,
    ID_LEN,
    SERVICE_ENTRY_LEN,
    SERVICE_LEN, //
};
pub use text::{
    version,
    VERSION_LEN, //
};

use crate::{
    bytes::put,
    netlink::{
        timeout::TimeoutConfig,
        VERSION_CODE, //
    },
    stats::Stats, //
};

/// The number of the first option (C: `IP_VS_BASE_CTL`).
const BASE: i32 = 64 + 1024 + 64;

/// Options for `setsockopt()` (C: `IP_VS_SO_SET_*`). Numbers in between are not used.
pub mod set {
    use super::BASE;

    /// The range of option numbers.
    pub const ALL: core::ops::Range<i32> = BASE..ZERO + 1;
    /// Adds a service.
    pub const ADD: i32 = BASE + 2;
    /// Changes a service.
    pub const EDIT: i32 = BASE + 3;
    /// Removes a service.
    pub const DEL: i32 = BASE + 4;
    /// Removes all services.
    pub const FLUSH: i32 = BASE + 5;
    /// Adds a server.
    pub const ADDDEST: i32 = BASE + 7;
    /// Removes a server.
    pub const DELDEST: i32 = BASE + 8;
    /// Changes a server.
    pub const EDITDEST: i32 = BASE + 9;
    /// Sets timeouts.
    pub const TIMEOUT: i32 = BASE + 10;
    /// Starts a sync daemon.
    pub const STARTDAEMON: i32 = BASE + 11;
    /// Stops a sync daemon.
    pub const STOPDAEMON: i32 = BASE + 12;
    /// Zeroes statistics.
    pub const ZERO: i32 = BASE + 15;
}

/// Options for `getsockopt()` (C: `IP_VS_SO_GET_*`).
pub mod get {
    use super::BASE;

    /// The range of option numbers.
    pub const ALL: core::ops::Range<i32> = BASE..DAEMON + 1;
    /// Returns the version as text.
    pub const VERSION: i32 = BASE;
    /// Returns the version, the size of the connection table and the number of services.
    pub const INFO: i32 = BASE + 1;
    /// Returns the services.
    pub const SERVICES: i32 = BASE + 2;
    /// Returns one service.
    pub const SERVICE: i32 = BASE + 3;
    /// Returns the servers of a service.
    pub const DESTS: i32 = BASE + 4;
    /// Returns the timeouts.
    pub const TIMEOUT: i32 = BASE + 6;
    /// Returns the sync daemons.
    pub const DAEMON: i32 = BASE + 7;
}

/// The length in bytes of the answer to [`get::INFO`] (C: `struct ip_vs_getinfo`).
pub const INFO_LEN: usize = 12;
/// The length in bytes of timeouts (C: `struct ip_vs_timeout_user`).
pub const TIMEOUT_LEN: usize = 12;
/// The length in bytes of a sync daemon (C: `struct ip_vs_daemon_user`).
pub const DAEMON_LEN: usize = 24;
/// The length in bytes of the header of [`get::SERVICES`], which entries follow (C:
/// `struct ip_vs_get_services`).
pub const SERVICES_LEN: usize = 8;
/// The length in bytes of the header of [`get::DESTS`], which entries follow (C:
/// `struct ip_vs_get_dests`).
pub const DESTS_LEN: usize = 24;

/// Reads the 32-bit number at byte `at`. 0 if it is out of bounds.
#[inline(always)]
fn number(data: &[u8], at: usize) -> u32 {
    data.get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

/// Returns the number of entries that the caller of [`get::SERVICES`] has room for.
pub fn services_wanted(head: &[u8; SERVICES_LEN]) -> u32 {
    number(head, 0)
}

/// Returns the number of entries that the caller of [`get::DESTS`] has room for.
pub fn dests_wanted(head: &[u8; DESTS_LEN]) -> u32 {
    number(head, 16)
}

/// Returns the length in bytes of an answer with a header of `head` bytes and `wanted` entries of
/// `entry` bytes; [`usize::MAX`] if it overflows (C: `struct_size()`).
pub fn answer_len(head: usize, wanted: u32, entry: usize) -> usize {
    (wanted as usize).saturating_mul(entry).saturating_add(head)
}

/// Builds the answer to [`get::INFO`]. `buckets` is the size of the connection table.
pub fn info(buckets: u32, services: u32) -> [u8; INFO_LEN] {
    let mut info = [0; INFO_LEN];
    put(&mut info, 0, VERSION_CODE.to_ne_bytes());
    put(&mut info, 4, buckets.to_ne_bytes());
    put(&mut info, 8, services.to_ne_bytes());
    info
}

/// Parses timeouts in seconds; 0 leaves a timeout unchanged. `hz` is the number of clock ticks per
/// second. `None` if a timeout is negative or does not fit into an `int` as clock ticks: then none
/// must be changed.
pub fn parse_timeouts(bytes: &[u8; TIMEOUT_LEN], hz: u32) -> Option<TimeoutConfig> {
    let max = i32::MAX.unsigned_abs().checked_div(hz)?;
    let read = |at| match number(bytes, at) {
        0 => Some(None),
        secs if secs <= max => Some(Some(secs)),
        _ => None,
    };
    Some(TimeoutConfig {
        tcp: read(0)?,
        tcp_fin: read(4)?,
        udp: read(8)?,
    })
}

/// Builds the answer to [`get::TIMEOUT`].
pub fn timeouts(shown: &TimeoutConfig) -> [u8; TIMEOUT_LEN] {
    let mut bytes = [0; TIMEOUT_LEN];
    for (place, secs) in [(0, shown.tcp), (4, shown.tcp_fin), (8, shown.udp)] {
        put(&mut bytes, place, secs.unwrap_or(0).to_ne_bytes());
    }
    bytes
}

/// A sync daemon, as socket options have it (C: `struct ip_vs_daemon_user`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Daemon<'a> {
    /// Master or backup (C: `IP_VS_STATE_*`).
    pub state: u32,
    /// The name of the interface, without NUL; `None` if it is empty or does not end. To stop a daemon, it
    /// is not needed.
    pub interface: Option<&'a [u8]>,
    /// The number that datagrams carry.
    pub sync_id: u32,
}

/// Where the name of the interface is, and its end.
const DAEMON_NAME: core::ops::Range<usize> = 4..20;

/// Parses which daemon is to be started or stopped.
pub fn parse_daemon(bytes: &[u8; DAEMON_LEN]) -> Daemon<'_> {
    let name = bytes.get(DAEMON_NAME).unwrap_or(&[]);
    let end = name.iter().position(|&byte| byte == 0);
    Daemon {
        state: number(bytes, 0),
        interface: end
            .and_then(|end| name.get(..end))
            .filter(|name| !name.is_empty()),
        sync_id: number(bytes, DAEMON_NAME.end),
    }
}

/// Builds the part of the answer to [`get::DAEMON`] for a daemon that runs.
pub fn daemon_entry(daemon: &Daemon<'_>) -> [u8; DAEMON_LEN] {
    let mut bytes = [0; DAEMON_LEN];
    put(&mut bytes, 0, daemon.state.to_ne_bytes());
    put(&mut bytes, DAEMON_NAME.end, daemon.sync_id.to_ne_bytes());
    let name = daemon.interface.unwrap_or(&[]);
    let room = bytes.get_mut(DAEMON_NAME).unwrap_or(&mut []);
    // The last byte stays 0.
    let room = room.split_last_mut().map_or(&mut [][..], |(_, room)| room);
    for (to, from) in room.iter_mut().zip(name) {
        *to = *from;
    }
    bytes
}

/// Writes statistics at byte `at`, truncated to 32 bits where the structure has 32-bit members (C:
/// `struct ip_vs_stats_user`).
fn put_stats(data: &mut [u8], at: usize, stats: &Stats) {
    let Some(data) = data.get_mut(at..) else {
        return;
    };
    let Stats { counters, rates } = stats;
    let words = [
        (0, counters.conns),
        (4, counters.inpkts),
        (8, counters.outpkts),
        (32, rates.cps),
        (36, rates.inpps),
        (40, rates.outpps),
        (44, rates.inbps),
        (48, rates.outbps),
    ];
    for (place, count) in words {
        put(data, place, (count as u32).to_ne_bytes());
    }
    put(data, 16, counters.inbytes.to_ne_bytes());
    put(data, 24, counters.outbytes.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_the_numbers_of_the_c_module() {
        assert_eq!(set::ALL, 1152..1168);
        let set = [
            (set::ADD, 1154),
            (set::EDIT, 1155),
            (set::DEL, 1156),
            (set::FLUSH, 1157),
            (set::ADDDEST, 1159),
            (set::DELDEST, 1160),
            (set::EDITDEST, 1161),
            (set::TIMEOUT, 1162),
            (set::STARTDAEMON, 1163),
            (set::STOPDAEMON, 1164),
            (set::ZERO, 1167),
        ];
        assert_eq!(get::ALL, 1152..1160);
        let get = [
            (get::VERSION, 1152),
            (get::INFO, 1153),
            (get::SERVICES, 1154),
            (get::SERVICE, 1155),
            (get::DESTS, 1156),
            (get::TIMEOUT, 1158),
            (get::DAEMON, 1159),
        ];
        for (option, number) in set.into_iter().chain(get) {
            assert_eq!(option, number);
        }
    }

    #[test]
    fn the_head_says_how_many_entries_there_is_room_for() {
        let mut services = [0xff; SERVICES_LEN];
        put(&mut services, 0, 0x1234_5678u32.to_ne_bytes());
        assert_eq!(services_wanted(&services), 0x1234_5678);
        let mut dests = [0xff; DESTS_LEN];
        put(&mut dests, 16, 0x1234_5678u32.to_ne_bytes());
        assert_eq!(dests_wanted(&dests), 0x1234_5678);
    }

    #[test]
    fn there_has_to_be_room_for_each_entry() {
        assert_eq!(answer_len(SERVICES_LEN, 0, SERVICE_ENTRY_LEN), 8);
        assert_eq!(answer_len(SERVICES_LEN, 2, SERVICE_ENTRY_LEN), 8 + 2 * 104);
        assert_eq!(answer_len(SERVICES_LEN, u32::MAX, usize::MAX), usize::MAX);
    }

    #[test]
    fn timeouts_are_all_right_or_none_is_taken() {
        let bytes = |values: [i32; 3]| {
            let mut bytes = [0; TIMEOUT_LEN];
            for (place, value) in values.into_iter().enumerate() {
                put(&mut bytes, place * 4, value.to_ne_bytes());
            }
            bytes
        };
        let read = parse_timeouts(&bytes([900, 0, 300]), 250).unwrap();
        assert_eq!(
            (read.tcp, read.tcp_fin, read.udp),
            (Some(900), None, Some(300))
        );
        assert_eq!(timeouts(&read), bytes([900, 0, 300]));
        let max = i32::MAX / 250;
        for bad in [-1, i32::MIN, i32::MAX, max + 1] {
            for place in 0..3 {
                let mut values = [max; 3];
                assert!(parse_timeouts(&bytes(values), 250).is_some());
                values[place] = bad;
                assert_eq!(parse_timeouts(&bytes(values), 250), None);
            }
        }
    }

    #[test]
    fn a_daemon_needs_a_name_that_ends() {
        let mut bytes = [0; DAEMON_LEN];
        put(&mut bytes, 0, 2u32.to_ne_bytes());
        put(&mut bytes, 20, 7u32.to_ne_bytes());
        let unnamed = Daemon {
            state: 2,
            interface: None,
            sync_id: 7,
        };
        assert_eq!(parse_daemon(&bytes), unnamed);
        put(&mut bytes, 4, *b"lo");
        let named = Daemon {
            interface: Some(b"lo"),
            ..unnamed
        };
        assert_eq!(parse_daemon(&bytes), named);
        assert_eq!(daemon_entry(&named), bytes);
        put(&mut bytes, 4, [b'x'; 16]);
        assert_eq!(parse_daemon(&bytes), unnamed);
        let long = Daemon {
            interface: Some(&[b'x'; 20]),
            ..unnamed
        };
        bytes[19] = 0;
        assert_eq!(daemon_entry(&long), bytes);
    }

    #[test]
    fn info_has_three_numbers() {
        let mut want = [0; INFO_LEN];
        put(&mut want, 0, 0x0001_0201u32.to_ne_bytes());
        put(&mut want, 4, 4096u32.to_ne_bytes());
        put(&mut want, 8, 3u32.to_ne_bytes());
        assert_eq!(info(4096, 3), want);
    }
}
