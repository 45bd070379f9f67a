// SPDX-License-Identifier: GPL-2.0

//! Servers in netlink requests (C: `ip_vs_genl_parse_dest()`, and the checks of `ip_vs_add_dest()`
//! and `ip_vs_edit_dest()` that need no state).

use super::{
    attr::{
        parse_nest,
        policy, //
        required,
    },
    check_family,
    consts::*,
    Addr,
    Attr,
    AttrError,
    Errno,
    Kind,
    Policy, //
};
use crate::net::Be16;

/// Policies for the attributes of a server (C: `ip_vs_dest_policy`).
pub const POLICY: [Policy; ATTRS_DEST] = [
    Policy::ANY,
    policy!(IPVS_DEST_ATTR_ADDR, Kind::AtMost(16)),
    policy!(IPVS_DEST_ATTR_PORT, Kind::U16),
    policy!(IPVS_DEST_ATTR_FWD_METHOD, Kind::U32),
    policy!(IPVS_DEST_ATTR_WEIGHT, Kind::U32),
    policy!(IPVS_DEST_ATTR_U_THRESH, Kind::U32),
    policy!(IPVS_DEST_ATTR_L_THRESH, Kind::U32),
    policy!(IPVS_DEST_ATTR_ACTIVE_CONNS, Kind::U32),
    policy!(IPVS_DEST_ATTR_INACT_CONNS, Kind::U32),
    policy!(IPVS_DEST_ATTR_PERSIST_CONNS, Kind::U32),
    policy!(IPVS_DEST_ATTR_STATS, Kind::Nested),
    policy!(IPVS_DEST_ATTR_ADDR_FAMILY, Kind::U16),
    Policy::ANY,
    policy!(IPVS_DEST_ATTR_TUN_TYPE, Kind::U8),
    policy!(IPVS_DEST_ATTR_TUN_PORT, Kind::U16),
    policy!(IPVS_DEST_ATTR_TUN_FLAGS, Kind::U16),
];

/// The identification of a server within its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestId {
    /// The address family as sent; 0 stands for the service's.
    pub family: u16,
    /// Address.
    pub addr: Addr,
    /// Port.
    pub port: Be16,
}

impl DestId {
    /// Returns the server's family. `service` is the family of its service. `ipv6` tells whether
    /// the kernel supports IPv6.
    ///
    /// # Errors
    ///
    /// `EAFNOSUPPORT` for any other family.
    pub fn family(&self, service: u16, ipv6: bool) -> Result<u16, AttrError> {
        let family = match self.family {
            0 => service,
            family => family,
        };
        check_family(family, ipv6, None).map_err(|error| AttrError {
            about: Some(IPVS_DEST_ATTR_ADDR_FAMILY),
            ..error
        })?;
        Ok(family)
    }
}

/// The settings of a server to add or to edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestSpec {
    /// The server's identification.
    pub id: DestId,
    /// Forwarding method, one of `FWD_*` (0 to 7, not checked).
    pub fwd_method: u32,
    /// Each datagram to the server is a connection of its own. This can't be set by netlink.
    pub one_packet: bool,
    /// Connection tracking keeps entries for connections to the server, whatever the namespace's
    /// setting. This can't be set by netlink.
    pub nfct: bool,
    /// The weight; not negative if [`DestSpec::check`] has succeeded.
    pub weight: i32,
    /// Upper threshold, 0 for none.
    pub upper: u32,
    /// Lower threshold, 0 for the default.
    pub lower: u32,
    /// Tunnel type, one of `TUNNEL_*` (not checked).
    pub tun_type: u8,
    /// Tunnel port.
    pub tun_port: Be16,
    /// Tunnel flags.
    pub tun_flags: u16,
}

type Found<'a> = [Option<Attr<'a>>; ATTRS_DEST];

/// Parses which server a request is about from its [`IPVS_CMD_ATTR_DEST`].
///
/// # Errors
///
/// `EINVAL` if an attribute is missing or malformed.
pub fn parse_id(nest: Option<Attr<'_>>) -> Result<DestId, AttrError> {
    Ok(parse_common(nest)?.2)
}

/// Parses a server with its settings from the request's [`IPVS_CMD_ATTR_DEST`].
///
/// # Errors
///
/// `EINVAL` if an attribute is missing or malformed.
pub fn parse(nest: Option<Attr<'_>>) -> Result<DestSpec, AttrError> {
    let (nest, attrs, id) = parse_common(nest)?;
    let [_, _, _, fwd_method, weight, upper, lower, _, _, _, _, _, _, tun_type, tun_port, tun_flags] =
        attrs;

    let fwd_method = required(
        fwd_method,
        nest,
        IPVS_DEST_ATTR_FWD_METHOD,
        "server has no IPVS_DEST_ATTR_FWD_METHOD",
    )?;
    let weight = required(
        weight,
        nest,
        IPVS_DEST_ATTR_WEIGHT,
        "server has no IPVS_DEST_ATTR_WEIGHT",
    )?;
    let upper = required(
        upper,
        nest,
        IPVS_DEST_ATTR_U_THRESH,
        "server has no IPVS_DEST_ATTR_U_THRESH",
    )?;
    let lower = required(
        lower,
        nest,
        IPVS_DEST_ATTR_L_THRESH,
        "server has no IPVS_DEST_ATTR_L_THRESH",
    )?;

    Ok(DestSpec {
        id,
        fwd_method: fwd_method.u32() & FWD_MASK,
        one_packet: false,
        nfct: false,
        weight: weight.u32() as i32,
        upper: upper.u32(),
        lower: lower.u32(),
        tun_type: tun_type.map_or(0, |attr| attr.u8()),
        tun_port: tun_port.map_or(Be16::ZERO, |attr| attr.be16()),
        tun_flags: tun_flags.map_or(0, |attr| attr.u16()),
    })
}

#[inline(always)]
fn parse_common<'a>(nest: Option<Attr<'a>>) -> Result<(Attr<'a>, Found<'a>, DestId), AttrError> {
    let (nest, attrs) = parse_nest(
        nest,
        &POLICY,
        IPVS_CMD_ATTR_DEST,
        "request has no IPVS_CMD_ATTR_DEST",
    )?;
    let [_, addr, port, _, _, _, _, _, _, _, _, family, ..] = attrs;

    let addr = required(
        addr,
        nest,
        IPVS_DEST_ATTR_ADDR,
        "server has no IPVS_DEST_ATTR_ADDR",
    )?;
    let port = required(
        port,
        nest,
        IPVS_DEST_ATTR_PORT,
        "server has no IPVS_DEST_ATTR_PORT",
    )?;
    let id = DestId {
        family: family.map_or(0, |attr| attr.u16()),
        addr: addr.addr(),
        port: port.be16(),
    };
    Ok((nest, attrs, id))
}

impl DestSpec {
    /// Checks whether a server of the address family `family` can be added to a service of the
    /// family `service`. If the families differ, the server must be reached through a tunnel, and
    /// no sync daemon may be running.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it can't.
    pub fn check_mixed(
        &self,
        family: u16,
        service: u16,
        sync_running: bool,
    ) -> Result<(), AttrError> {
        if family == service {
            return Ok(());
        }
        if sync_running {
            return refuse(
                Errno::INVAL,
                IPVS_DEST_ATTR_ADDR_FAMILY,
                "a sync daemon runs, which can't be with servers of another family",
            );
        }
        if self.fwd_method != FWD_TUNNEL {
            return refuse(
                Errno::INVAL,
                IPVS_DEST_ATTR_FWD_METHOD,
                "a server of another family needs forwarding through a tunnel",
            );
        }
        Ok(())
    }

    /// Validates the settings. To be called after all checks of address families and before the
    /// server is looked up, so that errors take precedence as in C.
    ///
    /// # Errors
    ///
    /// `ERANGE` for a negative weight or a lower threshold above the upper one, `EINVAL` for an
    /// upper threshold above 2^31 - 1 or a GUE tunnel without port.
    pub fn check(&self) -> Result<(), AttrError> {
        if self.weight < 0 {
            return refuse(
                Errno::RANGE,
                IPVS_DEST_ATTR_WEIGHT,
                "weight is less than zero",
            );
        }
        if self.lower > self.upper {
            return refuse(
                Errno::RANGE,
                IPVS_DEST_ATTR_L_THRESH,
                "lower threshold is higher than upper threshold",
            );
        }
        if i32::try_from(self.upper).is_err() {
            return refuse(
                Errno::INVAL,
                IPVS_DEST_ATTR_U_THRESH,
                "upper threshold is too high",
            );
        }
        if self.tun_type == TUNNEL_GUE && self.tun_port == Be16::ZERO {
            return refuse(
                Errno::INVAL,
                IPVS_DEST_ATTR_TUN_PORT,
                "tunnel port is zero, but GUE needs one",
            );
        }
        Ok(())
    }
}

fn refuse(errno: Errno, about: u16, message: &'static str) -> Result<(), AttrError> {
    Err(AttrError {
        errno,
        message,
        at: None,
        missing: None,
        about: Some(about),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attr::{
        testing::attr,
        Attrs, //
    };

    fn parts() -> Vec<(u16, Vec<u8>)> {
        vec![
            (IPVS_DEST_ATTR_ADDR, vec![10, 0, 0, 2]),
            (IPVS_DEST_ATTR_PORT, vec![0x1f, 0x90]),
            (IPVS_DEST_ATTR_FWD_METHOD, 0xffu32.to_ne_bytes().to_vec()),
            (IPVS_DEST_ATTR_WEIGHT, 5u32.to_ne_bytes().to_vec()),
            (IPVS_DEST_ATTR_U_THRESH, 100u32.to_ne_bytes().to_vec()),
            (IPVS_DEST_ATTR_L_THRESH, 50u32.to_ne_bytes().to_vec()),
        ]
    }

    fn request(parts: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let inner: Vec<u8> = parts
            .iter()
            .flat_map(|(kind, payload)| attr(*kind, payload))
            .collect();
        attr(IPVS_CMD_ATTR_DEST, &inner)
    }

    fn spec(parts: &[(u16, Vec<u8>)]) -> DestSpec {
        parse(Attrs::new(&request(parts), 0).next()).unwrap()
    }

    #[test]
    fn a_full_server_is_understood() {
        let mut parts = parts();
        let plain = spec(&parts);
        assert_eq!(plain.id.family, 0);
        assert_eq!(plain.id.addr[..5], [10, 0, 0, 2, 0]);
        assert_eq!(plain.id.port.host(), 8080);
        assert_eq!(plain.fwd_method, 7);
        assert_eq!((plain.weight, plain.upper, plain.lower), (5, 100, 50));
        assert_eq!((plain.tun_type, plain.tun_flags), (0, 0));
        parts.push((IPVS_DEST_ATTR_ADDR_FAMILY, AF_INET.to_ne_bytes().to_vec()));
        parts.push((IPVS_DEST_ATTR_TUN_TYPE, vec![1]));
        parts.push((IPVS_DEST_ATTR_TUN_PORT, vec![0x17, 0xc0]));
        parts.push((IPVS_DEST_ATTR_TUN_FLAGS, 2u16.to_ne_bytes().to_vec()));
        let tunnel = spec(&parts);
        assert_eq!(tunnel.id.family, AF_INET);
        assert_eq!(tunnel.tun_type, TUNNEL_GUE);
        assert_eq!(tunnel.tun_port.host(), 6080);
        assert_eq!(tunnel.tun_flags, 2);
    }

    #[test]
    fn whatever_is_missing_is_named_and_invalid() {
        assert_eq!(parse_id(None).unwrap_err().errno, Errno::INVAL);
        for (kind, _) in parts() {
            let mut parts = parts();
            parts.retain(|part| part.0 != kind);
            let message = request(&parts);
            let nest = Attrs::new(&message, 20).next();
            let error = parse(nest).unwrap_err();
            assert_eq!(error.errno, Errno::INVAL);
            assert_eq!((error.at, error.missing), (Some(20), Some(kind)));
            let identifies = kind == IPVS_DEST_ATTR_ADDR || kind == IPVS_DEST_ATTR_PORT;
            assert_eq!(parse_id(nest).is_err(), identifies);
        }
    }

    #[test]
    fn the_family_is_the_services_unless_given() {
        let mut id = spec(&parts()).id;
        assert_eq!(id.family(AF_INET, false).unwrap(), AF_INET);
        id.family = AF_INET6;
        assert_eq!(id.family(AF_INET, true).unwrap(), AF_INET6);
        let error = id.family(AF_INET, false).unwrap_err();
        assert_eq!(error.errno, Errno::AFNOSUPPORT);
    }

    #[test]
    fn servers_of_another_family_need_a_tunnel_and_no_sync() {
        let mut spec = spec(&parts());
        assert!(spec.check_mixed(AF_INET, AF_INET, true).is_ok());
        assert!(spec.check_mixed(AF_INET6, AF_INET, false).is_err());
        spec.fwd_method = FWD_TUNNEL;
        assert!(spec.check_mixed(AF_INET6, AF_INET, false).is_ok());
        assert!(spec.check_mixed(AF_INET6, AF_INET, true).is_err());
    }

    #[test]
    fn values_out_of_range_are_refused_in_order() {
        let good = spec(&parts());
        let errno = |spec: DestSpec| spec.check().map_err(|error| error.errno);
        assert_eq!(errno(good), Ok(()));
        assert_eq!(errno(DestSpec { lower: 100, ..good }), Ok(()));
        assert_eq!(errno(DestSpec { weight: 0, ..good }), Ok(()));
        let weight = DestSpec {
            weight: -1,
            lower: 101,
            ..good
        };
        assert_eq!(errno(weight), Err(Errno::RANGE));
        assert_eq!(errno(DestSpec { lower: 101, ..good }), Err(Errno::RANGE));
        let upper = DestSpec {
            upper: 1 << 31,
            ..good
        };
        assert_eq!(errno(upper), Err(Errno::INVAL));
        let tunnel = DestSpec {
            tun_type: TUNNEL_GUE,
            ..good
        };
        assert_eq!(errno(tunnel), Err(Errno::INVAL));
    }
}
