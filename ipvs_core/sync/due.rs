// SPDX-License-Identifier: GPL-2.0

//! Decides whether a connection is sent to the backups, each time that a packet arrives.
//!
//! C: `ip_vs_sync_conn_needed()`.

use crate::{
    ipv4::{
        PROTO_SCTP,
        PROTO_TCP, //
    },
    sctp::SctpState,
    tcp::TcpState, //
};

/// When connections are sent: the values of sysctls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The number of packets at which a connection is sent: the first number of `sync_threshold`.
    pub threshold: i32,
    /// The number of packets after which it is sent again; 0 for never: the second number of
    /// `sync_threshold`.
    pub period: i32,
    /// The difference in ticks between its end as it was sent and its end now from which on it is
    /// sent: `sync_refresh_period`. 0 if that does not matter.
    pub refresh_period: u32,
    /// The number of times that it is sent again early, at intervals of an eighth of
    /// `refresh_period`: `sync_retries`.
    pub retries: i32,
    /// The number of ticks of a second.
    pub hz: u32,
}

/// What is known of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// It is a persistence template.
    pub template: bool,
    /// The number of its protocol.
    pub protocol: u8,
    /// Its state.
    pub state: u16,
    /// The state in which it was sent last.
    pub old_state: u16,
    /// Its timeout in ticks.
    pub timeout: usize,
}

/// The connection is to be sent. The caller remembers its state as `old_state` and replaces
/// `endtime` by compare and exchange, and leaves the sending to the one who succeeded, unless it is
/// forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The new value of the word that [`Rules::due`] decided by.
    pub endtime: usize,
    /// The state has changed: the connection is sent even if another packet has replaced the word in
    /// the meantime.
    pub force: bool,
}

/// The bits of the word that count how often the connection was sent again early.
const RETRIES_MASK: usize = 3;

impl Rules {
    /// Decides about a connection after `packets` packets from its client, at the tick `now`.
    ///
    /// `endtime` is the tick at which the connection, as it was sent last, ends (C:
    /// `cp->sync_endtime`), with a count of retries in its lowest two bits. It begins as the tick at
    /// which the connection was made, with these bits clear. Ticks wrap around.
    #[inline]
    pub fn due(&self, subject: &Subject, endtime: usize, packets: i32, now: usize) -> Option<Due> {
        let ends = now.wrapping_add(subject.timeout) & !RETRIES_MASK;
        let force = match subject.sent() {
            Sent::Never => return None,
            Sent::Regularly(force) => force,
            Sent::AtOnce => {
                return Some(Due {
                    endtime: ends,
                    force: true,
                })
            }
        };
        let retry = self.retry(subject.timeout, ends, endtime, now)?;
        if self.period > 0 {
            let counted = packets.checked_rem(self.period);
            if !subject.template && counted != Some(self.threshold) {
                return None;
            }
        } else if self.refresh_period == 0 && packets != self.threshold {
            return None;
        }
        Some(Due {
            endtime: ends | retry,
            force,
        })
    }

    /// Returns the number of the retry if the connection is sent again early, and 0 if its end has
    /// moved far enough. `None` if it is too early.
    #[inline]
    fn retry(&self, timeout: usize, ends: usize, endtime: usize, now: usize) -> Option<usize> {
        if self.refresh_period == 0 {
            return Some(0);
        }
        let ten_seconds = (self.hz as usize).wrapping_mul(10);
        let least = (self.refresh_period as isize).min((timeout >> 1).max(ten_seconds) as isize);
        if (ends.wrapping_sub(endtime) as isize).wrapping_abs() >= least {
            return Some(0);
        }
        let retries = endtime & RETRIES_MASK;
        if retries as i32 >= self.retries {
            return None;
        }
        let sent = endtime.wrapping_sub(timeout);
        let again = sent.wrapping_add((self.refresh_period >> 3) as usize);
        // Ticks are compared by their distance.
        if (now.wrapping_sub(again) as isize) < 0 {
            return None;
        }
        Some(retries.wrapping_add(1))
    }
}

/// What the state of a connection says about sending it.
enum Sent {
    /// Connections in this state are not sent.
    Never,
    /// The number of packets and the time decide; `true` if the state has changed.
    Regularly(bool),
    /// The state has changed, and backups are told without delay.
    AtOnce,
}

impl Subject {
    #[inline]
    fn sent(&self) -> Sent {
        let (is_sent, is_established) = match self.protocol {
            _ if self.template => return Sent::Regularly(false),
            PROTO_TCP => {
                let state = TcpState::from_number(self.state);
                (
                    matches!(
                        state,
                        Some(
                            TcpState::Established
                                | TcpState::FinWait
                                | TcpState::Close
                                | TcpState::CloseWait
                                | TcpState::TimeWait
                        )
                    ),
                    state == Some(TcpState::Established),
                )
            }
            PROTO_SCTP => {
                let state = SctpState::from_number(self.state);
                (
                    matches!(
                        state,
                        Some(
                            SctpState::Established
                                | SctpState::ShutdownSent
                                | SctpState::ShutdownReceived
                                | SctpState::ShutdownAckSent
                                | SctpState::Closed
                        )
                    ),
                    state == Some(SctpState::Established),
                )
            }
            // UDP, and protocols with one state.
            _ => return Sent::Regularly(false),
        };
        match self.state != self.old_state {
            _ if !is_sent => Sent::Never,
            true if !is_established => Sent::AtOnce,
            changed => Sent::Regularly(changed),
        }
    }
}

#[cfg(test)]
mod tests;
