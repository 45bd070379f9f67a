// SPDX-License-Identifier: GPL-2.0

//! Instantiates all generic and inlined code of `ipvs_core`, so that it can be searched for calls
//! into `core::panicking`. Compiled by `check.sh`, never run.

use core::cell::Cell;
use ipvs_core::{
    checksum::{
        checksum,
        udp_nonzero, //
    },
    est::Estimator,
    flow::{
        hash_endpoint,
        Flow4,
        Flow6,
        HashKey,
        ServiceKey, //
    },
    forward::Outer,
    ftp,
    icmp::{
        IcmpHeader, //
        InnerHeader,
    },
    ipv4::{
        self,
        Ipv4Header,
        ParseError, //
    },
    ipv6::{
        self,
        Ipv6Header,
        PacketBytes, //
    },
    net::{
        Addr,
        Be128,
        Be16,
        Be32, //
    },
    netlink::{
        attr::Attrs,
        daemon,
        dest,
        dump::{
            put_config,
            put_dest,
            put_info,
            put_service,
            AttrSink,
            DestDump,
            NestMark,
            NoRoom,
            ServiceDump, //
        },
        service,
        timeout,
        Attr,
        AttrError,
        COMMAND_POLICY, //
    },
    proto::Direction,
    resize::Limits,
    sched::{
        by_hash::Member,
        dirty_bits::{
            self,
            DirtyBits, //
        },
        lblc,
        lblcr,
        least::Load,
        locality::{
            self,
            Sweep,
            SweepSchedule, //
        },
        rr,
        tree::{
            MaxWeight,
            Tree, //
            WeightSum,
        },
        twos,
        wrr,
        ByHash,
        LeastLoad,
        SchedRequest,
        SchedulerKind,
        Server,
        Servers, //
    },
    sctp,
    stats::{
        Counters,
        Rates, //
    },
    sync, tcp, text,
    threshold::Thresholds,
    transport::{
        self,
        Change,
        End,
        Rewritten,
        Stored,
        TcpFlags,
        TcpHeader,
        UdpHeader, //
    },
    tunnel,
};

/// A server.
#[derive(Clone, Copy)]
pub struct Dest {
    weight: i32,
    active: u32,
    inactive: u32,
    overloaded: bool,
}

impl Server for Dest {
    fn weight(&self) -> i32 {
        self.weight
    }

    fn active(&self) -> u32 {
        self.active
    }

    fn inactive(&self) -> u32 {
        self.inactive
    }

    fn overloaded(&self) -> bool {
        self.overloaded
    }
}

/// Servers in slots, as in the module.
pub struct Slots<'a>(&'a [Option<&'a Dest>]);

impl<'a> Servers for Slots<'a> {
    type S = &'a Dest;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, slot: usize) -> Option<&'a Dest> {
        self.0.get(slot).copied().flatten()
    }
}

/// A sink that may run out of room, as far as the compiler can tell.
pub struct Sink(usize);

impl AttrSink for Sink {
    fn put(&mut self, attr: u16, payload: &[u8]) -> Result<(), NoRoom> {
        self.0 = self.0.wrapping_sub(payload.len() ^ usize::from(attr));
        match self.0 {
            0 => Err(NoRoom),
            _ => Ok(()),
        }
    }

    fn nest_start(&mut self, attr: u16) -> Result<NestMark, NoRoom> {
        self.put(attr, &[])?;
        Ok(NestMark(self.0))
    }

    fn nest_end(&mut self, mark: NestMark) {
        self.0 ^= mark.0;
    }

    fn nest_cancel(&mut self, mark: NestMark) {
        self.0 = mark.0;
    }
}

/// A writer that discards text.
pub struct Text;

impl core::fmt::Write for Text {
    fn write_str(&mut self, _text: &str) -> core::fmt::Result {
        Ok(())
    }
}

#[no_mangle]
pub fn hash(flow: &Flow4, service: &ServiceKey, key: &HashKey) -> u32 {
    flow.hash(key) ^ flow.reversed().hash(key) ^ service.hash(key)
}

#[no_mangle]
pub fn hash6(flow: &Flow6, addr: Addr, key: &HashKey) -> u32 {
    flow.hash(key) ^ flow.reversed().hash(key) ^ hash_endpoint(key, addr, flow.src_port, 1)
}

/// A packet that is not in a slice.
pub struct Elsewhere<'a>(&'a [u8], usize);

impl PacketBytes for Elsewhere<'_> {
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.read(at.checked_sub(self.1)?)
    }

    fn size(&self) -> usize {
        self.1
    }
}

#[no_mangle]
pub fn packet6(data: &[u8], other: &Elsewhere<'_>, at: usize) -> [Option<Ipv6Header>; 2] {
    [Ipv6Header::parse(data, at), Ipv6Header::parse(other, at)]
}

#[no_mangle]
pub fn rewrite6(
    header: &mut [u8; 40],
    tcp: &mut [u8; 20],
    udp: &mut [u8; 8],
    change: Change<Be128>,
    stored: Stored,
) -> (Rewritten, Be16, bool) {
    ipv6::set_src(header, change.new_addr);
    ipv6::set_dst(header, change.old_addr);
    transport::rewrite_tcp(tcp, End::Src, change, stored);
    let check = transport::udp_checksum(
        change.old_addr,
        change.new_addr,
        u32::MAX,
        ipvs_core::checksum::Sum::ZERO.add_bytes(udp),
    );
    (
        transport::rewrite_udp(udp, End::Dst, change, stored),
        check,
        ipv6::decrement_hop_limit(header),
    )
}

#[no_mangle]
pub fn tunnels(gue: &[u8; 12], gre: &[u8; 4], kind: u8, port: Be16) -> Option<(usize, u8, Be16)> {
    let tunnel = tunnel::Tunnel::new(kind, port, 3)?;
    let (port, encap) = tunnel::parse_gue(gue)?;
    let len = tunnel::parse_gre(gre)?.len.wrapping_add(encap.len);
    Some((len, tunnel.protocol(4), port))
}

#[no_mangle]
pub fn outer(outer: Outer, addr: Be32, addr6: Be128) -> ([u8; 20], [u8; 40]) {
    (outer.ipv4(addr, addr), outer.ipv6(addr6, addr6))
}

#[no_mangle]
pub fn packet(data: &[u8], len: usize) -> Result<Ipv4Header, ParseError> {
    let embedded = InnerHeader::parse(data)?;
    let header = Ipv4Header::parse(data, len)?;
    match ipv4::checksum_is_valid(data) && embedded.ports.is_some() && header.is_fragment() {
        true => Ok(header),
        false => Err(ParseError::Truncated),
    }
}

#[no_mangle]
pub fn headers(data: &[u8]) -> (Option<TcpHeader>, Option<UdpHeader>, Option<u16>, bool) {
    let mtu = IcmpHeader::parse(data).and_then(|header| header.next_hop_mtu());
    let valid = transport::checksum_is_valid(Be32::ZERO, Be32::ZERO, ipv4::PROTO_UDP, data);
    (TcpHeader::parse(data), UdpHeader::parse(data), mtu, valid)
}

#[no_mangle]
pub fn rewrite(
    tcp: &mut [u8; 20],
    udp: &mut [u8; 8],
    change: Change<Be32>,
    stored: Stored,
) -> Rewritten {
    transport::rewrite_tcp(tcp, End::Src, change, stored);
    transport::set_port(udp, End::Dst, change.new_port);
    transport::rewrite_udp(udp, End::Dst, change, stored)
}

#[no_mangle]
pub fn readdress(header: &mut [u8; 20], whole: &mut [u8], addr: Be32) -> Be16 {
    ipv4::set_src(header, addr);
    ipv4::set_dst(header, addr);
    ipv4::update_checksum(whole);
    ipvs_core::icmp::update_checksum(whole);
    udp_nonzero(checksum(whole))
}

#[no_mangle]
pub fn tcp_state(
    table: tcp::Table,
    direction: Direction,
    number: u16,
    flags: TcpFlags,
) -> Option<(tcp::TcpState, &'static str, u32, bool)> {
    let (direction, _) = direction.with_flag(number == 3);
    let state = tcp::next(table, direction, tcp::TcpState::from_number(number)?, flags);
    Some((
        state,
        tcp::state_name(number),
        state.default_timeout(),
        state.is_active(),
    ))
}

#[no_mangle]
pub fn sctp_state(
    direction: Direction,
    number: u16,
    header: &[u8; sctp::FIRST_CHUNK_END],
    packet: &[u8],
) -> Option<(sctp::SctpState, &'static str, u32, bool)> {
    let chunks = sctp::Chunks::read(sctp::first_chunk(header), |at| {
        packet.get(at..)?.first_chunk().copied()
    });
    let from = sctp::SctpState::from_number(number)?;
    let state = sctp::next(direction, from, chunks.event());
    Some((
        state,
        sctp::state_name(number),
        state.timeout(),
        chunks.is_init() || chunks.is_abort() || state.is_active(),
    ))
}

#[no_mangle]
pub fn rewrite_sctp(header: &mut [u8; sctp::HEADER_LEN], port: Be16, packet: &[u8]) -> [u8; 4] {
    if sctp::set_port(header, End::Src, port) || sctp::set_port(header, End::Dst, port) {
        sctp::clear_checksum(header);
    }
    sctp::checksum_of(sctp::crc32c(sctp::CRC_SEED, packet))
}

#[no_mangle]
pub fn send(
    message: &mut sync::Message,
    buffer: &mut [u8],
    entry: &sync::Entry<'_, Be32>,
    entry6: &sync::Entry<'_, Be128>,
) -> Result<(), sync::Full> {
    message.add(buffer, entry)?;
    message.add(buffer, entry6)
}

#[no_mangle]
pub fn receive<'a>(bytes: &'a [u8], syncid: u8, last: &mut Option<sync::Received<'a>>) -> usize {
    let Ok(datagram) = sync::Datagram::parse(bytes, syncid) else {
        return 0;
    };
    *last = datagram.entries().filter_map(Result::ok).last();
    datagram.trailer().len()
}

#[no_mangle]
pub fn due(
    rules: &sync::Rules,
    subject: &sync::Subject,
    endtime: usize,
    packets: i32,
    now: usize,
) -> Option<sync::Due> {
    rules.due(subject, endtime, packets, now)
}

#[no_mangle]
pub fn pick_rr<'a>(state: &mut rr::State, servers: &Slots<'a>, slot: usize) -> Option<&'a Dest> {
    state.removed(servers, slot);
    state.compacted(servers);
    state.pick(servers)
}

#[no_mangle]
pub fn pick_wrr<'a>(
    state: &mut wrr::State,
    servers: &Slots<'a>,
    weight: i32,
    tree: &mut Tree<&mut [MaxWeight]>,
) -> Option<&'a Dest> {
    state.added(weight);
    state.changed(servers);
    state.compacted(servers);
    if weight == 1 {
        *state = wrr::State::with_servers(servers);
    }
    if weight == 2 {
        let slot = servers.len() >> 1;
        tree.set(slot, wrr::weight_of(&servers.get(slot)?));
        return state.pick_with(servers, tree);
    }
    state.pick(servers)
}

#[no_mangle]
pub fn pick_least<'a>(
    kind: LeastLoad,
    servers: &Slots<'a>,
    tree: &mut Tree<&mut [Load]>,
    slot: usize,
) -> Option<&'a Dest> {
    tree.set(slot, kind.load(&servers.get(slot)?, slot));
    tree.least(servers).or_else(|| kind.pick(servers))
}

#[no_mangle]
pub fn pick_twos<'a>(
    servers: &Slots<'a>,
    tree: &mut Tree<&mut [WeightSum]>,
    slot: usize,
    random: u64,
) -> Option<&'a Dest> {
    tree.set(slot, twos::weight_of(&servers.get(slot)?));
    twos::pick_with(servers, tree, |below| random % below.max(1))
        .or_else(|| twos::pick(servers, |below| random % below.max(1)))
}

#[no_mangle]
pub fn pick_by_hash<'a>(
    kind: ByHash,
    members: &mut [Member],
    table: &mut [u32],
    servers: &Slots<'a>,
    arrival: &SchedRequest,
    flags: u32,
) -> Option<&'a Dest> {
    kind.fill(members, table).ok()?;
    kind.pick(arrival, flags, |place| {
        servers.get(*table.get(place)? as usize)
    })
}

#[no_mangle]
pub fn pick_by_target<'a>(
    servers: &Slots<'a>,
    sweeps: &mut SweepSchedule,
    target: Addr,
    key: &HashKey,
    count: usize,
) -> Option<&'a Dest> {
    let set = || servers.0.iter().copied().flatten();
    let least = lblcr::least_loaded(set());
    match sweeps.due(count) {
        Sweep::Nothing if locality::hash(target, key) != 0 => lblcr::most_loaded(set()),
        _ if lblcr::should_shrink(count, count, 1) => None,
        _ => least.filter(|server| lblc::is_usable(server, servers)),
    }
}

/// A word that nobody shares.
pub struct Word(Cell<u64>);

impl dirty_bits::Word for Word {
    fn load(&self) -> u64 {
        self.0.get()
    }

    fn fetch_or(&self, mask: u64) -> u64 {
        self.0.replace(self.0.get() | mask)
    }

    fn take(&self) -> u64 {
        self.0.take()
    }
}

#[no_mangle]
pub fn mark(dirty_bits: &DirtyBits<&[Word]>, slot: usize, sum: &mut usize) -> bool {
    dirty_bits.mark(slot);
    dirty_bits.drain(|slot| *sum = sum.wrapping_add(slot));
    SchedulerKind::from_name(b"rr").is_some()
}

#[no_mangle]
pub fn request(data: &[u8]) -> Result<(), AttrError> {
    let attrs: [Option<Attr<'_>>; 7] =
        ipvs_core::netlink::parse(Attrs::new(data, 0), &COMMAND_POLICY)?;
    let [_, service, dest, daemon, ..] = attrs;
    let service = service::parse(service, true)?;
    let dest = dest::parse(dest)?;
    dest.check()?;
    dest.check_mixed(
        dest.id.family(service.id.family, true)?,
        service.id.family,
        false,
    )?;
    daemon::parse(daemon)?;
    timeout::parse(&attrs, 250)?;
    Ok(())
}

#[no_mangle]
pub fn answer(sink: &mut Sink, service: &ServiceDump<'_>, dest: &DestDump) -> Result<(), NoRoom> {
    put_service(sink, service)?;
    put_dest(sink, dest)?;
    put_config(sink, 1, 2, 3)?;
    put_info(sink, 4)
}

#[no_mangle]
pub fn estimate(estimator: &mut Estimator, counters: &Counters) -> Rates {
    estimator.update(counters);
    estimator.rates()
}

#[no_mangle]
pub fn limits(
    limits: Limits,
    count: u64,
    bits: Option<u32>,
    load_factor: i32,
    thresholds: Thresholds,
) -> Option<u32> {
    let conns = count as u32;
    let overloaded = thresholds.after_set(conns, thresholds.fell_below_lower(conns))
        || thresholds.reached_upper(conns) && thresholds.after_add(conns)
        || thresholds.after_remove(conns);
    limits
        .wanted(count, bits, load_factor)
        .filter(|_| overloaded)
}

#[no_mangle]
pub fn lines(out: &mut Text, line: &text::ConnLine<'_>, counters: &Counters) -> core::fmt::Result {
    text::write_info_head(out, 4096)?;
    text::write_service(out, text::ServiceLabel::Fwmark(1), "rr", 1, 2, Be32::ZERO)?;
    let label = text::ServiceLabel::Addr(6, line.dest.0, line.dest.1);
    text::write_service(out, label, "rr", 1, 2, Be32::ZERO)?;
    text::write_dest(out, line.dest.0, Be16::ZERO, 1, 2, 3, 4)?;
    line.write(out, Some(("sip", b"data")))?;
    line.write_sync(out, true)?;
    text::write_app(out, 6, line.dest.1, 1, "ftp")?;
    text::write_percpu(out, 1, counters)?;
    text::write_stats(out, counters, &Rates::default())?;
    text::write_percpu_total(out, counters, &Rates::default())
}

#[no_mangle]
pub fn ftp(payload: &[u8], addr: Be32, port: Be16) -> (bool, usize) {
    let (v4, v6) = (
        ftp::command::<Be32>(payload),
        ftp::command::<Be128>(payload),
    );
    let found = [
        ftp::passive::<Be32>(payload).map(|found| found.text),
        ftp::extended_passive::<Be32>(payload).map(|found| found.text),
        ftp::extended_passive::<Be128>(payload).map(|found| found.text),
    ];
    let len = found
        .into_iter()
        .flatten()
        .fold(0, |len, text| len ^ text.start ^ text.end);
    let texts = [
        ftp::Text::passive(addr, port),
        ftp::Text::extended_passive(port),
    ];
    let texts = texts.map(|text| text.as_bytes().len());
    (v4.is_some() || v6.is_some(), len ^ texts[0] ^ texts[1])
}
