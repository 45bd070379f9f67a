// SPDX-License-Identifier: GPL-2.0

//! UDP connections, which have one state only (C: `ip_vs_proto_udp.c`).

/// The number of the only state (C: `IP_VS_UDP_S_NORMAL`).
pub const NORMAL: u16 = 0;

/// The default timeout of a connection without packets, in seconds. `ipvsadm --set` changes it by
/// its third number (C: `udp_timeouts`).
pub const DEFAULT_TIMEOUT: u32 = 5 * 60;

/// Returns the name that `ipvsadm -Lnc` shows for a state number (C: `udp_state_name()`).
pub const fn state_name(number: u16) -> &'static str {
    match number {
        NORMAL => "UDP",
        _ => "ERR!",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_the_known_ones() {
        assert_eq!(state_name(NORMAL), "UDP");
        assert_eq!(state_name(1), "ERR!");
        assert_eq!(DEFAULT_TIMEOUT, 300);
    }
}
