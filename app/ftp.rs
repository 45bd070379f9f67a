// SPDX-License-Identifier: GPL-2.0

//! FTP: replaces the server's address in replies, and makes the data connections that commands and
//! replies announce. C: `ip_vs_ftp.c`.
//!
//! `ipvs_core/ftp.rs` has the other half: what commands and replies say.

use crate::{
    conn::{
        self,
        session::{
            Awaited,
            Changed,
            Place,
            Session, //
        },
        Conn,
        Found,
        NewConn,
        PublishedConn, //
    },
    family::{
        Family,
        V4,
        V6, //
    },
    netns::Netns,
    nfct,
    packet::Packet,
    proto::nat::Untranslatable,
    schedule::{
        self,
        SchedTrigger, //
    },
};
use core::net::IpAddr;
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
        Be128,
        Be16,
        Be32, //
    },
    netlink::CONN_F_NFCT,
    proto::Protocol,
    tcp::TcpState,
    transport::{
        TcpHeader,
        TCP_HEADER_LEN, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
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
    let addr = |addr: IpAddr| match addr {
        IpAddr::V4(addr) => F::Addr::of(Be32::from_bytes(addr.octets()).into()),
        IpAddr::V6(addr) => F::Addr::of(Be128::from_bytes(addr.octets()).into()),
    };
    let ((src, src_port), (dst, dst_port)) = (original.src(), original.dst());
    let flow = Flow {
        protocol: original.protocol(),
        src: addr(src)?,
        src_port: Be16::new(src_port),
        dst: addr(dst)?,
        dst_port: Be16::new(dst_port),
    };
    let conn = match find::<F>(netns, &flow, rcu) {
        Some(Found::Answer(conn)) => {
            reply.set_dst(nfct::ip_addr(conn.vaddr()), Some(conn.vport().host()));
            conn
        }
        Some(Found::Request(conn)) => {
            reply.set_src(nfct::ip_addr(conn.daddr()), Some(conn.dport().host()));
            conn
        }
        None => return None,
    };
    conn.is_nat().then_some(reply)
}

/// Finds the connection of a flow, which may be one that waits for the client's port.
fn find<'rcu, F: Family>(
    netns: &'rcu Netns,
    flow: &Flow<F::Addr>,
    rcu: ReadLocked<'rcu>,
) -> Option<Found<'rcu, F>> {
    let state = netns.state::<F>();
    let found = Conn::find(&state.conns, flow.hash(&state.conn_key), rcu, flow);
    found.or_else(|| {
        if !state.conns.owner().has_no_cport() {
            return None;
        }
        waiting::<F>(netns, flow, rcu).map(Found::Request)
    })
}

/// Finds the connection to the destination of a client's flow that waits for the client's port.
fn waiting<'rcu, F: Family>(
    netns: &'rcu Netns,
    flow: &Flow<F::Addr>,
    rcu: ReadLocked<'rcu>,
) -> Option<&'rcu PublishedConn<F>> {
    let state = netns.state::<F>();
    let flow = Flow {
        src_port: Be16::ZERO,
        ..*flow
    };
    match Conn::find(&state.conns, flow.hash(&state.conn_key), rcu, &flow) {
        Some(Found::Request(conn)) if conn.bits().no_cport() => Some(conn),
        _ => None,
    }
}

/// Finds the data connection that waits for the client's port, which `packet` says, if there is one, and
/// puts one with that port in its place. C: `ip_vs_conn_fill_cport()`.
///
/// The new one is found before the old one isn't any more, so that no packet finds none. Of two
/// clients' ports at the same time, both may get a connection, to the same port of the server.
///
/// # Errors
///
/// There is no memory or no room for the new one; the packet must be dropped.
#[cold]
pub(crate) fn with_cport<'rcu, F: Family>(
    netns: &'rcu Netns,
    packet: &Packet<F>,
    rcu: ReadLocked<'rcu>,
) -> Result<Option<&'rcu PublishedConn<F>>, Untranslatable> {
    let Some(old) = waiting::<F>(netns, &packet.flow, rcu) else {
        // Another packet may have put one in its place since it was looked for.
        let conns = &netns.state::<F>().conns;
        return Ok(match Conn::find(conns, packet.hash, rcu, &packet.flow) {
            Some(Found::Request(conn)) => Some(conn),
            _ => None,
        });
    };
    let conn = in_place_of(netns, old, packet, rcu).ok_or(Untranslatable)?;
    conn::expire_now(old, netns.state::<F>().conns.owner(), true);
    Ok(Some(conn))
}

fn in_place_of<'rcu, F: Family>(
    netns: &'rcu Netns,
    old: &PublishedConn<F>,
    packet: &Packet<F>,
    rcu: ReadLocked<'rcu>,
) -> Option<&'rcu PublishedConn<F>> {
    let place = Place::new(old.parent()?)?;
    let new = NewConn {
        protocol: old.protocol(),
        flow: packet.flow,
        hash: packet.hash,
        daddr: old.daddr().into(),
        dport: old.dport(),
        dest: Some(old.borrow_dest(rcu)?.share()?),
        control: None,
        parent: Some(place.session()),
        flags: conn::flags_with_cport(old.bits()),
        timeout: schedule::INITIAL_TIMEOUT,
    };
    publish(netns, new, place, SchedTrigger::Request, rcu)
}

/// Publishes a data connection that listens. One that another packet has just made begins to listen
/// again. C: `ip_vs_tcp_conn_listen()`.
fn publish<'rcu, F: Family>(
    netns: &'rcu Netns,
    new: NewConn<F>,
    place: Place<'_, F>,
    trigger: SchedTrigger,
    rcu: ReadLocked<'rcu>,
) -> Option<&'rcu PublishedConn<F>> {
    let (conn, is_new) = schedule::publish(netns, new, trigger, rcu)?;
    if is_new {
        place.hand_over();
    }
    listen(netns, conn);
    Some(conn)
}

fn listen<F: Family>(netns: &Netns, conn: &PublishedConn<F>) {
    conn.update(|bits| bits.with_state(TcpState::Listen.number()));
    conn::restart_timer(conn, netns.timeouts.tcp(TcpState::Listen));
}

/// Makes a data connection of a control connection, to its server, with additional flags.
fn data_conn<'rcu, F: Family>(
    netns: &'rcu Netns,
    control: &Conn<F>,
    session: &Arc<Session<F>>,
    flow: Flow<F::Addr>,
    server: (F::Addr, Be16),
    flags: u32,
    rcu: ReadLocked<'rcu>,
) -> Option<&'rcu PublishedConn<F>> {
    let place = Place::new(session)?;
    let dest = control.borrow_dest(rcu)?;
    let new = NewConn {
        protocol: Protocol::Tcp,
        flow,
        hash: flow.hash(&netns.state::<F>().conn_key),
        daddr: server.0.into(),
        dport: server.1,
        flags: dest.conn_flags() | CONN_F_NFCT | flags,
        dest: Some(dest.share()?),
        control: None,
        parent: Some(place.session()),
        timeout: schedule::INITIAL_TIMEOUT,
    };
    // One of the same client and port that waits for another server is not this one.
    publish(netns, new, place, SchedTrigger::Replacement, rcu)
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
        let to = (nfct::ip_addr(control.vaddr()), vport.host());
        nf_nat::expect::<Ftp>(skb, TCP, nfct::ip_addr(control.caddr()), to);
    }
    if skb.summed() == Summed::Complete {
        skb.set_checksum_unnecessary();
    }
    Ok(())
}

/// Finds or makes the connection that waits for the client to connect to a server that has announced
/// its address and port.
fn announced<'rcu, F: Family>(
    netns: &'rcu Netns,
    control: &Conn<F>,
    session: &Arc<Session<F>>,
    server: (F::Addr, Be16),
    rcu: ReadLocked<'rcu>,
) -> Option<&'rcu PublishedConn<F>> {
    let state = netns.state::<F>();
    let answers = Flow {
        protocol: TCP,
        src: server.0,
        src_port: server.1,
        dst: control.caddr(),
        dst_port: Be16::ZERO,
    };
    let hash = answers.hash(&state.conn_key);
    if let Some(Found::Answer(conn)) = Conn::find(&state.conns, hash, rcu, &answers) {
        listen(netns, conn);
        return Some(conn);
    }
    let flow = Flow {
        protocol: TCP,
        src: control.caddr(),
        src_port: Be16::ZERO,
        dst: control.vaddr(),
        dst_port: server.1,
    };
    data_conn(netns, control, session, flow, server, conn::NO_CPORT, rcu)
}
