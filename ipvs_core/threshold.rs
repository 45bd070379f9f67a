// SPDX-License-Identifier: GPL-2.0

//! The overload state of a server by its connection thresholds.
//!
//! C: `ip_vs_dest_update_overload()` and the conditions of its callers. A server that reaches its
//! upper threshold gets no new connections until it has fewer than its lower threshold.

/// The thresholds of a server, in connections of any state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// Upper threshold, 0 for none.
    upper: u32,
    /// Lower threshold, never 0 if there is an upper one above 1.
    lower: u32,
}

impl Thresholds {
    /// Creates thresholds from the user's values. `upper` is 0 for none, `lower` 0 for the default:
    /// three quarters of `upper`.
    pub const fn new(upper: u32, lower: u32) -> Self {
        Self {
            upper,
            lower: if lower == 0 {
                upper.wrapping_sub(upper >> 2)
            } else {
                lower
            },
        }
    }

    /// Returns `true` if [`Thresholds::after_add`] has to be called after the number of connections
    /// was incremented to `conns`.
    #[inline]
    pub const fn reached_upper(self, conns: u32) -> bool {
        conns == self.upper && conns != 0
    }

    /// Returns `true` if [`Thresholds::after_remove`] has to be called after the number of
    /// connections was decremented to `conns`.
    #[inline]
    pub const fn fell_below_lower(self, conns: u32) -> bool {
        conns.wrapping_add(1) == self.lower
    }

    /// Returns whether the server is overloaded, after its thresholds were set. `before` tells
    /// whether it was overloaded until then.
    pub const fn after_set(self, conns: u32, before: bool) -> bool {
        if self.upper == 0 {
            false
        } else if conns >= self.upper {
            true
        } else {
            before && conns >= self.lower
        }
    }

    /// Returns whether the server is overloaded, after the upper threshold was reached. `conns` is
    /// read again under the lock and may be less by now.
    pub const fn after_add(self, conns: u32) -> bool {
        self.upper != 0 && conns >= self.lower
    }

    /// Returns whether the server is overloaded, after its connections fell below the lower
    /// threshold. `conns` is read again under the lock and may be more by now.
    pub const fn after_remove(self, conns: u32) -> bool {
        self.upper != 0 && conns >= self.upper
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server whose connections come and go, with its overload state.
    struct Follow {
        thresholds: Thresholds,
        conns: u32,
        overloaded: bool,
    }

    impl Follow {
        fn go_to(&mut self, conns: u32) -> bool {
            while self.conns < conns {
                self.conns += 1;
                if self.thresholds.reached_upper(self.conns) {
                    self.overloaded = self.thresholds.after_add(self.conns);
                }
            }
            while self.conns > conns {
                self.conns -= 1;
                if self.thresholds.fell_below_lower(self.conns) {
                    self.overloaded = self.thresholds.after_remove(self.conns);
                }
            }
            self.overloaded
        }
    }

    fn follow(upper: u32, lower: u32) -> Follow {
        Follow {
            thresholds: Thresholds::new(upper, lower),
            conns: 0,
            overloaded: false,
        }
    }

    #[test]
    fn overload_lasts_from_upper_to_below_lower() {
        let mut server = follow(100, 60);
        assert!(!server.go_to(99));
        assert!(server.go_to(100));
        assert!(server.go_to(60));
        assert!(!server.go_to(59));
        assert!(!server.go_to(99));
        assert!(server.go_to(150));
    }

    #[test]
    fn lower_is_three_quarters_of_upper_unless_set() {
        let mut server = follow(100, 0);
        assert!(server.go_to(100));
        assert!(server.go_to(75));
        assert!(!server.go_to(74));
        assert_eq!(Thresholds::new(1, 0), Thresholds::new(1, 1));
        assert_eq!(Thresholds::new(u32::MAX, 0).lower, 0xc000_0000);
    }

    #[test]
    fn without_upper_threshold_no_server_is_overloaded() {
        let mut server = follow(0, 0);
        assert!(!server.go_to(1000));
        assert!(!server.go_to(0));
        assert!(!Thresholds::new(0, 0).after_set(1000, true));
    }

    #[test]
    fn setting_thresholds_decides_anew() {
        let thresholds = Thresholds::new(100, 60);
        assert!(thresholds.after_set(100, false));
        assert!(!thresholds.after_set(99, false));
        assert!(thresholds.after_set(60, true));
        assert!(!thresholds.after_set(59, true));
    }

    #[test]
    fn what_has_changed_before_the_lock_was_taken_counts() {
        let thresholds = Thresholds::new(100, 60);
        assert!(thresholds.after_add(100));
        assert!(thresholds.after_add(60));
        assert!(!thresholds.after_add(59));
        assert!(!thresholds.after_remove(59));
        assert!(!thresholds.after_remove(99));
        assert!(thresholds.after_remove(100));
        // Without upper threshold a lower one alone does nothing.
        let none = Thresholds::new(0, 60);
        assert!(!none.after_add(60) && !none.after_remove(60));
    }
}
