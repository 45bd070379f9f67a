// SPDX-License-Identifier: GPL-2.0

//! Builds netlink answers (C: the `ip_vs_genl_fill_*()` functions). Answers equal those of C byte
//! for byte, including the order of attributes.

use super::{
    consts::*,
    service::ServiceId,
    Addr, //
};
use crate::{
    net::{
        Be16,
        Be32, //
    },
    stats::Stats,
};

/// The error that a message has no room for another attribute (C: `-EMSGSIZE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// The position of a nest in a message. The number is private to the sink that returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NestMark(pub usize);

/// A message to which attributes are appended, such as an skb.
pub trait AttrSink {
    /// Appends an attribute of type `attr`, padded to 4 bytes. 64-bit numbers have no greater
    /// alignment, as on machines with efficient unaligned access.
    ///
    /// # Errors
    ///
    /// Fails if the message has no room, and leaves it unchanged.
    fn put(&mut self, attr: u16, payload: &[u8]) -> Result<(), NoRoom>;

    /// Begins a nest of type `attr`, without `NLA_F_NESTED` (C: `nla_nest_start_noflag()`).
    fn nest_start(&mut self, attr: u16) -> Result<NestMark, NoRoom>;

    /// Ends the nest. All attributes that were appended since its start belong to it.
    fn nest_end(&mut self, mark: NestMark);

    /// Removes the nest and all attributes that were appended since its start.
    fn nest_cancel(&mut self, mark: NestMark);

    /// Appends an 8-bit number.
    fn put_u8(&mut self, attr: u16, value: u8) -> Result<(), NoRoom> {
        self.put(attr, &[value])
    }

    /// Appends a 16-bit number in host byte order.
    fn put_u16(&mut self, attr: u16, value: u16) -> Result<(), NoRoom> {
        self.put(attr, &value.to_ne_bytes())
    }

    /// Appends a 32-bit number in host byte order.
    fn put_u32(&mut self, attr: u16, value: u32) -> Result<(), NoRoom> {
        self.put(attr, &value.to_ne_bytes())
    }

    /// Appends a 64-bit number in host byte order.
    fn put_u64(&mut self, attr: u16, value: u64) -> Result<(), NoRoom> {
        self.put(attr, &value.to_ne_bytes())
    }

    /// Appends a 16-bit number in network byte order.
    fn put_be16(&mut self, attr: u16, value: Be16) -> Result<(), NoRoom> {
        self.put(attr, &value.to_bytes())
    }

    /// Appends a 32-bit number in network byte order.
    fn put_be32(&mut self, attr: u16, value: Be32) -> Result<(), NoRoom> {
        self.put(attr, &value.to_bytes())
    }

    /// Appends a string with a terminating NUL, truncated to 16 bytes before the NUL.
    fn put_str(&mut self, attr: u16, text: &[u8]) -> Result<(), NoRoom> {
        let mut bytes = [0; NAME_SIZE];
        for (to, from) in bytes.iter_mut().zip(text.iter().take(NAME_SIZE - 1)) {
            *to = *from;
        }
        let len = text.len().saturating_add(1);
        self.put(attr, bytes.get(..len).unwrap_or(&bytes))
    }
}

/// The maximum length of a name in bytes, with its terminating NUL.
const NAME_SIZE: usize = 17;

/// Appends a nest with the attributes that `fill` appends. On failure, nothing is appended.
fn nest<K: AttrSink + ?Sized>(
    sink: &mut K,
    attr: u16,
    fill: impl FnOnce(&mut K) -> Result<(), NoRoom>,
) -> Result<(), NoRoom> {
    let mark = sink.nest_start(attr)?;
    let filled = fill(sink);
    match filled {
        Ok(()) => sink.nest_end(mark),
        Err(NoRoom) => sink.nest_cancel(mark),
    }
    filled
}

/// Appends statistics twice: in nest `attr32` with 32-bit counters and rates for old tools, and in
/// nest `attr64` with 64-bit ones.
pub fn put_stats<K: AttrSink + ?Sized>(
    sink: &mut K,
    attr32: u16,
    attr64: u16,
    stats: &Stats,
) -> Result<(), NoRoom> {
    let Stats { counters, rates } = stats;

    nest(sink, attr32, |sink| {
        // Truncated to 32 bits, as in C. Bytes always had 64 bits.
        sink.put_u32(IPVS_STATS_ATTR_CONNS, counters.conns as u32)?;
        sink.put_u32(IPVS_STATS_ATTR_INPKTS, counters.inpkts as u32)?;
        sink.put_u32(IPVS_STATS_ATTR_OUTPKTS, counters.outpkts as u32)?;
        sink.put_u64(IPVS_STATS_ATTR_INBYTES, counters.inbytes)?;
        sink.put_u64(IPVS_STATS_ATTR_OUTBYTES, counters.outbytes)?;
        sink.put_u32(IPVS_STATS_ATTR_CPS, rates.cps as u32)?;
        sink.put_u32(IPVS_STATS_ATTR_INPPS, rates.inpps as u32)?;
        sink.put_u32(IPVS_STATS_ATTR_OUTPPS, rates.outpps as u32)?;
        sink.put_u32(IPVS_STATS_ATTR_INBPS, rates.inbps as u32)?;
        sink.put_u32(IPVS_STATS_ATTR_OUTBPS, rates.outbps as u32)
    })?;
    nest(sink, attr64, |sink| {
        sink.put_u64(IPVS_STATS_ATTR_CONNS, counters.conns)?;
        sink.put_u64(IPVS_STATS_ATTR_INPKTS, counters.inpkts)?;
        sink.put_u64(IPVS_STATS_ATTR_OUTPKTS, counters.outpkts)?;
        sink.put_u64(IPVS_STATS_ATTR_INBYTES, counters.inbytes)?;
        sink.put_u64(IPVS_STATS_ATTR_OUTBYTES, counters.outbytes)?;
        sink.put_u64(IPVS_STATS_ATTR_CPS, rates.cps)?;
        sink.put_u64(IPVS_STATS_ATTR_INPPS, rates.inpps)?;
        sink.put_u64(IPVS_STATS_ATTR_OUTPPS, rates.outpps)?;
        sink.put_u64(IPVS_STATS_ATTR_INBPS, rates.inbps)?;
        sink.put_u64(IPVS_STATS_ATTR_OUTBPS, rates.outbps)
    })
}

/// The attributes of a service in an answer.
#[derive(Clone, Copy, Debug)]
pub struct ServiceDump<'a> {
    /// The service's identification.
    pub id: ServiceId,
    /// Name of the scheduler; "none" if there is none.
    pub sched_name: &'a [u8],
    /// Name of the persistence engine.
    pub pe_name: Option<&'a [u8]>,
    /// Flags.
    pub flags: u32,
    /// Persistence timeout in seconds.
    pub timeout: u32,
    /// Persistence netmask.
    pub netmask: Be32,
    /// Statistics.
    pub stats: Stats,
}

/// Appends a service.
pub fn put_service<K: AttrSink + ?Sized>(
    sink: &mut K,
    service: &ServiceDump<'_>,
) -> Result<(), NoRoom> {
    let id = &service.id;

    nest(sink, IPVS_CMD_ATTR_SERVICE, |sink| {
        sink.put_u16(IPVS_SVC_ATTR_AF, id.family)?;
        if id.fwmark != 0 {
            sink.put_u32(IPVS_SVC_ATTR_FWMARK, id.fwmark)?;
        } else {
            sink.put_u16(IPVS_SVC_ATTR_PROTOCOL, id.protocol)?;
            sink.put(IPVS_SVC_ATTR_ADDR, &id.addr)?;
            sink.put_be16(IPVS_SVC_ATTR_PORT, id.port)?;
        }
        sink.put_str(IPVS_SVC_ATTR_SCHED_NAME, service.sched_name)?;
        if let Some(name) = service.pe_name {
            sink.put_str(IPVS_SVC_ATTR_PE_NAME, name)?;
        }
        let [f0, f1, f2, f3] = service.flags.to_ne_bytes();
        sink.put(
            IPVS_SVC_ATTR_FLAGS,
            &[f0, f1, f2, f3, 0xff, 0xff, 0xff, 0xff],
        )?;
        sink.put_u32(IPVS_SVC_ATTR_TIMEOUT, service.timeout)?;
        sink.put_be32(IPVS_SVC_ATTR_NETMASK, service.netmask)?;
        put_stats(
            sink,
            IPVS_SVC_ATTR_STATS,
            IPVS_SVC_ATTR_STATS64,
            &service.stats,
        )
    })
}

/// The attributes of a server in an answer.
#[derive(Clone, Copy, Debug)]
pub struct DestDump {
    /// Address family.
    pub family: u16,
    /// Address.
    pub addr: Addr,
    /// Port.
    pub port: Be16,
    /// Forwarding method.
    pub fwd_method: u32,
    /// Weight.
    pub weight: i32,
    /// Tunnel type.
    pub tun_type: u8,
    /// Tunnel port.
    pub tun_port: Be16,
    /// Tunnel flags.
    pub tun_flags: u16,
    /// Upper threshold.
    pub upper: u32,
    /// Lower threshold as it was set.
    pub lower: u32,
    /// Active connections.
    pub active: u32,
    /// Inactive connections.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
    /// Statistics.
    pub stats: Stats,
}

/// Appends a server.
pub fn put_dest<K: AttrSink + ?Sized>(sink: &mut K, dest: &DestDump) -> Result<(), NoRoom> {
    nest(sink, IPVS_CMD_ATTR_DEST, |sink| {
        sink.put(IPVS_DEST_ATTR_ADDR, &dest.addr)?;
        sink.put_be16(IPVS_DEST_ATTR_PORT, dest.port)?;
        sink.put_u32(IPVS_DEST_ATTR_FWD_METHOD, dest.fwd_method & FWD_MASK)?;
        sink.put_u32(IPVS_DEST_ATTR_WEIGHT, dest.weight as u32)?;
        sink.put_u8(IPVS_DEST_ATTR_TUN_TYPE, dest.tun_type)?;
        sink.put_be16(IPVS_DEST_ATTR_TUN_PORT, dest.tun_port)?;
        sink.put_u16(IPVS_DEST_ATTR_TUN_FLAGS, dest.tun_flags)?;
        sink.put_u32(IPVS_DEST_ATTR_U_THRESH, dest.upper)?;
        sink.put_u32(IPVS_DEST_ATTR_L_THRESH, dest.lower)?;
        sink.put_u32(IPVS_DEST_ATTR_ACTIVE_CONNS, dest.active)?;
        sink.put_u32(IPVS_DEST_ATTR_INACT_CONNS, dest.inactive)?;
        sink.put_u32(IPVS_DEST_ATTR_PERSIST_CONNS, dest.persistent)?;
        sink.put_u16(IPVS_DEST_ATTR_ADDR_FAMILY, dest.family)?;
        put_stats(
            sink,
            IPVS_DEST_ATTR_STATS,
            IPVS_DEST_ATTR_STATS64,
            &dest.stats,
        )
    })
}

/// Appends the timeouts in seconds: of established TCP connections, of TCP connections after a FIN,
/// and of UDP connections.
pub fn put_config<K: AttrSink + ?Sized>(
    sink: &mut K,
    tcp: u32,
    tcp_fin: u32,
    udp: u32,
) -> Result<(), NoRoom> {
    sink.put_u32(IPVS_CMD_ATTR_TIMEOUT_TCP, tcp)?;
    sink.put_u32(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, tcp_fin)?;
    sink.put_u32(IPVS_CMD_ATTR_TIMEOUT_UDP, udp)
}

/// Appends the version and the size of the connection table.
pub fn put_info<K: AttrSink + ?Sized>(sink: &mut K, buckets: u32) -> Result<(), NoRoom> {
    sink.put_u32(IPVS_INFO_ATTR_VERSION, VERSION_CODE)?;
    sink.put_u32(IPVS_INFO_ATTR_CONN_TAB_SIZE, buckets)
}

/// A sync daemon to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaemonDump<'a> {
    /// Role: 1 master, 2 backup.
    pub state: u32,
    /// Multicast interface, without NUL.
    pub interface: &'a [u8],
    /// Sync id.
    pub sync_id: u32,
    /// Maximum UDP payload in bytes.
    pub max_len: u16,
    /// UDP port, in host byte order.
    pub port: u16,
    /// Multicast TTL.
    pub ttl: u8,
    /// The multicast group: an IPv4 address, or else an IPv6 address.
    pub group: Result<[u8; 4], [u8; 16]>,
}

/// Appends a sync daemon (C: `ip_vs_genl_fill_daemon()`).
pub fn put_daemon<K: AttrSink + ?Sized>(
    sink: &mut K,
    daemon: &DaemonDump<'_>,
) -> Result<(), NoRoom> {
    nest(sink, IPVS_CMD_ATTR_DAEMON, |sink| {
        sink.put_u32(IPVS_DAEMON_ATTR_STATE, daemon.state)?;
        sink.put_str(IPVS_DAEMON_ATTR_MCAST_IFN, daemon.interface)?;
        sink.put_u32(IPVS_DAEMON_ATTR_SYNC_ID, daemon.sync_id)?;
        sink.put_u16(IPVS_DAEMON_ATTR_SYNC_MAXLEN, daemon.max_len)?;
        sink.put_u16(IPVS_DAEMON_ATTR_MCAST_PORT, daemon.port)?;
        sink.put_u8(IPVS_DAEMON_ATTR_MCAST_TTL, daemon.ttl)?;
        match &daemon.group {
            Ok(group) => sink.put(IPVS_DAEMON_ATTR_MCAST_GROUP, group),
            Err(group) => sink.put(IPVS_DAEMON_ATTR_MCAST_GROUP6, group),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        netlink::{
            attr::{
                testing::attr,
                Attrs, //
            },
            dest,
            service, //
        },
        stats::{
            Counters,
            Rates, //
        },
    };

    /// A message with limited room.
    struct Message {
        bytes: Vec<u8>,
        room: usize,
    }

    impl AttrSink for Message {
        fn put(&mut self, kind: u16, payload: &[u8]) -> Result<(), NoRoom> {
            let attr = attr(kind, payload);
            if self.bytes.len() + attr.len() > self.room {
                return Err(NoRoom);
            }
            self.bytes.extend(attr);
            Ok(())
        }

        fn nest_start(&mut self, attr: u16) -> Result<NestMark, NoRoom> {
            let mark = NestMark(self.bytes.len());
            self.put(attr, &[])?;
            Ok(mark)
        }

        fn nest_end(&mut self, mark: NestMark) {
            let len = (self.bytes.len() - mark.0) as u16;
            self.bytes[mark.0..mark.0 + 2].copy_from_slice(&len.to_ne_bytes());
        }

        fn nest_cancel(&mut self, mark: NestMark) {
            self.bytes.truncate(mark.0);
        }
    }

    fn message(room: usize) -> Message {
        Message {
            bytes: Vec::new(),
            room,
        }
    }

    fn stats() -> Stats {
        Stats {
            counters: Counters {
                conns: 0x1_0000_0001,
                inpkts: 2,
                outpkts: 3,
                inbytes: 0x4_0000_0004,
                outbytes: 5,
            },
            rates: Rates {
                cps: 6,
                inpps: 7,
                outpps: 8,
                inbps: 0x9_0000_0009,
                outbps: 10,
            },
        }
    }

    fn a_service() -> ServiceDump<'static> {
        let mut addr = Addr::default();
        addr[..4].copy_from_slice(&[10, 0, 0, 1]);
        ServiceDump {
            id: ServiceId {
                family: AF_INET,
                protocol: 6,
                addr,
                port: Be16::new(80),
                fwmark: 0,
            },
            sched_name: b"wlc",
            pe_name: None,
            flags: IP_VS_SVC_F_PERSISTENT | IP_VS_SVC_F_HASHED,
            timeout: 300,
            netmask: Be32::new(0xffff_ff00),
            stats: stats(),
        }
    }

    fn a_dest() -> DestDump {
        DestDump {
            family: AF_INET,
            addr: Addr::default(),
            port: Be16::new(8080),
            fwd_method: FWD_DROUTE,
            weight: 7,
            tun_type: TUNNEL_GUE,
            tun_port: Be16::new(6080),
            tun_flags: 1,
            upper: 100,
            lower: 50,
            active: 1,
            inactive: 2,
            persistent: 3,
            stats: stats(),
        }
    }

    fn kinds(attrs: Attrs<'_>) -> Vec<(u16, usize)> {
        attrs.map(|attr| (attr.kind, attr.payload.len())).collect()
    }

    #[test]
    fn attributes_come_in_the_known_order_and_length() {
        let mut sink = message(1000);
        put_service(&mut sink, &a_service()).unwrap();
        let nest = Attrs::new(&sink.bytes, 0).next().unwrap();
        let expected = [
            (1, 2),
            (2, 2),
            (3, 16),
            (4, 2),
            (6, 4),
            (7, 8),
            (8, 4),
            (9, 4),
            (10, 88),
            (12, 120),
        ];
        assert_eq!(kinds(nest.nested()), expected);
        let stats32 = nest.nested().find(|attr| attr.kind == 10).unwrap();
        let expected = [4, 4, 4, 8, 8, 4, 4, 4, 4, 4];
        assert_eq!(
            kinds(stats32.nested()),
            (1..).zip(expected).collect::<Vec<_>>()
        );
        let stats64 = nest.nested().find(|attr| attr.kind == 12).unwrap();
        assert_eq!(
            kinds(stats64.nested()),
            (1..11).map(|kind| (kind, 8)).collect::<Vec<_>>()
        );

        let mut sink = message(1000);
        put_dest(&mut sink, &a_dest()).unwrap();
        let nest = Attrs::new(&sink.bytes, 0).next().unwrap();
        let order: Vec<u16> = nest.nested().map(|attr| attr.kind).collect();
        assert_eq!(order, [1, 2, 3, 4, 13, 14, 15, 5, 6, 7, 8, 9, 11, 10, 12]);
    }

    #[test]
    fn what_was_written_is_read_as_it_was() {
        let mut sink = message(1000);
        let shown = a_service();
        put_service(&mut sink, &shown).unwrap();
        let read = service::parse(Attrs::new(&sink.bytes, 0).next(), false).unwrap();
        assert_eq!(read.id, shown.id);
        assert_eq!(read.sched_name, b"wlc");
        assert_eq!((read.flags.value, read.flags.mask), (3, u32::MAX));
        assert_eq!((read.timeout, read.netmask), (300, shown.netmask));

        let mut sink = message(1000);
        let shown = a_dest();
        put_dest(&mut sink, &shown).unwrap();
        let read = dest::parse(Attrs::new(&sink.bytes, 0).next()).unwrap();
        assert_eq!((read.id.port, read.weight), (shown.port, 7));
        assert_eq!(
            (read.tun_type, read.tun_port, read.tun_flags),
            (1, shown.tun_port, 1)
        );
        assert_eq!(
            (read.fwd_method, read.upper, read.lower),
            (FWD_DROUTE, 100, 50)
        );
    }

    #[test]
    fn a_mark_is_shown_instead_of_an_address() {
        let mut sink = message(1000);
        let mut shown = a_service();
        shown.id.fwmark = 5;
        shown.pe_name = Some(b"sip");
        put_service(&mut sink, &shown).unwrap();
        let nest = Attrs::new(&sink.bytes, 0).next().unwrap();
        let order: Vec<u16> = nest.nested().map(|attr| attr.kind).collect();
        assert_eq!(order, [1, 5, 6, 11, 7, 8, 9, 10, 12]);
    }

    #[test]
    fn counters_above_32_bits_are_whole_in_one_nest_only() {
        let mut sink = message(1000);
        put_stats(&mut sink, 1, 2, &stats()).unwrap();
        let [narrow, wide] = [0, 1].map(|n| Attrs::new(&sink.bytes, 0).nth(n).unwrap());
        let conns = narrow.nested().next().unwrap();
        assert_eq!(conns.u32(), 1);
        let conns = wide.nested().next().unwrap();
        assert_eq!(conns.payload, 0x1_0000_0001u64.to_ne_bytes());
    }

    #[test]
    fn nothing_is_left_of_what_has_no_room() {
        let mut whole = message(1000);
        put_service(&mut whole, &a_service()).unwrap();
        for room in 0..whole.bytes.len() {
            let mut sink = message(room);
            assert_eq!(put_service(&mut sink, &a_service()), Err(NoRoom));
            assert!(sink.bytes.is_empty());
        }
        assert!(put_service(&mut message(whole.bytes.len()), &a_service()).is_ok());
    }

    #[test]
    fn strings_end_with_a_nul_however_long_they_are() {
        let mut sink = message(1000);
        sink.put_str(1, b"").unwrap();
        sink.put_str(2, b"0123456789abcdef").unwrap();
        sink.put_str(3, b"0123456789abcdefghij").unwrap();
        let payloads: Vec<_> = Attrs::new(&sink.bytes, 0)
            .map(|attr| attr.payload)
            .collect();
        assert_eq!(
            payloads,
            [&b"\0"[..], b"0123456789abcdef\0", b"0123456789abcdef\0"]
        );
    }

    #[test]
    fn config_and_info_are_plain_numbers() {
        let mut sink = message(1000);
        put_config(&mut sink, 900, 120, 300).unwrap();
        put_info(&mut sink, 4096).unwrap();
        let numbers: Vec<_> = Attrs::new(&sink.bytes, 0)
            .map(|attr| (attr.kind, attr.u32()))
            .collect();
        assert_eq!(
            numbers,
            [(4, 900), (5, 120), (6, 300), (1, 0x010201), (2, 4096)]
        );
    }
}
