// SPDX-License-Identifier: GPL-2.0

//! Sync daemons in netlink requests (C: the parsing in `ip_vs_genl_new_daemon()` and
//! `ip_vs_genl_del_daemon()`).

use super::{
    attr::{
        parse_nest,
        policy, //
    },
    consts::*,
    Addr,
    Attr,
    AttrError,
    Kind,
    Policy, //
};

/// Policies for the attributes of a daemon (C: `ip_vs_daemon_policy`).
pub const POLICY: [Policy; ATTRS_DAEMON] = [
    Policy::ANY,
    policy!(IPVS_DAEMON_ATTR_STATE, Kind::U32),
    policy!(IPVS_DAEMON_ATTR_MCAST_IFN, Kind::String(IF_NAME_LEN)),
    policy!(IPVS_DAEMON_ATTR_SYNC_ID, Kind::U32),
    policy!(IPVS_DAEMON_ATTR_SYNC_MAXLEN, Kind::U16),
    policy!(IPVS_DAEMON_ATTR_MCAST_GROUP, Kind::U32),
    policy!(IPVS_DAEMON_ATTR_MCAST_GROUP6, Kind::Bytes(16)),
    policy!(IPVS_DAEMON_ATTR_MCAST_PORT, Kind::U16),
    policy!(IPVS_DAEMON_ATTR_MCAST_TTL, Kind::U8),
];

/// The settings of a sync daemon to start. 0 stands for the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaemonSpec<'a> {
    /// Role: 1 master, 2 backup (not checked).
    pub state: u32,
    /// Multicast interface, without NUL.
    pub interface: &'a [u8],
    /// Sync id.
    pub sync_id: u32,
    /// Maximum UDP payload in bytes.
    pub max_len: u16,
    /// Family and address of the multicast group, if given.
    pub group: Option<(u16, Addr)>,
    /// UDP port, in host byte order.
    pub port: u16,
    /// Multicast TTL.
    pub ttl: u8,
}

/// Parses the role of the daemon to stop from the request's [`IPVS_CMD_ATTR_DAEMON`].
///
/// # Errors
///
/// `EINVAL` if the attribute or the role is missing or malformed.
pub fn parse_state(nest: Option<Attr<'_>>) -> Result<u32, AttrError> {
    let (nest, attrs) = parse_daemon(nest)?;
    let [_, state, ..] = attrs;

    Ok(state.ok_or(no_state(nest))?.u32())
}

/// Parses the daemon to start from the request's [`IPVS_CMD_ATTR_DAEMON`].
///
/// # Errors
///
/// `EINVAL` if an attribute is missing or malformed, or if the group is not a multicast address.
pub fn parse(nest: Option<Attr<'_>>) -> Result<DaemonSpec<'_>, AttrError> {
    let (nest, attrs) = parse_daemon(nest)?;
    let [_, state, interface, sync_id, max_len, group, group6, port, ttl] = attrs;
    let missing = |attr, message| AttrError::missing(Some(nest), attr, message);

    let state = state.ok_or(no_state(nest))?;
    let interface = interface.ok_or(missing(
        IPVS_DAEMON_ATTR_MCAST_IFN,
        "daemon has no IPVS_DAEMON_ATTR_MCAST_IFN",
    ))?;
    let sync_id = sync_id.ok_or(missing(
        IPVS_DAEMON_ATTR_SYNC_ID,
        "daemon has no IPVS_DAEMON_ATTR_SYNC_ID",
    ))?;
    let group = match (group, group6) {
        (Some(attr), _) => {
            let [a, b, c, d] = attr.padded();
            if a >> 4 != 0xe {
                return Err(AttrError::invalid(
                    attr,
                    "IPVS_DAEMON_ATTR_MCAST_GROUP is no multicast address",
                ));
            }
            let mut addr = Addr::default();
            for (to, from) in addr.iter_mut().zip([a, b, c, d]) {
                *to = from;
            }
            Some((AF_INET, addr))
        }
        (None, Some(attr)) => {
            let addr = attr.addr();
            if !matches!(addr, [0xff, ..]) {
                return Err(AttrError::invalid(
                    attr,
                    "IPVS_DAEMON_ATTR_MCAST_GROUP6 is no multicast address",
                ));
            }
            Some((AF_INET6, addr))
        }
        (None, None) => None,
    };

    Ok(DaemonSpec {
        state: state.u32(),
        interface: interface.string(),
        sync_id: sync_id.u32(),
        max_len: max_len.map_or(0, |attr| attr.u16()),
        group,
        port: port.map_or(0, |attr| attr.u16()),
        ttl: ttl.map_or(0, |attr| attr.u8()),
    })
}

type Found<'a> = [Option<Attr<'a>>; ATTRS_DAEMON];

fn parse_daemon(nest: Option<Attr<'_>>) -> Result<(Attr<'_>, Found<'_>), AttrError> {
    parse_nest(
        nest,
        &POLICY,
        IPVS_CMD_ATTR_DAEMON,
        "request has no IPVS_CMD_ATTR_DAEMON",
    )
}

fn no_state(nest: Attr<'_>) -> AttrError {
    AttrError::missing(
        Some(nest),
        IPVS_DAEMON_ATTR_STATE,
        "daemon has no IPVS_DAEMON_ATTR_STATE",
    )
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

    fn parts() -> Vec<(u16, Vec<u8>)> {
        vec![
            (IPVS_DAEMON_ATTR_STATE, 1u32.to_ne_bytes().to_vec()),
            (IPVS_DAEMON_ATTR_MCAST_IFN, b"eth0\0".to_vec()),
            (IPVS_DAEMON_ATTR_SYNC_ID, 9u32.to_ne_bytes().to_vec()),
        ]
    }

    fn request(parts: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let inner: Vec<u8> = parts
            .iter()
            .flat_map(|(kind, payload)| attr(*kind, payload))
            .collect();
        attr(IPVS_CMD_ATTR_DAEMON, &inner)
    }

    #[test]
    fn what_is_not_given_is_left_to_defaults() {
        let message = request(&parts());
        let spec = parse(Attrs::new(&message, 0).next()).unwrap();
        let expected = DaemonSpec {
            state: 1,
            interface: b"eth0",
            sync_id: 9,
            max_len: 0,
            group: None,
            port: 0,
            ttl: 0,
        };
        assert_eq!(spec, expected);
    }

    #[test]
    fn whatever_is_missing_is_invalid() {
        for (kind, _) in parts() {
            let mut parts = parts();
            parts.retain(|part| part.0 != kind);
            let message = request(&parts);
            let nest = Attrs::new(&message, 0).next();
            let error = parse(nest).unwrap_err();
            assert_eq!((error.errno, error.missing), (Errno::INVAL, Some(kind)));
            assert_eq!(parse_state(nest).is_err(), kind == IPVS_DAEMON_ATTR_STATE);
        }
    }

    #[test]
    fn groups_are_multicast_and_ipv4_goes_first() {
        let group = |more: &[(u16, Vec<u8>)]| {
            let message = request(&[&parts()[..], more].concat());
            let result = parse(Attrs::new(&message, 0).next());
            result.map(|spec| spec.group).map_err(|error| error.errno)
        };
        let v4 = (IPVS_DAEMON_ATTR_MCAST_GROUP, vec![224, 0, 0, 81]);
        let v6 = (IPVS_DAEMON_ATTR_MCAST_GROUP6, vec![0xff; 16]);
        let unicast = (IPVS_DAEMON_ATTR_MCAST_GROUP, vec![192, 0, 0, 81]);
        let unicast6 = (IPVS_DAEMON_ATTR_MCAST_GROUP6, vec![0xfe; 16]);
        let (family, addr) = group(&[v6.clone(), v4]).unwrap().unwrap();
        assert_eq!((family, &addr[..5]), (AF_INET, &[224, 0, 0, 81, 0][..]));
        assert_eq!(group(&[v6]), Ok(Some((AF_INET6, [0xff; 16]))));
        assert_eq!(group(&[unicast]), Err(Errno::INVAL));
        assert_eq!(group(&[unicast6]), Err(Errno::INVAL));
    }
}
