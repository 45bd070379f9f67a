// SPDX-License-Identifier: GPL-2.0

//! FTP: replaces the server's address in replies, and makes the data connections that commands and
//! replies announce. C: `ip_vs_ftp.c`.
//!
//! `ipvs_core/ftp.rs` has the other half: what commands and replies say.

mod data;

pub(crate) use data::{
    waiting,
    with_cport, //
};

use crate::{
    conn::{
        session::{
            Awaited,
            Changed, //
        },
        Conn,
        Found, //
    },
    family::{
        Family,
        V4,
        V6, //
    },
    netns::Netns,
    proto::nat::Untranslatable, //
};
use core::net::IpAddr;
use data::{
    announced,
    data_conn,
    find,
    listen, //
};
use ipvs_core::{
    flow::Flow,
    ftp::{
        self,
        Command,
        Passive,
        Text, //
    },
    net::{
        Addr,
        Address,
        Be16, //
    },
    proto::Protocol,
    tcp::TcpState,
    transport::{
        TcpHeader,
        TCP_HEADER_LEN, //
    },
};
use kernel::prelude::*;
use linux::{
    export_application,
    net::Net,
    nf_conntrack::Tuple,
    nf_nat::{
        self,
        Application,
        Registry, //
    },
    rcu::ReadLocked,
    skb::{
        Skb,
        Summed, //
    },
};

const TCP: u8 = Protocol::Tcp.number();

export_application!(Ftp, ip_vs_ftp_register, ip_vs_ftp_unregister);

/// FTP, as its module registers it.
struct Ftp;

impl Application for Ftp {
    fn registry() -> &'static Registry {
        &super::FTP
    }

    /// Checks that no port is there twice.
    fn check(ports: &[u16]) -> Result {
        let mut rest = ports;
        while let [port, after @ ..] = rest {
            if *port != 0 && after.contains(port) {
                return Err(EEXIST);
            }
            rest = after;
        }
        Ok(())
    }

    fn expected(net: &Net, original: &Tuple, reply: Tuple, rcu: ReadLocked<'_>) -> Option<Tuple> {
        let netns = Netns::of(net, rcu)?.get_ref();
        match original.src().0 {
            IpAddr::V4(_) => expected::<V4>(netns, original, reply, rcu),
            IpAddr::V6(_) => expected::<V6>(netns, original, reply, rcu),
        }
    }
}

/// Returns what replies look like of a data connection that was expected: those to a client come from
/// its server, those to a server go to the virtual address. C: `ip_vs_nfct_expect_callback()`.
fn expected<'rcu, F: Family>(
    netns: &'rcu Netns,
    original: &Tuple,
    mut reply: Tuple,
    rcu: ReadLocked<'rcu>,
) -> Option<Tuple> {
    let ((src, src_port), (dst, dst_port)) = (original.src(), original.dst());
    let flow = Flow {
        protocol: original.protocol(),
        src: F::Addr::of(src.into())?,
        src_port: Be16::new(src_port),
        dst: F::Addr::of(dst.into())?,
        dst_port: Be16::new(dst_port),
    };
    let conn = match find::<F>(netns, &flow, rcu) {
        Some(Found::Answer(conn)) => {
            reply.set_dst(conn.vaddr().ip(), Some(conn.vport().host()));
            conn
        }
        Some(Found::Request(conn)) => {
            reply.set_src(conn.daddr().ip(), Some(conn.dport().host()));
            conn
        }
        None => return None,
    };
    conn.is_nat().then_some(reply)
}

/// Returns the payload of a packet of a control connection, if that is established and the payload is
/// `wanted`; else nothing.
///
/// # Errors
///
/// The checksum is wrong, or there is no memory.
fn payload<'a, F: Family>(
    skb: &'a mut Skb,
    control: &Conn<F>,
    offset: usize,
    wanted: bool,
) -> Result<&'a [u8], Untranslatable> {
    if !skb.checksum_is_valid(offset, TCP) {
        return Err(Untranslatable);
    }
    if !wanted || control.bits().state() != TcpState::Established.number() {
        return Ok(&[]);
    }
    Ok(skb.tcp_payload(offset)?)
}

/// Looks at a request of a control connection before it is translated. `offset` is that of the TCP
/// header in bytes. C: `ip_vs_ftp_in()`.
///
/// # Errors
///
/// The packet must be dropped: its checksum is wrong, or there is no memory or no room for the data
/// connection.
#[cold]
pub(crate) fn request<'rcu, F: Family>(
    skb: &mut Skb,
    control: &Conn<F>,
    offset: usize,
    netns: &'rcu Netns,
    rcu: ReadLocked<'rcu>,
) -> Result<(), Untranslatable> {
    let Some(session) = control.session() else {
        return Ok(());
    };
    let command = ftp::command::<F::Addr>(payload(skb, control, offset, true)?);
    let (addr, port) = match command {
        None => return Ok(()),
        Some(Command::Passive) => {
            session.ask(Awaited::Passive);
            return Ok(());
        }
        Some(Command::ExtendedPassive) => {
            session.ask(Awaited::ExtendedPassive);
            return Ok(());
        }
        Some(Command::Active(addr, port)) => (addr, port),
    };
    session.ask(Awaited::Nothing);
    let before = |port: Be16| Be16::new(port.host().wrapping_sub(1));
    let flow = Flow {
        protocol: TCP,
        src: addr,
        src_port: port,
        dst: control.vaddr(),
        dst_port: before(control.vport()),
    };
    if let Some(Found::Request(conn)) = find::<F>(netns, &flow, rcu) {
        listen(netns, conn);
        return Ok(());
    }
    let server = (control.daddr(), before(control.dport()));
    match data_conn(netns, control, session, flow, server, 0, rcu) {
        Some(_) => Ok(()),
        None => Err(Untranslatable),
    }
}

/// Looks at an answer of a control connection before it is translated: replaces the address and port
/// of the server by those of the virtual service. `offset` is that of the TCP header in bytes. C:
/// `ip_vs_ftp_out()`.
///
/// Each command has one reply that is changed. If that is sent again, it is changed again in the same
/// way; the C module lets it pass.
///
/// # Errors
///
/// The packet must be dropped: its checksum is wrong, there is no memory or no room for the data
/// connection, or connection tracking has no entry that it could be changed by.
#[cold]
pub(crate) fn answer<'rcu, F: Family>(
    skb: &mut Skb,
    control: &Conn<F>,
    offset: usize,
    netns: &'rcu Netns,
    rcu: ReadLocked<'rcu>,
) -> Result<(), Untranslatable> {
    let Some(session) = control.session() else {
        return Ok(());
    };
    let header: [u8; TCP_HEADER_LEN] = skb.header(offset).ok_or(Untranslatable)?;
    let seq = TcpHeader::sequence(&header);
    let again = session.changed().filter(|reply| reply.seq == seq);
    let awaited = again.map_or(session.awaited(), |reply| reply.kind);
    let payload = payload(skb, control, offset, awaited != Awaited::Nothing)?;
    let found: Option<Passive<F::Addr>> = match awaited {
        Awaited::Nothing => None,
        Awaited::Passive => ftp::passive(payload),
        Awaited::ExtendedPassive => ftp::extended_passive(payload),
    };
    let Some(Passive { addr, port, text }) = found else {
        return Ok(());
    };
    let vport = match again {
        Some(reply) => reply.vport,
        None => {
            let server = (addr.unwrap_or(control.daddr()), port);
            let conn = announced(netns, control, session, server, rcu).ok_or(Untranslatable)?;
            conn.vport()
        }
    };
    let new = match (awaited, control.vaddr().into()) {
        (Awaited::Passive, Addr::V4(addr)) => Text::passive(addr, vport),
        _ => Text::extended_passive(vport),
    };
    // Sequence numbers need no adjustment if the length stays.
    let same_len = text.end.checked_sub(text.start) == Some(new.as_bytes().len());
    let can_change = skb
        .conntrack_entry()
        .is_some_and(|entry| same_len || entry.has_seqadj());
    if !can_change {
        // As with C, it passes unchanged when it is sent again.
        session.set_answered();
        return Err(Untranslatable);
    }
    if !session.mangler().mangle(skb, offset, text, new.as_bytes()) {
        return Err(Untranslatable);
    }
    if again.is_none() {
        session.set_changed(Changed {
            seq,
            kind: awaited,
            vport,
        });
        session.set_answered();
        let to = (control.vaddr().ip(), vport.host());
        nf_nat::expect::<Ftp>(skb, TCP, control.caddr().ip(), to);
    }
    if skb.summed() == Summed::Complete {
        skb.set_checksum_unnecessary();
    }
    Ok(())
}
