// SPDX-License-Identifier: GPL-2.0

//! Netlink attributes: finding and checking them.
//!
//! [`parse`] accepts and refuses what `nla_parse_nested_deprecated()` does: numbers may be longer
//! than they should, attributes of unknown types are skipped, of several of one type the last
//! counts, and bytes that are left at the end don't matter.

use crate::net::{
    Be16,
    Be32, //
};

use super::Addr;

/// Bytes of an attribute's header: length and type, 16 bits each.
const HEADER_LEN: usize = 4;
/// The bits of a type that are the type; the others are flags (nested, network byte order).
const TYPE_MASK: u16 = 0x3fff;

/// An error number, positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// `EINVAL`.
    pub const INVAL: Self = Self(22);
    /// `ERANGE`.
    pub const RANGE: Self = Self(34);
    /// `EMSGSIZE`.
    pub const MSGSIZE: Self = Self(90);
    /// `EAFNOSUPPORT`.
    pub const AFNOSUPPORT: Self = Self(97);
}

/// What is wrong with a request, for the error code and the extended acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttrError {
    /// Error number.
    pub errno: Errno,
    /// What is wrong, for humans.
    pub message: &'static str,
    /// Offset in the message of the offending attribute, or of the one in which one is missing.
    pub at: Option<usize>,
    /// Type of the missing attribute.
    pub missing: Option<u16>,
    /// Type of the offending attribute, for whoever can tell where it is.
    pub about: Option<u16>,
}

impl AttrError {
    /// `EINVAL` because of an attribute.
    pub(crate) const fn invalid(attr: Attr<'_>, message: &'static str) -> Self {
        Self {
            errno: Errno::INVAL,
            message,
            at: Some(attr.offset),
            missing: None,
            about: None,
        }
    }

    /// `EINVAL` because the nest `within` (the request itself for `None`) lacks an attribute.
    pub(crate) fn missing(within: Option<Attr<'_>>, attr: u16, message: &'static str) -> Self {
        Self {
            errno: Errno::INVAL,
            message,
            at: within.map(|nest| nest.offset),
            missing: Some(attr),
            about: None,
        }
    }

    /// The same with `EINVAL`, which is what the C module makes of every malformed nest.
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
    /// Type, without flags.
    pub kind: u16,
    /// What follows its header, without padding.
    pub payload: &'a [u8],
    /// Offset of its header in the message.
    pub offset: usize,
}

impl<'a> Attr<'a> {
    /// The payload's first byte; 0 if there is none.
    pub fn u8(&self) -> u8 {
        self.payload.first().copied().unwrap_or(0)
    }

    /// The payload's first two bytes in host byte order; 0 if there are fewer.
    pub fn u16(&self) -> u16 {
        u16::from_ne_bytes(self.head())
    }

    /// The payload's first four bytes in host byte order; 0 if there are fewer.
    pub fn u32(&self) -> u32 {
        u32::from_ne_bytes(self.head())
    }

    /// The payload's first two bytes in network byte order; 0 if there are fewer.
    pub fn be16(&self) -> Be16 {
        Be16::from_bytes(self.head())
    }

    /// The payload's first four bytes in network byte order; 0 if there are fewer.
    pub fn be32(&self) -> Be32 {
        Be32::from_bytes(self.head())
    }

    fn head<const N: usize>(&self) -> [u8; N] {
        self.payload.first_chunk().copied().unwrap_or([0; N])
    }

    /// The payload, cut off or filled with zeroes to `N` bytes (C: `nla_memcpy()`).
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

    /// An address, zeroes for what is not there.
    pub fn addr(&self) -> Addr {
        self.padded()
    }

    /// A string: the payload up to the first NUL.
    pub fn string(&self) -> &'a [u8] {
        self.payload
            .split(|&byte| byte == 0)
            .next()
            .unwrap_or_default()
    }

    /// The attributes in the payload.
    pub fn nested(&self) -> Attrs<'a> {
        Attrs::new(self.payload, self.offset.wrapping_add(HEADER_LEN))
    }
}

/// Iterates over attributes that follow one another. It ends at the first that is not there as a
/// whole.
#[derive(Clone, Debug)]
pub struct Attrs<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Attrs<'a> {
    /// Attributes in `data`, which begins at `offset` in the message.
    pub const fn new(data: &'a [u8], offset: usize) -> Self {
        Self { rest: data, offset }
    }

    /// Whether there are bytes at the end that are no attribute.
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

/// What an attribute has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// At least so many bytes.
    Bytes(usize),
    /// 8-bit number.
    U8,
    /// 16-bit number.
    U16,
    /// 32-bit number.
    U32,
    /// NUL-terminated string of at most so many bytes before the NUL.
    String(usize),
    /// At most so many bytes.
    AtMost(usize),
    /// Attributes.
    Nested,
}

/// The rule for attributes of one type (C: `struct nla_policy`). Made by the macro `rule`.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub(crate) kind: Kind,
    pub(crate) too_short: &'static str,
    pub(crate) too_long: &'static str,
    pub(crate) unterminated: &'static str,
}

/// `rule!(NAME, kind)`: attribute `NAME` has to be `kind`.
macro_rules! rule {
    ($name:ident, $kind:expr) => {
        $crate::netlink::attr::Rule {
            kind: $kind,
            too_short: concat!(stringify!($name), " is too short"),
            too_long: concat!(stringify!($name), " is too long"),
            unterminated: concat!(stringify!($name), " is not terminated in time"),
        }
    };
}
pub(crate) use rule;

impl Rule {
    /// Accepts everything.
    pub const ANY: Self = rule!(attribute, Kind::Bytes(0));

    /// Checks an attribute's payload.
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
                // What follows the string counts as well, but for one NUL at the end.
                match payload {
                    [text @ .., 0] => at_most(max, text.len()),
                    text => at_most(max, text.len()),
                }
            }
        }
    }
}

/// An attribute that `nest` has to have.
#[inline]
pub(crate) fn required<'a>(
    attr: Option<Attr<'a>>,
    nest: Attr<'_>,
    kind: u16,
    message: &'static str,
) -> Result<Attr<'a>, AttrError> {
    attr.ok_or_else(|| AttrError::missing(Some(nest), kind, message))
}

/// Finds the attributes of types 1 to `N - 1` in `attrs` and checks them by the rule of their type.
/// Type 0 and types above are skipped.
// What is found is too much to be moved around.
#[inline(always)]
pub fn parse<'a, const N: usize>(
    attrs: Attrs<'a>,
    rules: &[Rule; N],
) -> Result<[Option<Attr<'a>>; N], AttrError> {
    let mut found = [None; N];

    for attr in attrs {
        let kind = usize::from(attr.kind);
        if kind == 0 {
            continue;
        }
        let (Some(rule), Some(place)) = (rules.get(kind), found.get_mut(kind)) else {
            continue;
        };
        if let Err((errno, message)) = rule.check(attr.payload) {
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

/// Finds the attributes in the nest `nest`, which is attribute `attr` of a request and has to be
/// there. Whatever is wrong with them is `EINVAL`.
#[inline(always)]
pub(crate) fn parse_nest<'a, const N: usize>(
    nest: Option<Attr<'a>>,
    rules: &[Rule; N],
    attr: u16,
    missing: &'static str,
) -> Result<(Attr<'a>, [Option<Attr<'a>>; N]), AttrError> {
    let nest = nest.ok_or_else(|| AttrError::missing(None, attr, missing))?;
    let attrs = parse(nest.nested(), rules).map_err(AttrError::as_invalid)?;
    Ok((nest, attrs))
}

#[cfg(test)]
pub(crate) mod testing {
    /// An attribute as it is in a message.
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

    const RULES: [Rule; 8] = [
        Rule::ANY,
        rule!(A_U8, Kind::U8),
        rule!(A_U16, Kind::U16),
        rule!(A_U32, Kind::U32),
        rule!(A_STRING, Kind::String(3)),
        rule!(A_BINARY, Kind::AtMost(4)),
        rule!(A_NEST, Kind::Nested),
        rule!(A_ADDR, Kind::Bytes(16)),
    ];

    fn check(kind: u16, payload: &[u8]) -> Result<(), Errno> {
        parse(Attrs::new(&attr(kind, payload), 0), &RULES)
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
        let [_, _, found, ..] = parse(Attrs::new(&message, 0), &RULES).unwrap();
        assert_eq!(found.unwrap().kind, 2);
    }

    #[test]
    fn the_last_of_several_counts_and_unknown_ones_do_not() {
        let mut message = attr(1, &[1]);
        message.extend(attr(0, &[]));
        message.extend(attr(8, &[]));
        message.extend(attr(0x3fff, &[0; 100]));
        message.extend(attr(1, &[2]));
        let [_, found, ..] = parse(Attrs::new(&message, 100), &RULES).unwrap();
        let found = found.unwrap();
        assert_eq!(found.u8(), 2);
        assert_eq!(found.offset, 100 + 8 + 4 + 4 + 104);
    }

    #[test]
    fn a_bad_one_counts_even_if_a_good_one_follows() {
        let mut message = attr(2, &[1]);
        message.extend(attr(2, &[1, 2]));
        let error = parse(Attrs::new(&message, 20), &RULES).unwrap_err();
        assert_eq!(error.errno, Errno::RANGE);
        assert_eq!(error.at, Some(20));
        assert_eq!(error.message, "A_U16 is too short");
    }

    #[test]
    fn parsing_ends_where_an_attribute_is_cut_off() {
        let message = [attr(1, &[1]), attr(3, &[1, 2, 3, 4])].concat();
        for len in 0..message.len() {
            let found = parse(Attrs::new(&message[..len], 0), &RULES).unwrap();
            assert_eq!(found[1].is_some(), len >= 5);
            assert!(found[3].is_none());
        }
        // A length below the header's.
        let found = parse(Attrs::new(&[3, 0, 1, 0, 0, 0, 0, 0], 0), &RULES).unwrap();
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
