// SPDX-License-Identifier: GPL-2.0

//! The transport protocols: reads their headers, and tracks the state of their connections.
//!
//! C: `ip_vs_proto.c`, `ip_vs_proto_tcp.c`, `ip_vs_proto_udp.c`; SCTP is in `proto/sctp.rs`.

pub(crate) mod nat;
mod sctp;

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
    proto::{
        Direction,
        Protocol, //
    },
    sctp::Chunks,
    tcp::{
        self,
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
    Protocol::from_number(protocol).is_none() && !is_ipsec(protocol)
}

/// What a packet says about the state of its connection.
enum Said {
    /// Nothing: its protocol has no states, or its header is incomplete.
    Nothing,
    /// The flags of a TCP segment.
    Tcp(TcpFlags),
    /// The chunks of an SCTP packet.
    Sctp(Chunks),
}

/// The relevant fields of a packet's transport header.
pub(crate) struct Transport {
    pub(crate) ports: Ports,
    said: Said,
    /// `true` if the packet contains the whole header, of SCTP also the header of the first chunk;
    /// otherwise only the ports were read.
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
                        said: Said::Tcp(tcp.flags),
                        complete: true,
                    });
                }
            }
            Protocol::Udp => {
                if let Some(bytes) = skb.header::<UDP_HEADER_LEN>(offset) {
                    return Some(Self {
                        ports: UdpHeader::parse(&bytes)?.ports,
                        said: Said::Nothing,
                        complete: true,
                    });
                }
            }
            Protocol::Sctp => {
                if let Some((ports, chunks)) = sctp::read(skb, offset) {
                    return Some(Self {
                        ports,
                        said: Said::Sctp(chunks),
                        complete: true,
                    });
                }
            }
        }
        let bytes: [u8; 4] = skb.header(offset)?;
        Some(Self {
            ports: Ports::parse(&bytes)?,
            said: Said::Nothing,
            complete: false,
        })
    }

    /// Returns whether the packet explicitly opens a new connection: a SYN of TCP, an INIT of SCTP. UDP
    /// has nothing like that. C: `is_new_conn()`.
    #[inline]
    pub(crate) fn is_new_conn(&self) -> bool {
        match self.said {
            Said::Tcp(flags) => flags.syn(),
            Said::Sctp(chunks) => chunks.is_init(),
            Said::Nothing => false,
        }
    }

    /// Returns whether the packet resets a TCP connection or aborts an SCTP association. C:
    /// `is_tcp_reset()`, `is_sctp_abort()`.
    pub(crate) fn is_reset(&self) -> bool {
        match self.said {
            Said::Tcp(flags) => flags.rst(),
            Said::Sctp(chunks) => chunks.is_abort(),
            Said::Nothing => false,
        }
    }

    /// Returns whether a complete packet may be scheduled as the first one of a connection. C: the
    /// checks of `tcp_conn_schedule()`, `udp_conn_schedule()` and `sctp_conn_schedule()`.
    pub(crate) fn may_start(&self, settings: &Settings) -> bool {
        match self.said {
            Said::Tcp(flags) => !flags.rst() && (flags.syn() || settings.sloppy_tcp.is_set()),
            Said::Sctp(chunks) => {
                !chunks.is_abort() && (chunks.is_init() || settings.sloppy_sctp.is_set())
            }
            Said::Nothing => true,
        }
    }
}

/// Updates the state of a connection by a packet, counts the connection as active or inactive
/// accordingly, and restarts its timer. C: `set_tcp_state()`, `udp_state_transition()`,
/// `set_sctp_state()`, `ip_vs_conn_put()`.
#[inline]
pub(crate) fn step<F: Family>(
    conn: &PublishedConn<F>,
    direction: Direction,
    transport: &Transport,
    netns: &Netns,
) {
    let bits = match (conn.protocol(), &transport.said) {
        (Protocol::Tcp, &Said::Tcp(flags)) => {
            let table = netns.settings.defence.tcp_table();
            let before = conn.bits();
            let bits = conn.update(|bits| tcp_step(bits, table, direction, flags));
            if bits != before && tcp_state(bits) == TcpState::Established {
                assure_control(conn);
            }
            bits
        }
        (Protocol::Udp, _) => {
            if direction == Direction::Output {
                assure_control(conn);
            }
            conn.bits()
        }
        (Protocol::Sctp, &Said::Sctp(chunks)) => {
            let before = conn.bits();
            let bits = conn.update(|bits| sctp::step(bits, direction, chunks));
            if bits != before && sctp::is_established(bits) {
                assure_control(conn);
            }
            bits
        }
        // An incomplete header: the state stays, and the timer is restarted all the same.
        (Protocol::Tcp | Protocol::Sctp, _) => conn.bits(),
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

/// Returns whether a connection is closed as far as `mode` (sysctl `conn_reuse_mode`) requires for a
/// packet that opens a new one to replace it. C: `is_new_conn_expected()`, but for what controls the
/// connection.
pub(crate) fn may_be_reused(protocol: Protocol, bits: Bits, mode: i32) -> bool {
    match protocol {
        Protocol::Tcp => match tcp_state(bits) {
            TcpState::TimeWait | TcpState::Close => mode != 0,
            TcpState::FinWait => mode & 2 != 0 && bits.no_output(),
            _ => false,
        },
        Protocol::Udp => false,
        Protocol::Sctp => mode != 0 && sctp::is_closed(bits),
    }
}

/// Returns the idle timeout of a connection with these flags and state, in ticks.
#[inline]
pub(crate) fn timeout(protocol: Protocol, bits: Bits, timeouts: &Timeouts) -> u32 {
    match protocol {
        Protocol::Tcp => timeouts.tcp(tcp_state(bits)),
        Protocol::Udp => timeouts.udp(),
        Protocol::Sctp => sctp::timeout(bits),
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
