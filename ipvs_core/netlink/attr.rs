// SPDX-License-Identifier: GPL-2.0

//! Finds and validates netlink attributes.
//!
//! [`parse`] accepts and rejects the same as `nla_parse_nested_deprecated()`: numbers may be longer
//! than required, attributes of unknown types are skipped, of several attributes of a type the last
//! one counts, and trailing bytes are ignored.

use crate::net::{
    Be16,
    Be32, //
};

use super::Addr;

/// The length of an attribute's header in bytes: length and type, 16 bits each.
const HEADER_LEN: usize = 4;
/// Mask of the type. The other bits are flags (nested, network byte order).
const TYPE_MASK: u16 = 0x3fff;

/// An error number, positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// `EINVAL`.
    pub const INVAL: Self = Self(22);
    /// `ERANGE`.
    pub const RANGE: Self = Self(34);
    /// `EAFNOSUPPORT`.
    pub const AFNOSUPPORT: Self = Self(97);
}

/// An error in a request, for the error code and the extended acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttrError {
    /// Error number.
    pub errno: Errno,
    /// The message for the user.
    pub message: &'static str,
    /// Offset in the request of the invalid attribute, or of the nest in which an attribute is
    /// missing.
    pub at: Option<usize>,
    /// The type of the missing attribute.
    pub missing: Option<u16>,
    /// The type of the invalid attribute, if its offset is to be determined by the caller.
    pub about: Option<u16>,
}

impl AttrError {
    /// Creates an `EINVAL` error about an attribute.
    pub(crate) const fn invalid(attr: Attr<'_>, message: &'static str) -> Self {
        Self {
            errno: Errno::INVAL,
            message,
            at: Some(attr.offset),
            missing: None,
            about: None,
        }
    }

    /// Creates an `EINVAL` error about an attribute that is missing in the nest `within`, or in the
    /// request itself if that is `None`.
    pub(crate) fn missing(within: Option<Attr<'_>>, attr: u16, message: &'static str) -> Self {
        Self {
            errno: Errno::INVAL,
            message,
            at: within.map(|nest| nest.offset),
            missing: Some(attr),
            about: None,
        }
    }

    /// Changes the error number to `EINVAL`, which the C module returns for all malformed nests.
    pub(crate) const fn as_invalid(self) -> Self {
        Self {
            errno: Errno::INVAL,
            ..self
        }
    }
}

/// An attribute in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr<'a> {
    /// The type without flags.
    pub kind: u16,
    /// The payload without padding.
    pub payload: &'a [u8],
    /// Offset of the header in the message.
    pub offset: usize,
}

impl<'a> Attr<'a> {
    /// Returns the payload as an 8-bit number; 0 if it is empty.
    pub fn u8(&self) -> u8 {
        self.payload.first().copied().unwrap_or(0)
    }

    /// Returns the first two bytes of the payload as a number in host byte order; 0 if there are
    /// fewer.
    pub fn u16(&self) -> u16 {
        u16::from_ne_bytes(self.head())
    }

    /// Returns the first four bytes of the payload as a number in host byte order; 0 if there are
    /// fewer.
    pub fn u32(&self) -> u32 {
        u32::from_ne_bytes(self.head())
    }

    /// Returns the first two bytes of the payload as a number in network byte order; 0 if there are
    /// fewer.
    pub fn be16(&self) -> Be16 {
        Be16::from_bytes(self.head())
    }

    /// Returns the first four bytes of the payload as a number in network byte order; 0 if there
    /// are fewer.
    pub fn be32(&self) -> Be32 {
        Be32::from_bytes(self.head())
    }

    fn head<const N: usize>(&self) -> [u8; N] {
        self.payload.first_chunk().copied().unwrap_or([0; N])
    }

    /// Returns the payload truncated or zero-padded to `N` bytes (C: `nla_memcpy()`).
    pub fn padded<const N: usize>(&self) -> [u8; N] {
        if let Some(bytes) = self.payload.first_chunk() {
            return *bytes;
        }
        let mut bytes = [0; N];
        for (to, from) in bytes.iter_mut().zip(self.payload) {
            *to = *from;
        }
        bytes
    }

    /// Returns the payload as an address, zero-padded.
    pub fn addr(&self) -> Addr {
        self.padded()
    }

    /// Returns the payload as a string, up to the first NUL.
    pub fn string(&self) -> &'a [u8] {
        self.payload
            .split(|&byte| byte == 0)
            .next()
            .unwrap_or_default()
    }

    /// Iterates over the attributes in the payload.
    pub fn nested(&self) -> Attrs<'a> {
        Attrs::new(self.payload, self.offset.wrapping_add(HEADER_LEN))
    }
}

/// An iterator over a series of attributes. It ends at the first truncated one.
#[derive(Clone, Debug)]
pub struct Attrs<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Attrs<'a> {
    /// Creates an iterator over the attributes in `data`, which begins at `offset` in the message.
    pub const fn new(data: &'a [u8], offset: usize) -> Self {
        Self { rest: data, offset }
    }

    /// Returns `true` if there are trailing bytes that are not an attribute.
    pub fn has_rest(mut self) -> bool {
        self.by_ref().for_each(drop);
        !self.rest.is_empty()
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Attr<'a>;

    fn next(&mut self) -> Option<Attr<'a>> {
        let &[l0, l1, t0, t1] = self.rest.first_chunk::<HEADER_LEN>()?;
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let payload = self.rest.get(HEADER_LEN..len)?;
        let attr = Attr {
            kind: u16::from_ne_bytes([t0, t1]) & TYPE_MASK,
            payload,
            offset: self.offset,
        };
        // The last attribute may lack its padding.
        let aligned = len.wrapping_add(3) & !3;
        self.rest = self.rest.get(aligned..).unwrap_or_default();
        self.offset = self.offset.wrapping_add(aligned);
        Some(attr)
    }
}

/// The expected type of a payload (C: `NLA_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// At least this number of bytes.
    Bytes(usize),
    /// 8-bit number.
    U8,
    /// 16-bit number.
    U16,
    /// 32-bit number.
    U32,
    /// A NUL-terminated string of at most this number of bytes before the NUL.
    String(usize),
    /// At most this number of bytes.
    AtMost(usize),
    /// Nested attributes.
    Nested,
}

/// The validation policy for attributes of a type (C: `struct nla_policy`). Created by the macro
/// `policy!`.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub(crate) kind: Kind,
    pub(crate) too_short: &'static str,
    pub(crate) too_long: &'static str,
    pub(crate) unterminated: &'static str,
}

/// `policy!(NAME, kind)` is the policy for attribute `NAME`, whose payload must be `kind`.
macro_rules! policy {
    ($name:ident, $kind:expr) => {
        $crate::netlink::attr::Policy {
            kind: $kind,
            too_short: concat!(stringify!($name), " is too short"),
            too_long: concat!(stringify!($name), " is too long"),
            unterminated: concat!(stringify!($name), " is not terminated in time"),
        }
    };
}
pub(crate) use policy;

impl Policy {
    /// Accepts everything.
    pub const ANY: Self = policy!(attribute, Kind::Bytes(0));

    /// Validates an attribute's payload.
    #[inline(always)]
    fn check(&self, payload: &[u8]) -> Result<(), (Errno, &'static str)> {
        let at_least = |min| match payload.len() >= min {
            true => Ok(()),
            false => Err((Errno::RANGE, self.too_short)),
        };
        let at_most = |max, len| match len <= max {
            true => Ok(()),
            false => Err((Errno::RANGE, self.too_long)),
        };

        match self.kind {
            Kind::Bytes(min) => at_least(min),
            Kind::U8 => at_least(1),
            Kind::U16 => at_least(2),
            Kind::U32 => at_least(4),
            Kind::AtMost(max) => at_most(max, payload.len()),
            Kind::Nested if payload.is_empty() => Ok(()),
            Kind::Nested => at_least(HEADER_LEN),
            Kind::String(max) => {
                if !payload.get(..=max).unwrap_or(payload).contains(&0) {
                    return Err((Errno::INVAL, self.unterminated));
                }
                // Bytes behind the string count, too, except a single NUL at the end.
                match payload {
                    [text @ .., 0] => at_most(max, text.len()),
                    text => at_most(max, text.len()),
                }
            }
        }
    }
}

/// Returns the attribute of type `kind` in `nest`, if there is one.
///
/// # Errors
///
/// `EINVAL` with `message` if there is none.
#[inline]
pub(crate) fn required<'a>(
    attr: Option<Attr<'a>>,
    nest: Attr<'_>,
    kind: u16,
    message: &'static str,
) -> Result<Attr<'a>, AttrError> {
    attr.ok_or_else(|| AttrError::missing(Some(nest), kind, message))
}

/// Finds the attributes of types 1 to `N - 1` and validates them by the policies of their types.
/// Type 0 and greater types are skipped.
///
/// # Errors
///
/// `ERANGE` or `EINVAL` for the first invalid attribute.
// Inlined, since the result is large and would be copied.
#[inline(always)]
pub fn parse<'a, const N: usize>(
    attrs: Attrs<'a>,
    policy: &[Policy; N],
) -> Result<[Option<Attr<'a>>; N], AttrError> {
    let mut found = [None; N];

    for attr in attrs {
        let kind = usize::from(attr.kind);
        if kind == 0 {
            continue;
        }
        let (Some(attr_policy), Some(place)) = (policy.get(kind), found.get_mut(kind)) else {
            continue;
        };
        if let Err((errno, message)) = attr_policy.check(attr.payload) {
            return Err(AttrError {
                errno,
                message,
                at: Some(attr.offset),
                missing: None,
                about: None,
            });
        }
        *place = Some(attr);
    }
    Ok(found)
}

/// Finds and validates the attributes in `nest`, which is attribute `attr` of a request.
///
/// # Errors
///
/// `EINVAL` if `nest` is `None`, with the message `missing`, or if any attribute in it is invalid.
#[inline(always)]
pub(crate) fn parse_nest<'a, const N: usize>(
    nest: Option<Attr<'a>>,
    policy: &[Policy; N],
    attr: u16,
    missing: &'static str,
) -> Result<(Attr<'a>, [Option<Attr<'a>>; N]), AttrError> {
    let nest = nest.ok_or_else(|| AttrError::missing(None, attr, missing))?;
    let attrs = parse(nest.nested(), policy).map_err(AttrError::as_invalid)?;
    Ok((nest, attrs))
}

#[cfg(test)]
pub(crate) mod testing {
    /// Builds an attribute.
    pub(crate) fn attr(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((payload.len() as u16 + 4).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{
        testing::attr,
        *, //
    };

    const POLICY: [Policy; 8] = [
        Policy::ANY,
        policy!(A_U8, Kind::U8),
        policy!(A_U16, Kind::U16),
        policy!(A_U32, Kind::U32),
        policy!(A_STRING, Kind::String(3)),
        policy!(A_BINARY, Kind::AtMost(4)),
        policy!(A_NEST, Kind::Nested),
        policy!(A_ADDR, Kind::Bytes(16)),
    ];

    fn check(kind: u16, payload: &[u8]) -> Result<(), Errno> {
        parse(Attrs::new(&attr(kind, payload), 0), &POLICY)
            .map(drop)
            .map_err(|error| error.errno)
    }

    #[test]
    fn numbers_may_be_too_long_but_not_too_short() {
        for (kind, len) in [(1, 1), (2, 2), (3, 4), (7, 16)] {
            assert_eq!(check(kind, &vec![1; len]), Ok(()));
            assert_eq!(check(kind, &vec![1; len + 1]), Ok(()));
            assert_eq!(check(kind, &vec![1; len - 1]), Err(Errno::RANGE));
        }
    }

    #[test]
    fn bytes_that_are_no_attribute_are_left_over() {
        let whole = [attr(1, &[1]), attr(4, b"ab\0")].concat();
        for (cut, rest) in [(0, false), (1, false), (2, true), (whole.len(), false)] {
            let data = &whole[..whole.len() - cut];
            assert_eq!(Attrs::new(data, 0).has_rest(), rest, "{cut} bytes less");
        }
        assert!(Attrs::new(&[whole, vec![0; 3]].concat(), 0).has_rest());
    }

    #[test]
    fn strings_end_in_time() {
        for good in [
            &b"\0"[..],
            b"abc\0",
            b"a\0\0\0",
            b"a\0c",
            b"a\0cd"[..3].as_ref(),
        ] {
            assert_eq!(check(4, good), Ok(()), "{good:?}");
        }
        for unterminated in [&b""[..], b"abc", b"abcd", b"abcd\0"] {
            assert_eq!(
                check(4, unterminated),
                Err(Errno::INVAL),
                "{unterminated:?}"
            );
        }
        for long in [&b"a\0cd"[..], b"abc\0\0", b"a\0\0\0\0"] {
            assert_eq!(check(4, long), Err(Errno::RANGE), "{long:?}");
        }
    }

    #[test]
    fn binary_data_may_be_shorter() {
        assert_eq!(check(5, &[]), Ok(()));
        assert_eq!(check(5, &[1; 4]), Ok(()));
        assert_eq!(check(5, &[1; 5]), Err(Errno::RANGE));
    }

    #[test]
    fn nests_are_empty_or_hold_a_header() {
        assert_eq!(check(6, &[]), Ok(()));
        assert_eq!(check(6, &[0; 3]), Err(Errno::RANGE));
        assert_eq!(check(6, &[0; 4]), Ok(()));
    }

    #[test]
    fn flags_in_a_type_are_not_part_of_it() {
        let message = attr(2 | 0xc000, &[1, 2]);
        let [_, _, found, ..] = parse(Attrs::new(&message, 0), &POLICY).unwrap();
        assert_eq!(found.unwrap().kind, 2);
    }

    #[test]
    fn the_last_of_several_counts_and_unknown_ones_do_not() {
        let mut message = attr(1, &[1]);
        message.extend(attr(0, &[]));
        message.extend(attr(8, &[]));
        message.extend(attr(0x3fff, &[0; 100]));
        message.extend(attr(1, &[2]));
        let [_, found, ..] = parse(Attrs::new(&message, 100), &POLICY).unwrap();
        let found = found.unwrap();
        assert_eq!(found.u8(), 2);
        assert_eq!(found.offset, 100 + 8 + 4 + 4 + 104);
    }

    #[test]
    fn a_bad_one_counts_even_if_a_good_one_follows() {
        let mut message = attr(2, &[1]);
        message.extend(attr(2, &[1, 2]));
        let error = parse(Attrs::new(&message, 20), &POLICY).unwrap_err();
        assert_eq!(error.errno, Errno::RANGE);
        assert_eq!(error.at, Some(20));
        assert_eq!(error.message, "A_U16 is too short");
    }

    #[test]
    fn parsing_ends_where_an_attribute_is_cut_off() {
        let message = [attr(1, &[1]), attr(3, &[1, 2, 3, 4])].concat();
        for len in 0..message.len() {
            let found = parse(Attrs::new(&message[..len], 0), &POLICY).unwrap();
            assert_eq!(found[1].is_some(), len >= 5);
            assert!(found[3].is_none());
        }
        // The length is less than that of the header.
        let found = parse(Attrs::new(&[3, 0, 1, 0, 0, 0, 0, 0], 0), &POLICY).unwrap();
        assert!(found[1].is_none());
    }

    #[test]
    fn values_are_cut_off_or_padded() {
        let of = |payload| Attr {
            kind: 1,
            payload,
            offset: 0,
        };
        assert_eq!(of(&[1, 2]).padded(), [1, 2, 0]);
        assert_eq!(of(&[1, 2, 3, 4]).padded(), [1, 2, 3]);
        assert_eq!(of(&[0, 80, 9]).be16(), Be16::new(80));
        assert_eq!(of(&[10, 0, 0, 1]).be32(), Be32::new(0x0a00_0001));
        assert_eq!(of(&[1]).u16(), 0);
        assert_eq!(of(b"rr\0junk").string(), b"rr");
        assert_eq!(of(b"").string(), b"");
    }
}
