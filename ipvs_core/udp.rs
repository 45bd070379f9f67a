// SPDX-License-Identifier: GPL-2.0

//! UDP has one state. Stands for `ip_vs_proto_udp.c`.

/// The number of the only state (C: `IP_VS_UDP_S_NORMAL`).
pub const NORMAL: u16 = 0;

/// How long a connection lives without a packet, in seconds, unless set otherwise; `ipvsadm --set`
/// takes it as its third number.
pub const DEFAULT_TIMEOUT: u32 = 5 * 60;

/// The name that `ipvsadm -Lnc` shows for the state of this number.
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
