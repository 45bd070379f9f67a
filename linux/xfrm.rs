// SPDX-License-Identifier: GPL-2.0

//! IPsec output policies.
//!
//! A packet that leaves this host meets the policies of its namespace between routing and output.
//! They are searched by its flow, and either leave its route as it is, refuse the packet, or give
//! it a bundle: a route by which it is transformed (encrypted, as a rule) before it is sent on.
//!
//! C header: [`include/net/xfrm.h`](srctree/include/net/xfrm.h)

use crate::{
    bindings,
    net::Net,
    netdevice::Device,
    rcu::ReadLocked,
    route::{
        Owned,
        Route, //
    },
    skb::Skb, //
};
use core::{
    net::IpAddr,
    ptr, //
};
use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*, //
};

/// The packet that leaves this host, if it is not the present one.
#[derive(Clone, Copy, Debug)]
pub enum Sent {
    /// The packet is sent unchanged.
    AsIs,
    /// The packet is sent with another destination.
    To {
        /// The address, of the packet's own family.
        addr: IpAddr,
        /// The port; `None` if the packet has no ports.
        port: Option<u16>,
    },
    /// Inside of another packet.
    In {
        /// Source address of the outer header.
        src: IpAddr,
        /// Destination address of the outer header.
        dst: IpAddr,
        /// Protocol number of the outer header.
        protocol: u8,
        /// Type of service or traffic class of the outer header.
        tos: u8,
        /// Destination port, if the outer packet is one of UDP whose source port is made of the
        /// inner packet's flow.
        udp: Option<u16>,
    },
}

/// Returns whether packets that leave `net` may meet a policy: there is one for output, be it that of a
/// socket, or packets that meet none are refused. If not, [`lookup`] and [`forward`] change nothing.
/// Any context.
#[inline]
pub fn has_output_policies(net: &Net) -> bool {
    #[cfg(CONFIG_XFRM)]
    {
        const OUT: usize = bindings::XFRM_POLICY_OUT as usize;
        const OUT_OF_SOCKETS: usize = OUT + bindings::XFRM_POLICY_MAX as usize;
        let net = net.as_ptr();
        // SAFETY: The namespace is valid. The fields change at any time, each as a whole.
        let (count, of_sockets, default) = unsafe {
            (
                ptr::read_volatile(&raw const (*net).xfrm.policy_count[OUT]),
                ptr::read_volatile(&raw const (*net).xfrm.policy_count[OUT_OF_SOCKETS]),
                ptr::read_volatile(&raw const (*net).xfrm.policy_default[OUT]),
            )
        };
        (count | of_sockets) != 0 || u32::from(default) == bindings::XFRM_USERPOLICY_BLOCK
    }
    #[cfg(not(CONFIG_XFRM))]
    {
        let _ = net;
        false
    }
}

/// Finds the bundle for a packet that is about to leave along `rt`, `None` if it may leave as it
/// is. The packet need not have the route, nor be what it will be. Per-socket policies count if it
/// comes from a socket of this host. C: what `__xfrm_route_forward()` and `ip_route_me_harder()` do
/// with a packet that is complete.
///
/// # Context
///
/// Any that may take `_bh` locks, in an RCU read-side critical section. `GFP_ATOMIC`.
///
/// # Errors
///
/// A policy refuses the packet, what it asks for is not there (yet), or there is no memory. The
/// packet must not be sent.
#[cold]
pub fn lookup<R: Route>(
    net: &Net,
    skb: &mut Skb,
    rt: &R,
    sent: Sent,
    rcu: ReadLocked<'_>,
) -> Result<Option<Owned<R>>> {
    if rt.is_exempt() {
        return Ok(None);
    }
    let mut flow = Flow::of(net, skb)?;
    match sent {
        Sent::AsIs => (),
        Sent::To { addr, port } => {
            flow.set_destination(addr);
            if let Some(port) = port {
                flow.ports().dport = port.to_be();
            }
        }
        Sent::In {
            src,
            dst,
            protocol,
            tos,
            udp,
        } => {
            flow = Flow::around(flow, src, dst, protocol, tos);
            if let Some(port) = udp {
                // SAFETY: Packet and namespace are valid.
                let sport =
                    unsafe { bindings::linux_udp_flow_src_port(net.as_ptr(), skb.as_ptr()) };
                let dport = port.to_be();
                *flow.ports() = bindings::flowi_uli__bindgen_ty_1 { dport, sport };
            }
        }
    }
    flow.common().flowic_oif = rt.device(rcu).map_or(0, Device::index);
    // Of a packet that came in, the socket is the one that it was taken to be for, if any.
    let sk = match skb.device() {
        Some(_) => ptr::null(),
        // SAFETY: The packet is valid; on its way out, its socket is null or its sender.
        None => unsafe { (*skb.as_ptr()).sk },
    };
    let given = Owned::of(rt).ok_or(EHOSTUNREACH)?;
    let before = given.as_ptr();
    // SAFETY: All is valid for the call, which takes the reference to the route and gives another,
    // or none in case of an error.
    let after = unsafe {
        bindings::linux_xfrm_lookup(net.as_ptr(), given.into_raw(), &raw mut flow.flow, sk)
    };
    let after = from_err_ptr(after)?;
    // SAFETY: A reference was given along with the pointer, which is that of the route, or of a
    // bundle of the same family, which begins with a route of that.
    let after = unsafe { Owned::<R>::from_raw(after) }.ok_or(EHOSTUNREACH)?;
    Ok((after.as_ptr() != before).then_some(after))
}

/// Gives a packet, which is as it will leave this host, the bundle of a policy in place of its
/// route, if there is one. It keeps a bundle that it has, and a route to this host. If it is an ICMP error that no policy
/// matches, those for the packet that it is about may match. C: `xfrm_route_forward()`.
///
/// # Context
///
/// As for [`lookup`].
///
/// # Errors
///
/// As for [`lookup`]. The packet must not be sent, and may have no route any more.
#[cold]
pub fn forward(skb: &mut Skb) -> Result {
    let Some(route) = skb.route() else {
        return Err(EHOSTUNREACH);
    };
    // SAFETY: A packet lives in a read-side critical section, and it is borrowed for all of this.
    let rcu = unsafe { ReadLocked::assume() };
    if route.is_local(rcu) || route.is_exempt() || route.is_bundle() {
        return Ok(());
    }
    // The namespace is taken from the packet's device, which a packet of this host does not have
    // yet.
    let had_device = skb.device().is_some();
    skb.set_device_from_route();
    if skb.device().is_none() {
        return Err(EHOSTUNREACH);
    }
    // SAFETY: The packet is valid, and has a device and a route of its family. Whatever it has as a
    // route afterwards is one of its family, with a reference, or none.
    let passes = unsafe {
        if skb.is_ipv6() {
            bindings::linux_xfrm6_route_forward(skb.as_ptr())
        } else {
            bindings::linux_xfrm4_route_forward(skb.as_ptr())
        }
    };
    if !had_device {
        skb.set_device(ptr::null_mut());
    }
    if passes && skb.route().is_some() {
        Ok(())
    } else {
        Err(EPERM)
    }
}

/// The key that policies are searched by.
///
/// # Invariants
///
/// All bytes are initialised.
struct Flow {
    flow: bindings::flowi,
    is_ipv6: bool,
}

impl Flow {
    /// Returns the flow of a packet as it is.
    fn of(net: &Net, skb: &Skb) -> Result<Self> {
        let is_ipv6 = skb.is_ipv6();
        // INVARIANT: The default is all zeros, and C leaves nothing uninitialised.
        let mut flow = bindings::flowi::default();
        let family = if is_ipv6 {
            bindings::AF_INET6
        } else {
            bindings::AF_INET
        };
        // SAFETY: All is valid for the call, which reads the packet.
        to_result(unsafe {
            bindings::linux_xfrm_decode_session(net.as_ptr(), skb.as_ptr(), &mut flow, family)
        })?;
        Ok(Self { flow, is_ipv6 })
    }

    /// Returns the flow of a packet around that of `inner`, whose mark and security label it has.
    fn around(mut inner: Self, src: IpAddr, dst: IpAddr, protocol: u8, tos: u8) -> Self {
        let inner = *inner.common();
        // INVARIANT: The default is all zeros.
        let mut outer = Self {
            flow: bindings::flowi::default(),
            is_ipv6: dst.is_ipv6(),
        };
        outer.set_source(src);
        outer.set_destination(dst);
        let common = outer.common();
        common.flowic_mark = inner.flowic_mark;
        common.flowic_secid = inner.flowic_secid;
        common.flowic_proto = protocol;
        // Only flows of IPv4 have one.
        if dst.is_ipv4() {
            common.flowic_dscp = tos & bindings::INET_DSCP_MASK as u8;
        }
        outer
    }

    /// Returns the part that flows of both families have.
    fn common(&mut self) -> &mut bindings::flowi_common {
        // SAFETY: By the type invariant; each variant of the union begins with it.
        unsafe { &mut self.flow.u.__fl_common }
    }

    /// Returns the ports, of a flow that has ports.
    fn ports(&mut self) -> &mut bindings::flowi_uli__bindgen_ty_1 {
        // SAFETY: By the type invariant, each variant of the unions is initialised plain data.
        unsafe {
            if self.is_ipv6 {
                &mut self.flow.u.ip6.uli.ports
            } else {
                &mut self.flow.u.ip4.uli.ports
            }
        }
    }

    fn set_source(&mut self, addr: IpAddr) {
        match addr {
            IpAddr::V4(addr) => self.flow.u.ip4.saddr = addr.to_bits().to_be(),
            IpAddr::V6(addr) => self.flow.u.ip6.saddr.in6_u.u6_addr8 = addr.octets(),
        }
    }

    fn set_destination(&mut self, addr: IpAddr) {
        match addr {
            IpAddr::V4(addr) => self.flow.u.ip4.daddr = addr.to_bits().to_be(),
            IpAddr::V6(addr) => self.flow.u.ip6.daddr.in6_u.u6_addr8 = addr.octets(),
        }
    }
}
