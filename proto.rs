// SPDX-License-Identifier: GPL-2.0

//! The transport protocols: what packets tell, and how connections live by it.
//!
//! C: `ip_vs_proto.c`, `ip_vs_proto_tcp.c`, `ip_vs_proto_udp.c`.

pub(crate) mod nat;

use crate::{
    conn::{
        restart_timer,
        Bits,
        PublishedConn, //
    },
    family::{
        Family,
        Header, //
    },
    netns::{
        timeouts::Timeouts,
        Netns, //
    },
    settings::Settings, //
};
use ipvs_core::{
    proto::Protocol,
    tcp::{
        self,
        Direction,
        Table,
        TcpState, //
    },
    transport::{
        Ports,
        TcpFlags,
        TcpHeader,
        UdpHeader,
        TCP_HEADER_LEN,
        UDP_HEADER_LEN, //
    },
};
use linux::skb::Skb;

/// `IPPROTO_ESP`.
const PROTO_ESP: u8 = 50;
/// `IPPROTO_AH`.
const PROTO_AH: u8 = 51;
/// `IPPROTO_SCTP`.
const PROTO_SCTP: u8 = 132;

/// Returns whether a packet of a protocol may hold another one that is yet to come here by itself: of
/// any but those that the C module knows.
pub(crate) const fn may_be_tunnel(protocol: u8) -> bool {
    Protocol::from_number(protocol).is_none()
        && !matches!(protocol, PROTO_SCTP | PROTO_AH | PROTO_ESP)
}

/// What the transport header of a packet tells.
pub(crate) struct Transport {
    pub(crate) ports: Ports,
    /// Flags of TCP; `None` for another protocol, and for a packet that ends before them.
    flags: Option<TcpFlags>,
    /// Whether the whole header is there.
    pub(crate) complete: bool,
}

impl Transport {
    /// Reads it, wherever it lies in the packet. `None` if not even the ports are there.
    #[inline]
    pub(crate) fn read(skb: &Skb, header: &impl Header, protocol: Protocol) -> Option<Self> {
        let offset = header.transport_at();
        match protocol {
            Protocol::Tcp => {
                if let Some(bytes) = skb.header::<TCP_HEADER_LEN>(offset) {
                    let tcp = TcpHeader::parse(&bytes)?;
                    return Some(Self {
                        ports: tcp.ports,
                        flags: Some(tcp.flags),
                        complete: true,
                    });
                }
            }
            Protocol::Udp => {
                if let Some(bytes) = skb.header::<UDP_HEADER_LEN>(offset) {
                    return Some(Self {
                        ports: UdpHeader::parse(&bytes)?.ports,
                        flags: None,
                        complete: true,
                    });
                }
            }
        }
        let bytes: [u8; 4] = skb.header(offset)?;
        Some(Self {
            ports: Ports::parse(&bytes)?,
            flags: None,
            complete: false,
        })
    }

    /// Whether a client starts a connection with it; only TCP has a mark of it. C: `is_new_conn()`.
    #[inline]
    pub(crate) fn is_new_conn(&self) -> bool {
        self.flags.is_some_and(TcpFlags::syn)
    }

    /// Whether it resets a TCP connection.
    pub(crate) fn is_reset(&self) -> bool {
        self.flags.is_some_and(TcpFlags::rst)
    }

    /// Whether a service takes it as the first packet of a connection.
    pub(crate) fn may_start(&self, protocol: Protocol, settings: &Settings) -> bool {
        match protocol {
            Protocol::Tcp => self
                .flags
                .is_some_and(|flags| !flags.rst() && (flags.syn() || settings.sloppy_tcp.is_set())),
            Protocol::Udp => true,
        }
    }
}

/// Moves a connection on by a packet: its state, whether it counts as active, and how long it lasts.
#[inline]
pub(crate) fn step<F: Family>(
    conn: &PublishedConn<F>,
    direction: Direction,
    transport: &Transport,
    netns: &Netns,
) {
    let bits = match conn.protocol() {
        Protocol::Tcp => {
            let Some(flags) = transport.flags else {
                return;
            };
            let table = netns.settings.defence.tcp_table();
            let before = conn.bits();
            let bits = conn.update(|bits| tcp_step(bits, table, direction, flags));
            if bits != before && tcp_state(bits) == TcpState::Established {
                assure_control(conn);
            }
            bits
        }
        Protocol::Udp => {
            if direction == Direction::Output {
                assure_control(conn);
            }
            conn.bits()
        }
    };
    restart_timer(conn, timeout(conn.protocol(), bits, &netns.timeouts));
}

/// Tells the template of a connection, if it has one, that its client is there.
#[inline]
fn assure_control<F: Family>(conn: &PublishedConn<F>) {
    if let Some(control) = conn.control() {
        control.set_assured();
    }
}

/// Returns how long a connection lasts without a packet, in ticks.
#[inline]
pub(crate) fn timeout(protocol: Protocol, bits: Bits, timeouts: &Timeouts) -> u32 {
    match protocol {
        Protocol::Tcp => timeouts.tcp(tcp_state(bits)),
        Protocol::Udp => timeouts.udp(),
    }
}

#[inline]
fn tcp_state(bits: Bits) -> TcpState {
    TcpState::from_number(bits.state()).unwrap_or(TcpState::None)
}

/// C: `set_tcp_state()`.
#[inline]
fn tcp_step(bits: Bits, table: Table, direction: Direction, flags: TcpFlags) -> Bits {
    let (direction, no_output) = direction.with_flag(bits.no_output());
    let state = tcp::next(table, direction, tcp_state(bits), flags);
    bits.with_no_output(no_output)
        .with_state(state.number())
        .with_active(state.is_active())
}
