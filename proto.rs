// SPDX-License-Identifier: GPL-2.0

//! The transport protocols: reads their headers, and tracks the state of their connections.
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
    net::Be16,
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

/// The port of ISAKMP, which sets up IPsec.
const PORT_ISAKMP: Be16 = Be16::new(500);

/// Returns whether an IP protocol is one of IPsec (AH, ESP), whose packets belong to the connection
/// of the ISAKMP dialogue between the same hosts; see [`ISAKMP`]. C: `ip_vs_proto_ah_esp.c`.
pub(crate) const fn is_ipsec(protocol: u8) -> bool {
    matches!(protocol, PROTO_AH | PROTO_ESP)
}

/// The protocol and ports of an ISAKMP dialogue, by which the connection of IPsec packets is found.
pub(crate) const ISAKMP: (Protocol, Ports) = (
    Protocol::Udp,
    Ports {
        src: PORT_ISAKMP,
        dst: PORT_ISAKMP,
    },
);

/// Returns whether a packet of this IP protocol may be a tunnel, whose inner packet enters the
/// hooks by itself later. `false` for the protocols that the C module handles.
pub(crate) const fn may_be_tunnel(protocol: u8) -> bool {
    Protocol::from_number(protocol).is_none() && !is_ipsec(protocol) && protocol != PROTO_SCTP
}

/// The relevant fields of a packet's transport header.
pub(crate) struct Transport {
    pub(crate) ports: Ports,
    /// The TCP flags; `None` for other protocols, and for an incomplete header.
    flags: Option<TcpFlags>,
    /// `true` if the packet contains the whole header; otherwise only the ports were read.
    pub(crate) complete: bool,
}

impl Transport {
    /// Reads the transport header, from the linear part or the fragments of `skb`. `None` if the
    /// packet does not even contain the ports.
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

    /// Returns whether the packet explicitly opens a new connection. Only TCP has a flag for that.
    /// C: `is_new_conn()`.
    #[inline]
    pub(crate) fn is_new_conn(&self) -> bool {
        self.flags.is_some_and(TcpFlags::syn)
    }

    /// Returns whether the packet resets a TCP connection.
    pub(crate) fn is_reset(&self) -> bool {
        self.flags.is_some_and(TcpFlags::rst)
    }

    /// Returns whether the packet may be scheduled as the first one of a connection. C: the checks
    /// of `tcp_conn_schedule()` and `udp_conn_schedule()`.
    pub(crate) fn may_start(&self, protocol: Protocol, settings: &Settings) -> bool {
        match protocol {
            Protocol::Tcp => self
                .flags
                .is_some_and(|flags| !flags.rst() && (flags.syn() || settings.sloppy_tcp.is_set())),
            Protocol::Udp => true,
        }
    }
}

/// Updates the state of a connection by a packet, counts the connection as active or inactive
/// accordingly, and restarts its timer. C: `set_tcp_state()`, `udp_state_transition()`,
/// `ip_vs_conn_put()`.
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

/// Marks the template of a connection, if it has one, as assured. C: `ip_vs_control_assure_ct()`.
#[inline]
fn assure_control<F: Family>(conn: &PublishedConn<F>) {
    if let Some(template) = conn.template() {
        template.set_assured();
    }
}

/// Restarts the timer of a connection by a packet that does not change its state. C: `ip_vs_conn_put()`.
pub(crate) fn restart<F: Family>(conn: &PublishedConn<F>, netns: &Netns) {
    let timeout = timeout(conn.protocol(), conn.bits(), &netns.timeouts);
    restart_timer(conn, timeout);
}

/// Returns the idle timeout of a connection with these flags and state, in ticks.
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

/// Returns the flags and state of a TCP connection after a packet. C: `set_tcp_state()`.
#[inline]
fn tcp_step(bits: Bits, table: Table, direction: Direction, flags: TcpFlags) -> Bits {
    let (direction, no_output) = direction.with_flag(bits.no_output());
    let state = tcp::next(table, direction, tcp_state(bits), flags);
    bits.with_no_output(no_output)
        .with_state(state.number())
        .with_active(state.is_active())
}
