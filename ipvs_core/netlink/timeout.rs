// SPDX-License-Identifier: GPL-2.0

//! Timeouts in netlink requests (C: `ip_vs_genl_set_config()`, and the checks of
//! `ip_vs_set_timeout()`).

use super::{
    consts::*,
    Attr,
    AttrError, //
};

/// Timeouts in seconds. `None` leaves a timeout unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutConfig {
    /// Timeout of established TCP connections.
    pub tcp: Option<u32>,
    /// Timeout of TCP connections after a FIN.
    pub tcp_fin: Option<u32>,
    /// Timeout of UDP connections.
    pub udp: Option<u32>,
}

/// Parses the timeouts of a request, whose attributes have been validated by
/// [`COMMAND_POLICY`](super::COMMAND_POLICY). A timeout of 0, like a missing one, is left
/// unchanged. `hz` is the number of clock ticks per second.
///
/// # Errors
///
/// `EINVAL` if a timeout is negative or does not fit into an `int` as clock ticks; then none must
/// be changed.
pub fn parse(
    attrs: &[Option<Attr<'_>>; ATTRS_COMMAND],
    hz: u32,
) -> Result<TimeoutConfig, AttrError> {
    let [_, _, _, _, tcp, tcp_fin, udp] = *attrs;
    let max = i32::MAX.unsigned_abs().checked_div(hz).unwrap_or(0);
    let read = |attr: Option<Attr<'_>>, message| match attr.map(|attr| (attr, attr.u32())) {
        None | Some((_, 0)) => Ok(None),
        Some((_, seconds)) if seconds <= max => Ok(Some(seconds)),
        Some((attr, _)) => Err(AttrError::invalid(attr, message)),
    };

    Ok(TimeoutConfig {
        tcp: read(tcp, "IPVS_CMD_ATTR_TIMEOUT_TCP is out of range")?,
        tcp_fin: read(tcp_fin, "IPVS_CMD_ATTR_TIMEOUT_TCP_FIN is out of range")?,
        udp: read(udp, "IPVS_CMD_ATTR_TIMEOUT_UDP is out of range")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{
        attr::{
            self,
            testing::attr,
            Attrs, //
        },
        Errno,
        COMMAND_POLICY, //
    };

    fn config(parts: &[(u16, u32)]) -> Result<TimeoutConfig, AttrError> {
        let message: Vec<u8> = parts
            .iter()
            .flat_map(|(kind, value)| attr(*kind, &value.to_ne_bytes()))
            .collect();
        let attrs = attr::parse(Attrs::new(&message, 20), &COMMAND_POLICY).unwrap();
        parse(&attrs, 250)
    }

    #[test]
    fn zero_and_absence_leave_a_timeout_as_it_is() {
        assert_eq!(config(&[]), Ok(TimeoutConfig::default()));
        let parts = [
            (IPVS_CMD_ATTR_TIMEOUT_TCP, 0),
            (IPVS_CMD_ATTR_TIMEOUT_UDP, 60),
        ];
        let expected = TimeoutConfig {
            udp: Some(60),
            ..TimeoutConfig::default()
        };
        assert_eq!(config(&parts), Ok(expected));
    }

    #[test]
    fn ticks_have_to_fit_into_an_int() {
        let max = i32::MAX as u32 / 250;
        assert!(config(&[(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, max)]).is_ok());
        for bad in [max + 1, i32::MAX as u32, 1 << 31, u32::MAX] {
            let error = config(&[(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, bad)]).unwrap_err();
            assert_eq!((error.errno, error.at), (Errno::INVAL, Some(20)));
        }
    }
}
