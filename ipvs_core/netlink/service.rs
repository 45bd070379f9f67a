// SPDX-License-Identifier: GPL-2.0

//! Services in netlink requests (C: `ip_vs_genl_parse_service()`).

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
    Kind,
    Policy, //
};
use crate::{
    ipv4::PROTO_TCP,
    net::{
        Be16,
        Be32, //
    },
};

/// Policies for the attributes of a service (C: `ip_vs_svc_policy`).
pub const POLICY: [Policy; ATTRS_SERVICE] = [
    Policy::ANY,
    policy!(IPVS_SVC_ATTR_AF, Kind::U16),
    policy!(IPVS_SVC_ATTR_PROTOCOL, Kind::U16),
    policy!(IPVS_SVC_ATTR_ADDR, Kind::AtMost(16)),
    policy!(IPVS_SVC_ATTR_PORT, Kind::U16),
    policy!(IPVS_SVC_ATTR_FWMARK, Kind::U32),
    policy!(IPVS_SVC_ATTR_SCHED_NAME, Kind::String(SCHED_NAME_LEN)),
    policy!(IPVS_SVC_ATTR_FLAGS, Kind::AtMost(8)),
    policy!(IPVS_SVC_ATTR_TIMEOUT, Kind::U32),
    policy!(IPVS_SVC_ATTR_NETMASK, Kind::U32),
    policy!(IPVS_SVC_ATTR_STATS, Kind::Nested),
    policy!(IPVS_SVC_ATTR_PE_NAME, Kind::String(PE_NAME_LEN)),
    Policy::ANY,
];

/// The identification of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceId {
    /// `AF_INET` or `AF_INET6`.
    pub family: u16,
    /// Transport protocol; TCP if the request has a firewall mark.
    pub protocol: u16,
    /// Virtual address; 0 if the request has a firewall mark.
    pub addr: Addr,
    /// Virtual port; 0 if the request has a firewall mark.
    pub port: Be16,
    /// Firewall mark. If it is 0, even if sent, the service is identified by protocol, address and
    /// port.
    pub fwmark: u32,
}

/// A change of some flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlagsUpdate {
    /// The new values.
    pub value: u32,
    /// Mask of the flags to change.
    pub mask: u32,
}

impl FlagsUpdate {
    /// Applies the change to `old` flags, which are 0 for a new service.
    pub const fn apply(self, old: u32) -> u32 {
        (old & !self.mask) | (self.value & self.mask)
    }
}

/// The settings of a service to add or to edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceSpec<'a> {
    /// The service's identification.
    pub id: ServiceId,
    /// Name of the scheduler, without NUL; "none" for none.
    pub sched_name: &'a [u8],
    /// Name of the persistence engine, without NUL; may be empty.
    pub pe_name: Option<&'a [u8]>,
    /// Flags.
    pub flags: FlagsUpdate,
    /// Persistence timeout in seconds.
    pub timeout: u32,
    /// Persistence netmask; for IPv6 the prefix length in host byte order.
    pub netmask: Be32,
}

type Found<'a> = [Option<Attr<'a>>; ATTRS_SERVICE];

/// Parses which service a request is about from its [`IPVS_CMD_ATTR_SERVICE`]. `ipv6` tells whether
/// the kernel supports IPv6.
///
/// # Errors
///
/// `EAFNOSUPPORT` for another address family; `EINVAL` if an attribute is missing or malformed.
pub fn parse_id(nest: Option<Attr<'_>>, ipv6: bool) -> Result<ServiceId, AttrError> {
    Ok(parse_common(nest, ipv6)?.2)
}

/// Parses a service with its settings from the request's [`IPVS_CMD_ATTR_SERVICE`].
///
/// # Errors
///
/// Returns the errors of [`parse_id`] first; then `EINVAL` if a setting is missing.
pub fn parse(nest: Option<Attr<'_>>, ipv6: bool) -> Result<ServiceSpec<'_>, AttrError> {
    let (nest, attrs, id) = parse_common(nest, ipv6)?;
    let [_, _, _, _, _, _, sched, flags, timeout, netmask, _, pe, _] = attrs;

    let sched = required(
        sched,
        nest,
        IPVS_SVC_ATTR_SCHED_NAME,
        "service has no IPVS_SVC_ATTR_SCHED_NAME",
    )?;
    let flags = required(
        flags,
        nest,
        IPVS_SVC_ATTR_FLAGS,
        "service has no IPVS_SVC_ATTR_FLAGS",
    )?;
    let timeout = required(
        timeout,
        nest,
        IPVS_SVC_ATTR_TIMEOUT,
        "service has no IPVS_SVC_ATTR_TIMEOUT",
    )?;
    let netmask = required(
        netmask,
        nest,
        IPVS_SVC_ATTR_NETMASK,
        "service has no IPVS_SVC_ATTR_NETMASK",
    )?;
    let [v0, v1, v2, v3, m0, m1, m2, m3] = flags.padded();

    Ok(ServiceSpec {
        id,
        sched_name: sched.string(),
        pe_name: pe.map(|name| name.string()),
        flags: FlagsUpdate {
            value: u32::from_ne_bytes([v0, v1, v2, v3]),
            mask: u32::from_ne_bytes([m0, m1, m2, m3]),
        },
        timeout: timeout.u32(),
        netmask: netmask.be32(),
    })
}

#[inline(always)]
fn parse_common<'a>(
    nest: Option<Attr<'a>>,
    ipv6: bool,
) -> Result<(Attr<'a>, Found<'a>, ServiceId), AttrError> {
    let (nest, attrs) = parse_nest(
        nest,
        &POLICY,
        IPVS_CMD_ATTR_SERVICE,
        "request has no IPVS_CMD_ATTR_SERVICE",
    )?;
    let [_, family, protocol, addr, port, fwmark, ..] = attrs;

    let family = required(
        family,
        nest,
        IPVS_SVC_ATTR_AF,
        "service has no IPVS_SVC_ATTR_AF",
    )?;
    let mut id = ServiceId {
        family: family.u16(),
        protocol: PROTO_TCP.into(),
        addr: Addr::default(),
        port: Be16::ZERO,
        fwmark: 0,
    };
    if let Some(fwmark) = fwmark {
        id.fwmark = fwmark.u32();
    } else {
        let why = "service has neither IPVS_SVC_ATTR_FWMARK nor protocol, address and port";
        id.protocol = required(protocol, nest, IPVS_SVC_ATTR_PROTOCOL, why)?.u16();
        id.addr = required(addr, nest, IPVS_SVC_ATTR_ADDR, why)?.addr();
        id.port = required(port, nest, IPVS_SVC_ATTR_PORT, why)?.be16();
    }
    check_family(id.family, ipv6, Some(family))?;

    Ok((nest, attrs, id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{
        attr::{
            testing::attr,
            Attrs, //
        },
        Errno, //
    };

    type Parts = Vec<(u16, Vec<u8>)>;

    fn by_address() -> Parts {
        vec![
            (IPVS_SVC_ATTR_AF, AF_INET.to_ne_bytes().to_vec()),
            (IPVS_SVC_ATTR_PROTOCOL, 6u16.to_ne_bytes().to_vec()),
            (IPVS_SVC_ATTR_ADDR, vec![10, 0, 0, 1]),
            (IPVS_SVC_ATTR_PORT, vec![0, 80]),
        ]
    }

    fn rest() -> Parts {
        vec![
            (IPVS_SVC_ATTR_SCHED_NAME, b"wlc\0".to_vec()),
            (
                IPVS_SVC_ATTR_FLAGS,
                [5u32, 7].map(u32::to_ne_bytes).concat(),
            ),
            (IPVS_SVC_ATTR_TIMEOUT, 300u32.to_ne_bytes().to_vec()),
            (IPVS_SVC_ATTR_NETMASK, vec![255, 255, 255, 0]),
        ]
    }

    fn request(parts: &Parts) -> Vec<u8> {
        let inner: Vec<u8> = parts
            .iter()
            .flat_map(|(kind, payload)| attr(*kind, payload))
            .collect();
        attr(IPVS_CMD_ATTR_SERVICE, &inner)
    }

    fn nest(message: &[u8]) -> Option<Attr<'_>> {
        Attrs::new(message, 20).next()
    }

    fn without(mut parts: Parts, kind: u16) -> Parts {
        parts.retain(|part| part.0 != kind);
        parts
    }

    #[test]
    fn a_full_service_is_understood() {
        let mut parts = [by_address(), rest()].concat();
        parts.push((IPVS_SVC_ATTR_PE_NAME, b"sip\0".to_vec()));
        let message = request(&parts);
        let spec = parse(nest(&message), false).unwrap();
        assert_eq!(spec.id.family, AF_INET);
        assert_eq!(spec.id.protocol, 6);
        assert_eq!(spec.id.addr[..5], [10, 0, 0, 1, 0]);
        assert_eq!(spec.id.port.host(), 80);
        assert_eq!(spec.id.fwmark, 0);
        assert_eq!(spec.sched_name, b"wlc");
        assert_eq!(spec.pe_name, Some(&b"sip"[..]));
        assert_eq!(spec.flags, FlagsUpdate { value: 5, mask: 7 });
        assert_eq!(spec.timeout, 300);
        assert_eq!(spec.netmask.to_bytes(), [255, 255, 255, 0]);
        assert_eq!(parse_id(nest(&message), false).unwrap(), spec.id);
    }

    #[test]
    fn whatever_is_missing_is_named_and_invalid() {
        assert_eq!(parse_id(None, true).unwrap_err().errno, Errno::INVAL);
        for (kind, _) in by_address() {
            let message = request(&without(by_address(), kind));
            let error = parse_id(nest(&message), true).unwrap_err();
            assert_eq!(error.errno, Errno::INVAL);
            assert_eq!((error.at, error.missing), (Some(20), Some(kind)));
        }
        for (kind, _) in rest() {
            let message = request(&without([by_address(), rest()].concat(), kind));
            let error = parse(nest(&message), true).unwrap_err();
            assert_eq!(error.errno, Errno::INVAL);
            assert_eq!((error.at, error.missing), (Some(20), Some(kind)));
            assert!(parse_id(nest(&message), true).is_ok());
        }
    }

    #[test]
    fn a_mark_replaces_address_protocol_and_port() {
        let mut parts = by_address();
        parts.push((IPVS_SVC_ATTR_FWMARK, 7u32.to_ne_bytes().to_vec()));
        let id = parse_id(nest(&request(&parts)), true).unwrap();
        assert_eq!((id.protocol, id.addr, id.port), (6, [0; 16], Be16::ZERO));
        assert_eq!(id.fwmark, 7);
        let only = vec![parts[0].clone(), parts[4].clone()];
        assert_eq!(parse_id(nest(&request(&only)), true).unwrap(), id);
    }

    #[test]
    fn the_family_is_checked_after_the_identity_and_before_the_rest() {
        let mut parts = by_address();
        parts[0].1 = AF_INET6.to_ne_bytes().to_vec();
        let message = request(&parts);
        assert!(parse_id(nest(&message), true).is_ok());
        let error = parse(nest(&message), false).unwrap_err();
        assert_eq!((error.errno, error.at), (Errno::AFNOSUPPORT, Some(24)));
        let error = parse_id(nest(&request(&without(parts, IPVS_SVC_ATTR_PORT))), false);
        assert_eq!(error.unwrap_err().errno, Errno::INVAL);
    }

    #[test]
    fn a_malformed_attribute_is_invalid_not_out_of_range() {
        let mut parts = by_address();
        parts[3].1 = vec![80];
        let message = request(&parts);
        let error = parse_id(nest(&message), true).unwrap_err();
        assert_eq!(error.errno, Errno::INVAL);
        assert_eq!(error.message, "IPVS_SVC_ATTR_PORT is too short");
        assert_eq!(error.at, Some(20 + 4 + 8 + 8 + 8));
    }

    #[test]
    fn flags_change_under_their_mask_only() {
        let update = FlagsUpdate {
            value: 0b1010,
            mask: 0b0110,
        };
        assert_eq!(update.apply(0b1100), 0b1010);
        assert_eq!(update.apply(0), 0b0010);
    }
}
