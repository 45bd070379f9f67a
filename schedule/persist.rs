// SPDX-License-Identifier: GPL-2.0

//! Schedules packets of persistent services: to the server that the client's network was assigned
//! to. C: `ip_vs_sched_persist()`.

use super::{
    connect,
    is_one_packet,
    leave,
    one_packet,
    sched_request,
    Request,
    Scheduled,
    INITIAL_TIMEOUT, //
};
use crate::{
    conn::{
        template::{
            Control,
            NewTemplate,
            Template,
            TemplateKey, //
            TemplateRef,
        },
        NewConn, //
    },
    family::Family,
    log,
    master,
    netns::{
        services::FTPPORT,
        Netns, //
    },
    pe::PeData,
    service::dest::Dest,
    service::Service, //
};
use ipvs_core::{
    flow::Flow,
    net::{
        Address,
        Be16, //
    },
};
use linux::{
    expiring::Refused,
    netfilter::Verdict,
    rcu::{
        Borrowed,
        ReadLocked, //
    },
    skb::Skb, //
};

/// The reason why a packet gets no template.
enum Missing {
    /// The scheduler found no server.
    NoServer,
    /// There is no memory, or no room for another connection; or the service's persistence engine
    /// can't handle the packet.
    Refused,
}

/// Makes a connection to the server of the packet's template. Without a template, makes one with a
/// server that the scheduler selects.
pub(super) fn schedule<'rcu, F: Family>(
    netns: &'rcu Netns,
    mut skb: Skb,
    request: &Request<'_, F>,
    service: Borrowed<'rcu, Service>,
    rcu: ReadLocked<'rcu>,
) -> Scheduled<'rcu, F> {
    let &Request { protocol, flow, .. } = request;
    let template = match template(netns, &mut skb, service.get(), request, rcu) {
        Ok(template) => template,
        Err(Missing::NoServer) => return leave(netns, skb, request, service, rcu),
        Err(Missing::Refused) => return Scheduled::Verdict(Verdict::Drop(skb)),
    };
    let Some(dest) = template.get().dest() else {
        return Scheduled::Verdict(Verdict::Drop(skb));
    };
    template.restart();
    let new = NewConn {
        protocol,
        flow: *flow,
        hash: request.hash,
        daddr: dest.addr(),
        dport: match dest.port() {
            Be16::ZERO => flow.dst_port,
            port if flow.dst_port == service.port() => port,
            _ => flow.dst_port,
        },
        flags: dest.conn_flags(),
        dest: Some(dest.clone()),
        control: None,
        timeout: INITIAL_TIMEOUT,
    };
    if is_one_packet(service.get(), Some(dest), protocol) {
        template.get().count_packet();
        if netns.settings.has_sync_master() {
            master::one_packet(netns, template.get(), rcu);
        }
        return one_packet(netns, service, skb, new, rcu);
    }
    let new = NewConn {
        control: Some(Control::new(template.get())),
        ..new
    };
    match connect(netns, service, new, request.trigger, rcu) {
        Some((conn, is_new)) => {
            if is_new {
                template.hand_over();
            }
            Scheduled::Conn(skb, conn)
        }
        None => Scheduled::Verdict(Verdict::Drop(skb)),
    }
}

/// Returns the key of the template for a client's flow. The source is the client's network, with
/// port 0. The destination is the first of these that applies:
///
/// - the flow's address and port, if this is the service's port and not that of FTP;
/// - the firewall mark as address, with port 0 and protocol 0, for a firewall mark service, unless
///   this is the port that its user gave;
/// - the flow's address with port 0: the service is for all ports, or for FTP, whose data
///   connections may go to any port.
fn key<F: Family>(service: &Service, flow: &Flow<F::Addr>) -> TemplateKey<F> {
    let all = Flow {
        protocol: flow.protocol,
        src: flow.src.network(service.netmask()),
        src_port: Be16::ZERO,
        dst: flow.dst,
        dst_port: Be16::ZERO,
    };
    if is_for_its_port(service, flow) {
        return Flow {
            dst_port: flow.dst_port,
            ..all
        };
    }
    match service.fwmark() {
        mark if mark != 0 && flow.dst_port != service.port() => Flow {
            protocol: 0,
            dst: F::Addr::of_mark(mark),
            ..all
        },
        _ => all,
    }
}

/// Returns whether the template for a flow is for the service's port alone.
fn is_for_its_port<A>(service: &Service, flow: &Flow<A>) -> bool {
    flow.dst_port == service.port() && service.port() != FTPPORT
}

fn template<'rcu, F: Family>(
    netns: &'rcu Netns,
    skb: &mut Skb,
    service: &Service,
    request: &Request<'_, F>,
    rcu: ReadLocked<'rcu>,
) -> Result<TemplateRef<'rcu, F>, Missing> {
    let flow = request.flow;
    let key = key::<F>(service, flow);
    let pe = pe_data::<F>(service, skb)?;
    if let Some(template) = Template::find(&netns.state::<F>().templates, rcu, &key, pe.as_ref()) {
        if template.get().check(&netns.settings, None) {
            return Ok(template);
        }
    }
    let dest = service
        .schedule(netns.net(), &sched_request(request), rcu)
        .ok_or(Missing::NoServer)?;
    let dport = if is_for_its_port(service, flow) {
        dest.port()
    } else {
        Be16::ZERO
    };
    new(service, key, pe, dest, dport)
        .and_then(|new| make(netns, new, None, rcu))
        .ok_or(Missing::Refused)
}

/// Reads the data of the service's persistence engine from a packet; `None` if the service has no
/// engine. C: `ip_vs_conn_fill_param_persist()`.
///
/// # Errors
///
/// [`Missing::Refused`] if the engine can't handle the packet.
fn pe_data<F: Family>(service: &Service, skb: &mut Skb) -> Result<Option<PeData>, Missing> {
    let Some(kind) = service.pe() else {
        return Ok(None);
    };
    let found = PeData::read::<F>(kind, skb).ok_or(Missing::Refused)?;
    Ok(Some(found))
}

/// Returns the initial values of a template. `None` if the server has just been removed.
fn new<F: Family>(
    service: &Service,
    key: TemplateKey<F>,
    pe: Option<PeData>,
    dest: Borrowed<'_, Dest>,
    dport: Be16,
) -> Option<NewTemplate<F>> {
    Some(NewTemplate {
        key,
        pe,
        dest: Some(dest.share()?),
        daddr: F::Addr::default(),
        dport,
        one_packet: service.is_one_packet(),
        synced: false,
        timeout: service.timeout(),
    })
}

/// Makes a template, or returns one that another packet has just made, whose server must be
/// `wanted` if that is given. `None` if there is no memory or no room.
fn make<'rcu, F: Family>(
    netns: &Netns,
    new: NewTemplate<F>,
    wanted: Option<&Dest>,
    rcu: ReadLocked<'rcu>,
) -> Option<TemplateRef<'rcu, F>> {
    let settings = &netns.settings;
    publish(netns, new, netns.conn_max(), rcu, |other| {
        other.check(settings, wanted)
    })
}

/// Makes a template that another director has told of, if need be in the place of `old`, or returns one
/// that was just made meanwhile. `None` if there is no memory or no room.
pub(crate) fn synced<'rcu, F: Family>(
    netns: &Netns,
    new: NewTemplate<F>,
    old: Option<&Template<F>>,
    rcu: ReadLocked<'rcu>,
) -> Option<TemplateRef<'rcu, F>> {
    let most = netns.conn_max().saturating_add(usize::from(old.is_some()));
    publish(netns, new, most, rcu, |other| {
        old.is_none_or(|old| !core::ptr::eq(old, other))
    })
}

fn publish<'rcu, F: Family>(
    netns: &Netns,
    new: NewTemplate<F>,
    most: usize,
    rcu: ReadLocked<'rcu>,
    serves: impl Fn(&Template<F>) -> bool,
) -> Option<TemplateRef<'rcu, F>> {
    let state = netns.state::<F>();
    let template = Template::publish(&state.templates, rcu, new, most, serves)
        .inspect_err(|refused| {
            if matches!(refused, Refused::NoMemory) {
                log::no_memory(netns.net(), "a template");
            }
        })
        .ok()
        .flatten()?;
    if state.templates.unbalanced(rcu) {
        state.conn_resize.hurry();
    }
    Some(template)
}

/// Finds or makes the template for a connection that a server starts, which assigns the client's
/// network to that server. C: `ip_vs_new_conn_out()`.
pub(super) fn of_server<'rcu, F: Family>(
    netns: &'rcu Netns,
    skb: &mut Skb,
    service: &Service,
    dest: Borrowed<'rcu, Dest>,
    request: &Flow<F::Addr>,
    dport: Be16,
    rcu: ReadLocked<'rcu>,
) -> Option<TemplateRef<'rcu, F>> {
    let key = Flow {
        src: request.src.network(service.netmask()),
        src_port: Be16::ZERO,
        ..*request
    };
    let pe = pe_data::<F>(service, skb).ok()?;
    if let Some(template) = Template::find(&netns.state::<F>().templates, rcu, &key, pe.as_ref()) {
        if template.get().check(&netns.settings, Some(dest.get())) {
            return Some(template);
        }
    }
    let new = new(service, key, pe, dest, dport)?;
    make(netns, new, Some(dest.get()), rcu)
}
