// SPDX-License-Identifier: GPL-2.0

//! Persistence engines: what tells clients apart besides their address. C: `struct ip_vs_pe`.
//!
//! An engine finds something in a client's first packet; clients from one network that have the same
//! go to one server. [`engines!`] is the list of all: a new one is a file with what it looks for, a
//! line in the list, and an arm in [`PeKind::read`].

pub mod sip;

/// The longest that an engine finds (C: `IP_VS_PEDATA_MAXLEN`).
pub const MAX_DATA: usize = 255;

/// Hands the list of all engines to a macro: kind and name.
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
            /// All there are.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// What users call it.
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
    /// The engine of this name, without a terminating NUL.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.name().as_bytes() == name)
    }

    /// What it finds in what a packet carries behind its transport header, at most [`MAX_DATA`] bytes.
    /// `None` if the packet is none for it. C: `fill_param`.
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
