// SPDX-License-Identifier: GPL-2.0

//! Persistence engines: how clients are told apart by more than their address (C:
//! `struct ip_vs_pe`).
//!
//! An engine extracts an identifier from a client's first packet. Clients of the same network with
//! the same identifier are sent to the same server. [`engines!`] lists all engines. To add one, add
//! a file with its parser, a line in the list, and an arm in [`PeKind::read`]. The module's `pe.rs`
//! has the users and the storage of the identifiers.

pub mod sip;

/// The maximum length of an identifier in bytes (C: `IP_VS_PEDATA_MAXLEN`).
pub const MAX_DATA: usize = 255;

/// Calls the macro `$list` with the list of all engines, as `Kind: name` pairs.
#[macro_export]
macro_rules! engines {
    ($list:ident) => {
        $list! {
            Sip: sip,
        }
    };
}

macro_rules! kinds {
    ($($kind:ident: $name:ident,)*) => {
        /// A persistence engine.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum PeKind {
            $(
                #[doc = concat!("`", stringify!($name), "`")]
                $kind,
            )*
        }

        impl PeKind {
            /// All engines.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// Returns the engine's name as users know it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($name),)*
                }
            }
        }
    };
}

engines!(kinds);

impl PeKind {
    /// Looks up an engine by its name, without a terminating NUL (C: `__ip_vs_pe_getbyname()`).
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.name().as_bytes() == name)
    }

    /// Returns the identifier in a packet's payload, which follows the transport header; at most
    /// [`MAX_DATA`] bytes. `None` if the packet has none (C: `fill_param`).
    pub fn read(self, payload: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Sip => sip::call_id(payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_have_names() {
        for &kind in PeKind::ALL {
            assert_eq!(PeKind::from_name(kind.name().as_bytes()), Some(kind));
        }
        assert_eq!(PeKind::from_name(b"sip"), Some(PeKind::Sip));
        assert_eq!(PeKind::from_name(b""), None);
        assert_eq!(PeKind::from_name(b"SIP"), None);
    }

    #[test]
    fn an_engine_finds_what_it_is_for() {
        assert_eq!(PeKind::Sip.read(b"x\ni:1@a\n"), Some(&b"1@a"[..]));
        assert_eq!(PeKind::Sip.read(b"x"), None);
    }
}
