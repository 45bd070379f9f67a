// SPDX-License-Identifier: GPL-2.0

//! Formats the files in `/proc/net` byte for byte as the C module does.
//!
//! C: the `ip_vs_*_show()` functions of `ip_vs_ctl.c` and `ip_vs_conn.c`. Addresses and ports are
//! hexadecimal.

mod line;

use core::fmt::{
    self,
    Write, //
};
use line::Line;

use crate::{
    flow::ServiceKey,
    ipv4::{
        PROTO_ICMP,
        PROTO_SCTP,
        PROTO_TCP,
        PROTO_UDP, //
    },
    net::{
        Addr,
        Be16,
        Be32, //
    },
    netlink::{
        FWD_DROUTE,
        FWD_LOCALNODE,
        FWD_MASK,
        FWD_TUNNEL,
        IP_VS_SVC_F_ONEPACKET,
        IP_VS_SVC_F_PERSISTENT,
        VERSION_CODE, //
    },
    stats::{
        Counters,
        Rates, //
    },
};

/// A transport protocol number, displayed as its name (C: `ip_vs_proto_name()`). Protocols without
/// a name are displayed as `IP_` and their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolName(pub u16);

impl ProtocolName {
    /// Returns the name of the protocol, if it has one.
    const fn known(self) -> Option<&'static str> {
        const ICMP: u16 = PROTO_ICMP as u16;
        const TCP: u16 = PROTO_TCP as u16;
        const UDP: u16 = PROTO_UDP as u16;
        const SCTP: u16 = PROTO_SCTP as u16;

        Some(match self.0 {
            0 => "IP",
            UDP => "UDP",
            TCP => "TCP",
            SCTP => "SCTP",
            ICMP => "ICMP",
            58 => "ICMPv6",
            _ => return None,
        })
    }
}

impl fmt::Display for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(name) => f.pad(name),
            None => write!(f, "IP_{}", self.0),
        }
    }
}

/// An address in the format of the files: IPv4 as eight hexadecimal digits, IPv6 as eight groups of
/// four.
#[derive(Clone, Copy, Debug)]
struct Hex(Addr);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = match self.0 {
            Addr::V4(addr) => return write!(f, "{:08X}", addr.host()),
            Addr::V6(addr) => addr,
        };
        let mut separator = "";
        for word in addr.words() {
            let word = word.host();
            write!(f, "{separator}{:04x}:{:04x}", word >> 16, word & 0xffff)?;
            separator = ":";
        }
        Ok(())
    }
}

/// An address in the format of [`Hex`] and a port. IPv6 addresses are in brackets.
#[derive(Clone, Copy, Debug)]
struct HexEndpoint(Addr, Be16);

impl fmt::Display for HexEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(addr, port) = self;
        match addr {
            Addr::V4(_) => write!(f, "{}:{:04X}", Hex(*addr), port.host()),
            Addr::V6(_) => write!(f, "[{}]:{:04X}", Hex(*addr), port.host()),
        }
    }
}

/// Returns the name of a forwarding method in `/proc/net/ip_vs` (C: `ip_vs_fwd_name()`).
pub const fn forward_name(fwd_method: u32) -> &'static str {
    match fwd_method & FWD_MASK {
        FWD_LOCALNODE => "Local",
        FWD_TUNNEL => "Tunnel",
        FWD_DROUTE => "Route",
        _ => "Masq",
    }
}

/// Writes the header of `ip_vs`. `buckets` is the size of the connection table.
pub fn write_info_head(out: &mut impl Write, buckets: u32) -> fmt::Result {
    let [_, major, minor, patch] = VERSION_CODE.to_be_bytes();

    writeln!(
        out,
        "IP Virtual Server version {major}.{minor}.{patch} (size={buckets})"
    )?;
    out.write_str("Prot LocalAddress:Port Scheduler Flags\n")?;
    out.write_str("  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n")
}

/// The identification of a service in the files.
#[derive(Clone, Copy, Debug)]
pub enum ServiceLabel {
    /// Protocol, address and port.
    Addr(u16, Addr, Be16),
    /// Firewall mark.
    Fwmark(u32),
}

impl From<&ServiceKey> for ServiceLabel {
    fn from(key: &ServiceKey) -> Self {
        match *key {
            ServiceKey::Fwmark { mark, .. } => Self::Fwmark(mark),
            ServiceKey::Addr {
                protocol,
                addr,
                port,
            } => Self::Addr(protocol.into(), addr, port),
        }
    }
}

/// Writes a service's line of `ip_vs`. `timeout` is the persistence timeout in clock ticks
/// (jiffies), which is what the C module prints.
pub fn write_service(
    out: &mut impl Write,
    label: ServiceLabel,
    sched_name: &str,
    flags: u32,
    timeout: u32,
    netmask: Be32,
) -> fmt::Result {
    let one_packet = match flags & IP_VS_SVC_F_ONEPACKET {
        0 => "",
        _ => "ops ",
    };
    match label {
        ServiceLabel::Addr(protocol, addr, port) => {
            write!(
                out,
                "{}  {} {sched_name} ",
                ProtocolName(protocol),
                HexEndpoint(addr, port)
            )?;
            // The C module does not show the flag of IPv6 services.
            if matches!(addr, Addr::V4(_)) {
                write!(out, "{one_packet} ")?;
            }
        }
        ServiceLabel::Fwmark(mark) => write!(out, "FWM  {mark:08X} {sched_name} {one_packet}")?,
    }
    if flags & IP_VS_SVC_F_PERSISTENT != 0 {
        // The C module prints the number as a signed one.
        write!(out, "persistent {} {:08X}", timeout as i32, netmask.host())?;
    }
    out.write_char('\n')
}

/// Writes a server's line of `ip_vs`.
pub fn write_dest(
    out: &mut impl Write,
    addr: Addr,
    port: Be16,
    fwd_method: u32,
    weight: i32,
    active: u32,
    inactive: u32,
) -> fmt::Result {
    writeln!(
        out,
        "  -> {}      {:<7} {:<6} {:<10} {:<10}",
        HexEndpoint(addr, port),
        forward_name(fwd_method),
        weight,
        active as i32,
        inactive as i32,
    )
}

/// The header of `ip_vs_conn`.
pub const CONN_HEAD: &str =
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n";

/// The header of `ip_vs_conn_sync`.
pub const CONN_SYNC_HEAD: &str =
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n";

/// The parts of a connection that are shown in the files.
#[derive(Clone, Copy, Debug)]
pub struct ConnLine<'a> {
    /// Transport protocol.
    pub protocol: u16,
    /// Client.
    pub client: (Addr, Be16),
    /// Service.
    pub virt: (Addr, Be16),
    /// Server.
    pub dest: (Addr, Be16),
    /// Name of the state.
    pub state: &'a str,
    /// Whole seconds until it expires.
    pub expires: u32,
}

impl ConnLine<'_> {
    /// Formats the part of the line that both files have in common.
    fn common(&self) -> Line {
        let mut line = Line::new();
        line.protocol(ProtocolName(self.protocol));
        for (addr, port) in [self.client, self.virt, self.dest] {
            line.byte(b' ');
            line.addr(addr);
            line.byte(b' ');
            line.port(port.host());
        }
        line.byte(b' ');
        line.text(self.state.as_bytes(), 11);
        line.byte(b' ');
        line
    }

    /// Writes the connection's line of `ip_vs_conn`. `pe` is the persistence engine's name and the
    /// identifier that it found, if there is one. Bytes that are not UTF-8 are replaced by question
    /// marks.
    pub fn write(&self, out: &mut impl Write, pe: Option<(&str, &[u8])>) -> fmt::Result {
        let mut line = self.common();
        line.decimal(self.expires, 7);
        let Some((name, data)) = pe else {
            line.byte(b'\n');
            return out.write_str(line.as_str()?);
        };
        write!(out, "{} {name} ", line.as_str()?)?;
        for chunk in data.utf8_chunks() {
            out.write_str(chunk.valid())?;
            for _ in chunk.invalid() {
                out.write_char('?')?;
            }
        }
        out.write_char('\n')
    }

    /// Writes the connection's line of `ip_vs_conn_sync`. `synced` tells whether the connection was
    /// received from another director.
    pub fn write_sync(&self, out: &mut impl Write, synced: bool) -> fmt::Result {
        let mut line = self.common();
        line.text(if synced { b"SYNC" } else { b"LOCAL" }, 6);
        line.byte(b' ');
        line.decimal(self.expires, 7);
        line.byte(b'\n');
        out.write_str(line.as_str()?)
    }
}

/// The header of `ip_vs_app`.
pub const APP_HEAD: &str = "prot port    usecnt name\n";

/// Writes a line of `ip_vs_app`: an application, one of its ports, and the number of connections
/// that it handles there.
pub fn write_app(
    out: &mut impl Write,
    protocol: u16,
    port: Be16,
    conns: u32,
    name: &str,
) -> fmt::Result {
    writeln!(
        out,
        "{:<3}  {:<7} {:<6} {name:<17}",
        ProtocolName(protocol),
        port.host(),
        conns as i32,
    )
}

/// Writes the content of `ip_vs_stats`.
pub fn write_stats(out: &mut impl Write, counters: &Counters, rates: &Rates) -> fmt::Result {
    out.write_str("   Total Incoming Outgoing         Incoming         Outgoing\n")?;
    out.write_str("   Conns  Packets  Packets            Bytes            Bytes\n")?;
    write_counters(out, counters)?;
    out.write_str("\n\n")?;
    out.write_str(" Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n")?;
    write_rates(out, rates)?;
    out.write_char('\n')
}

/// The header of `ip_vs_stats_percpu`. A line for each CPU follows.
pub const PERCPU_HEAD: &str = concat!(
    "       Total Incoming Outgoing         Incoming         Outgoing\n",
    "CPU    Conns  Packets  Packets            Bytes            Bytes\n",
);

/// Writes a CPU's line of `ip_vs_stats_percpu`.
pub fn write_percpu(out: &mut impl Write, cpu: u32, counters: &Counters) -> fmt::Result {
    write!(out, "{cpu:3X} ")?;
    write_counters(out, counters)?;
    out.write_char('\n')
}

/// Writes the lines of `ip_vs_stats_percpu` that follow those of the CPUs: totals and rates.
pub fn write_percpu_total(out: &mut impl Write, counters: &Counters, rates: &Rates) -> fmt::Result {
    out.write_str("  ~ ")?;
    write_counters(out, counters)?;
    out.write_str("\n\n")?;
    out.write_str("     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n")?;
    out.write_str("    ")?;
    write_rates(out, rates)?;
    out.write_char('\n')
}

fn write_counters(out: &mut impl Write, counters: &Counters) -> fmt::Result {
    let Counters {
        conns,
        inpkts,
        outpkts,
        inbytes,
        outbytes,
    } = counters;
    write!(
        out,
        "{conns:8X} {inpkts:8X} {outpkts:8X} {inbytes:16X} {outbytes:16X}"
    )
}

fn write_rates(out: &mut impl Write, rates: &Rates) -> fmt::Result {
    let Rates {
        cps,
        inpps,
        outpps,
        inbps,
        outbps,
    } = rates;
    write!(
        out,
        "{cps:8X} {inpps:8X} {outpps:8X} {inbps:16X} {outbps:16X}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Be128;

    const ADDR: Addr = Addr::V4(Be32::new(0xc0a8_0001));
    const ADDR6: Addr = Addr::V6(Be128::new(0xfd00_0000_00ab_0000_0000_0000_0001_0002));
    const PORT: Be16 = Be16::new(80);

    fn text(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
        let mut out = String::new();
        write(&mut out).unwrap();
        out
    }

    #[test]
    fn services_and_servers_look_as_ever() {
        assert_eq!(
            text(|out| write_info_head(out, 4096)),
            "IP Virtual Server version 1.2.1 (size=4096)\n\
             Prot LocalAddress:Port Scheduler Flags\n  \
             -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
        );
        let tcp = ServiceLabel::Addr(6, ADDR, PORT);
        let mask = Be32::new(0xffff_ff00);
        assert_eq!(
            text(|out| write_service(out, tcp, "rr", 2, 0, mask)),
            "TCP  C0A80001:0050 rr  \n"
        );
        assert_eq!(
            text(|out| write_service(out, tcp, "wlc", 3, 75000, mask)),
            "TCP  C0A80001:0050 wlc  persistent 75000 FFFFFF00\n"
        );
        let udp = ServiceLabel::Addr(17, ADDR, PORT);
        assert_eq!(
            text(|out| write_service(out, udp, "rr", 6, 0, mask)),
            "UDP  C0A80001:0050 rr ops  \n"
        );
        let tcp6 = ServiceLabel::Addr(6, ADDR6, PORT);
        assert_eq!(
            text(|out| write_service(out, tcp6, "rr", 4, 0, Be32::from_raw(128))),
            "TCP  [fd00:0000:00ab:0000:0000:0000:0001:0002]:0050 rr \n"
        );
        assert_eq!(
            text(|out| write_service(out, ServiceLabel::Fwmark(10), "none", 4, 0, mask)),
            "FWM  0000000A none ops \n"
        );
        assert_eq!(
            text(|out| write_dest(out, ADDR, PORT, FWD_DROUTE, 100, 3, 12345)),
            "  -> C0A80001:0050      Route   100    3          12345     \n"
        );
        assert_eq!(
            text(|out| write_dest(out, ADDR6, PORT, FWD_TUNNEL, 1, 2, 3)),
            "  -> [fd00:0000:00ab:0000:0000:0000:0001:0002]:0050      \
             Tunnel  1      2          3         \n"
        );
    }

    #[test]
    fn protocols_and_forwarding_methods_have_the_names_of_the_c_module() {
        for (protocol, name) in [
            (0, "IP"),
            (1, "ICMP"),
            (6, "TCP"),
            (17, "UDP"),
            (47, "IP_47"),
            (58, "ICMPv6"),
            (132, "SCTP"),
            (300, "IP_300"),
        ] {
            assert_eq!(ProtocolName(protocol).to_string(), name);
        }
        for (method, name) in [
            (0, "Masq"),
            (FWD_LOCALNODE, "Local"),
            (FWD_TUNNEL, "Tunnel"),
            (FWD_DROUTE, "Route"),
            (4, "Masq"),
        ] {
            assert_eq!(forward_name(method), name);
            assert_eq!(forward_name(method | !FWD_MASK), name);
        }
    }

    #[test]
    fn connections_look_as_ever() {
        let line = ConnLine {
            protocol: 6,
            client: (ADDR, Be16::new(0xabcd)),
            virt: (ADDR, PORT),
            dest: (ADDR, PORT),
            state: "ESTABLISHED",
            expires: 897,
        };
        assert_eq!(
            text(|out| line.write(out, None)),
            "TCP C0A80001 ABCD C0A80001 0050 C0A80001 0050 ESTABLISHED     897\n"
        );
        let mixed = ConnLine {
            client: (ADDR6, PORT),
            virt: (ADDR6, PORT),
            ..line
        };
        assert_eq!(
            text(|out| mixed.write(out, None)),
            "TCP fd00:0000:00ab:0000:0000:0000:0001:0002 0050 \
             fd00:0000:00ab:0000:0000:0000:0001:0002 0050 \
             C0A80001 0050 ESTABLISHED     897\n"
        );
        let template = ConnLine {
            protocol: 0,
            state: "NONE",
            ..line
        };
        assert_eq!(
            text(|out| template.write(out, Some(("sip", b"id")))),
            "IP  C0A80001 ABCD C0A80001 0050 C0A80001 0050 NONE            897 sip id\n"
        );
        assert_eq!(
            text(|out| template.write(out, Some(("sip", b"a\xe4\xff@b")))),
            "IP  C0A80001 ABCD C0A80001 0050 C0A80001 0050 NONE            897 sip a??@b\n"
        );
        assert_eq!(
            text(|out| line.write_sync(out, false)),
            "TCP C0A80001 ABCD C0A80001 0050 C0A80001 0050 ESTABLISHED LOCAL      897\n"
        );
    }

    #[test]
    fn applications_look_as_ever() {
        assert_eq!(
            text(|out| write_app(out, 6, Be16::new(21), 0, "ftp")),
            "TCP  21      0      ftp              \n"
        );
        assert_eq!(
            text(|out| write_app(out, 6, Be16::new(65535), 1_234_567, "ftp")),
            "TCP  65535   1234567 ftp              \n"
        );
    }

    #[test]
    fn statistics_look_as_ever() {
        let counters = Counters {
            conns: 1,
            inpkts: 0xff,
            outpkts: 0,
            inbytes: 0x1_0000_0000,
            outbytes: 16,
        };
        assert_eq!(
            text(|out| write_stats(out, &counters, &Rates::default())),
            "   Total Incoming Outgoing         Incoming         Outgoing\n   \
             Conns  Packets  Packets            Bytes            Bytes\n       \
             1       FF        0        100000000               10\n\n \
             Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n       \
             0        0        0                0                0\n"
        );
        assert_eq!(
            text(|out| write_percpu(out, 11, &counters)),
            "  B        1       FF        0        100000000               10\n"
        );
        assert_eq!(
            text(|out| write_percpu_total(out, &counters, &Rates::default())),
            "  ~        1       FF        0        100000000               10\n\n     \
             Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n           \
             0        0        0                0                0\n"
        );
    }

    #[test]
    fn protocols_without_a_name_are_numbers() {
        assert_eq!(ProtocolName(50).to_string(), "IP_50");
        assert_eq!(format!("{:<5}|", ProtocolName(17)), "UDP  |");
        assert_eq!(ProtocolName(132).to_string(), "SCTP");
    }
}
