// SPDX-License-Identifier: GPL-2.0

//! Netlink answers: parsing them returns what was written, and a message without room contains all
//! of an object or nothing.

use super::input::Input;
use ipvs_core::{
    netlink::{
        attr::{
            parse,
            Attrs, //
        },
        consts::*,
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
        service::ServiceId,
        timeout,
        COMMAND_POLICY, //
    },
    stats::{
        Counters,
        Rates,
        Stats, //
    },
};

/// A message with limited room.
struct Message {
    bytes: Vec<u8>,
    room: usize,
}

impl AttrSink for Message {
    fn put(&mut self, attr: u16, payload: &[u8]) -> Result<(), NoRoom> {
        let len = 4 + payload.len();
        if self.bytes.len() + len.next_multiple_of(4) > self.room {
            return Err(NoRoom);
        }
        self.bytes.extend((len as u16).to_ne_bytes());
        self.bytes.extend(attr.to_ne_bytes());
        self.bytes.extend(payload);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        Ok(())
    }

    fn nest_start(&mut self, attr: u16) -> Result<NestMark, NoRoom> {
        let mark = NestMark(self.bytes.len());
        self.put(attr, &[]).map(|()| mark)
    }

    fn nest_end(&mut self, mark: NestMark) {
        let len = (self.bytes.len() - mark.0) as u16;
        self.bytes[mark.0..mark.0 + 2].copy_from_slice(&len.to_ne_bytes());
    }

    fn nest_cancel(&mut self, mark: NestMark) {
        self.bytes.truncate(mark.0);
    }
}

fn stats(input: &mut Input<'_>) -> Stats {
    Stats {
        counters: Counters {
            conns: input.u64(),
            inpkts: input.u64(),
            outpkts: input.u64(),
            inbytes: input.u64(),
            outbytes: input.u64(),
        },
        rates: Rates {
            cps: input.u64(),
            inpps: input.u64(),
            outpps: input.u64(),
            inbps: input.u64(),
            outbps: input.u64(),
        },
    }
}

/// Returns the numbers in a nest of statistics.
fn read_stats(nest: &[u8]) -> Vec<u64> {
    Attrs::new(nest, 0)
        .filter(|attr| attr.kind != 0)
        .map(|attr| match attr.payload.len() {
            4 => attr.u32().into(),
            _ => u64::from_ne_bytes(attr.padded()),
        })
        .collect()
}

fn check_stats(stats: &Stats, narrow: &[u8], wide: &[u8]) {
    let Stats {
        counters: c,
        rates: r,
    } = stats;
    let all = [
        c.conns, c.inpkts, c.outpkts, c.inbytes, c.outbytes, r.cps, r.inpps, r.outpps, r.inbps,
        r.outbps,
    ];
    assert_eq!(read_stats(wide), all);
    let mut cut = all.map(|n| n & 0xffff_ffff);
    (cut[3], cut[4]) = (all[3], all[4]);
    assert_eq!(read_stats(narrow), cut);
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut out = Message {
        bytes: Vec::new(),
        room: usize::from(input.u16() % 1024),
    };
    let fwmark = input.u32();
    let id = ServiceId {
        family: [2, 10][usize::from(input.u8() & 1)],
        protocol: if fwmark == 0 { input.u16() } else { 6 },
        addr: if fwmark == 0 { input.array() } else { [0; 16] },
        port: if fwmark == 0 {
            input.be16()
        } else {
            Default::default()
        },
        fwmark,
    };
    let (flags, timeout, netmask) = (input.u32(), input.u32(), input.be32());
    let dest = DestDump {
        family: input.u16(),
        addr: input.array(),
        port: input.be16(),
        fwd_method: input.u32(),
        weight: input.u32() as i32,
        tun_type: input.u8(),
        tun_port: input.be16(),
        tun_flags: input.u16(),
        upper: input.u32(),
        lower: input.u32(),
        active: input.u32(),
        inactive: input.u32(),
        persistent: input.u32(),
        stats: stats(&mut input),
    };
    let service_stats = stats(&mut input);
    let (tcp, tcp_fin, udp) = (input.u32(), input.u32(), input.u32());
    let name_len = usize::from(input.u8() % 24);
    let named: Vec<u8> = input.bytes(name_len).iter().map(|&b| b.max(1)).collect();
    let pe = input.u8() & 1 != 0;
    let service = ServiceDump {
        id,
        sched_name: &named,
        pe_name: pe.then_some(&named),
        flags,
        timeout,
        netmask,
        stats: service_stats,
    };

    let wrote_service = put_service(&mut out, &service).is_ok();
    let after_service = out.bytes.len();
    assert_eq!(wrote_service, after_service != 0);
    let wrote_dest = put_dest(&mut out, &dest).is_ok();
    assert_eq!(wrote_dest, out.bytes.len() != after_service);
    let wrote_config = put_config(&mut out, tcp, tcp_fin, udp).is_ok();
    assert!(out.bytes.len() <= out.room);

    let message = std::mem::take(&mut out.bytes);
    let attrs = parse(Attrs::new(&message, 0), &COMMAND_POLICY).unwrap();
    assert_eq!(attrs[1].is_some(), wrote_service);
    assert_eq!(attrs[2].is_some(), wrote_dest);
    if wrote_service {
        let nest = attrs[1].unwrap();
        // Names are truncated to 16 bytes. Requests accept 15 bytes for a scheduler.
        let shown = &named[..named.len().min(16)];
        let (read_id, read) = (
            service::parse_id(attrs[1], true),
            service::parse(attrs[1], true),
        );
        assert_eq!(
            (read_id.is_ok(), read.is_ok()),
            (shown.len() <= 15, shown.len() <= 15)
        );
        if let Ok(spec) = read {
            assert_eq!((read_id, spec.id, spec.sched_name), (Ok(id), id, shown));
            assert_eq!(spec.pe_name, pe.then_some(shown));
            assert_eq!((spec.flags.value, spec.flags.mask), (flags, !0));
            assert_eq!((spec.timeout, spec.netmask), (timeout, netmask));
        }
        let nest: Vec<_> = nest.nested().collect();
        let find = |kind| nest.iter().find(|a| a.kind == kind).unwrap().payload;
        check_stats(
            &service_stats,
            find(IPVS_SVC_ATTR_STATS),
            find(IPVS_SVC_ATTR_STATS64),
        );
    }
    if wrote_dest {
        let spec = dest::parse(attrs[2]).unwrap();
        assert_eq!(spec.id.family, dest.family);
        assert_eq!((spec.id.addr, spec.id.port), (dest.addr, dest.port));
        assert_eq!(spec.fwd_method, dest.fwd_method & 7);
        assert_eq!(spec.weight, dest.weight);
        assert_eq!((spec.upper, spec.lower), (dest.upper, dest.lower));
        assert_eq!(spec.tun_type, dest.tun_type);
        assert_eq!(
            (spec.tun_port, spec.tun_flags),
            (dest.tun_port, dest.tun_flags)
        );
        let nest: Vec<_> = attrs[2].unwrap().nested().collect();
        let find = |kind| nest.iter().find(|a| a.kind == kind).unwrap();
        assert_eq!(find(IPVS_DEST_ATTR_ACTIVE_CONNS).u32(), dest.active);
        assert_eq!(find(IPVS_DEST_ATTR_INACT_CONNS).u32(), dest.inactive);
        assert_eq!(find(IPVS_DEST_ATTR_PERSIST_CONNS).u32(), dest.persistent);
        check_stats(
            &dest.stats,
            find(IPVS_DEST_ATTR_STATS).payload,
            find(IPVS_DEST_ATTR_STATS64).payload,
        );
    }
    if wrote_config {
        // One clock tick per second.
        let fit = [tcp, tcp_fin, udp].iter().all(|&t| t <= i32::MAX as u32);
        let config = timeout::parse(&attrs, 1);
        assert_eq!(config.is_ok(), fit);
        if let Ok(config) = config {
            let shown = [config.tcp, config.tcp_fin, config.udp];
            assert_eq!(shown.map(Option::unwrap_or_default), [tcp, tcp_fin, udp]);
        }
    }
    out.room = 16;
    put_info(&mut out, tcp).unwrap();
    assert_eq!(out.bytes[4..8], 0x0001_0201u32.to_ne_bytes());
    assert_eq!(out.bytes[12..16], tcp.to_ne_bytes());
}
