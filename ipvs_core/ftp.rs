// SPDX-License-Identifier: GPL-2.0

//! Finds the addresses and ports of data connections in the commands and replies of FTP (RFC 959,
//! RFC 2428), and writes the ones that take their place.
//!
//! C: `ip_vs_ftp_get_addrport()` and its callers in `ip_vs_ftp.c`; `in4_pton()` and `in6_pton()`.
//! `app/ftp.rs` has the other half: which connection a packet belongs to, and what is made of it.
//!
//! A packet is read by itself, as in C: a command or a reply that is split between packets is not
//! found, and stays as it is. What is found is what C finds, in every detail of the syntax.

use crate::net::{
    Addr,
    Address,
    Be128,
    Be16,
    Be32, //
};
use core::ops::Range;

/// A client's command about data connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<A> {
    /// `PASV`: the server's reply will say where it waits for the data connection.
    Passive,
    /// `EPSV`: the same, in the format of RFC 2428.
    ExtendedPassive,
    /// `PORT` or `EPRT`: the client waits for the data connection at this address and port.
    Active(A, Be16),
}

/// A server's reply that tells where it waits for a data connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passive<A> {
    /// The address; `None` if it is the one that the control connection goes to.
    pub addr: Option<A>,
    /// The port.
    pub port: Be16,
    /// The part of the packet's payload that says so, in bytes.
    pub text: Range<usize>,
}

/// Returns whether addresses of type `A` are those that `PASV` and `PORT` are made for.
fn is_ipv4<A: Address>() -> bool {
    A::of(Be32::ZERO.into()).is_some()
}

/// Reads the payload of a client's packet. `PASV` and `EPSV` are found anywhere in it, `PORT` and
/// `EPRT` at its beginning. C: `ip_vs_ftp_in()`.
pub fn command<A: Address>(payload: &[u8]) -> Option<Command<A>> {
    let mut rest = payload;
    while let Some(bytes) = rest.first_chunk::<6>() {
        if is_ipv4::<A>() && bytes.eq_ignore_ascii_case(b"PASV\r\n") {
            return Some(Command::Passive);
        }
        if let Some([b' ' | b'\r', ..]) = after(rest, b"EPSV") {
            // An argument names the family. One that asks for another family, or for something
            // else, is the client's last command that is looked at.
            let family = if is_ipv4::<A>() { b'1' } else { b'2' };
            return match rest.get(4..) {
                Some([b'\r', ..]) => Some(Command::ExtendedPassive),
                Some([b' ', number, b'\r', ..]) if *number == family => {
                    Some(Command::ExtendedPassive)
                }
                _ => None,
            };
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    let of_port = || {
        let (addr, port, _) = legacy(skip(after(payload, b"PORT")?, b' ', true)?)?;
        Some((A::of(addr.into())?, port))
    };
    let of_eprt = || {
        let (addr, port, _) = extended(skip(after(payload, b"EPRT")?, b' ', false)?)?;
        Some((addr?, port))
    };
    let (addr, port) = of_port().or_else(of_eprt)?;
    Some(Command::Active(addr, port))
}

/// Reads a server's reply to `PASV`, for example `227 Entering Passive Mode (192,0,2,1,156,64).`
/// The parenthesis may be missing.
pub fn passive<A: Address>(payload: &[u8]) -> Option<Passive<A>> {
    let start = skip(after(payload, b"227 ")?, b'(', true)?;
    let (addr, port, rest) = legacy(start)?;
    Some(Passive {
        addr: Some(A::of(addr.into())?),
        port,
        text: between(payload, start, rest),
    })
}

/// Reads a server's reply to `EPSV`, for example `229 Entering Extended Passive Mode (|||40000|)`.
pub fn extended_passive<A: Address>(payload: &[u8]) -> Option<Passive<A>> {
    let start = skip(after(payload, b"229 ")?, b'(', false)?;
    let (addr, port, rest) = extended(start)?;
    Some(Passive {
        addr,
        port,
        text: between(payload, start, rest),
    })
}

/// Returns where `start` begins and `rest` begins in `payload`, both of which reach to its end.
fn between(payload: &[u8], start: &[u8], rest: &[u8]) -> Range<usize> {
    let at = |part: &[u8]| payload.len().saturating_sub(part.len());
    at(start)..at(rest)
}

/// Returns what follows `word`, in any case, at the beginning of `bytes`.
fn after<'a>(bytes: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(word.len())?;
    head.eq_ignore_ascii_case(word).then_some(rest)
}

/// Returns what follows the byte `expected` at the beginning of `bytes`.
fn expect(bytes: &[u8], expected: u8) -> Option<&[u8]> {
    match bytes.split_first()? {
        (&byte, rest) if byte == expected => Some(rest),
        _ => None,
    }
}

/// Skips everything up to the first `opening`, and any further ones that follow it. With
/// `or_digit`, stops before a digit on the way.
fn skip(bytes: &[u8], opening: u8, or_digit: bool) -> Option<&[u8]> {
    let mut found = false;
    let mut rest = bytes;
    loop {
        let (&byte, after) = rest.split_first()?;
        let stops = if found {
            byte != opening
        } else {
            or_digit && byte.is_ascii_digit()
        };
        if stops {
            return Some(rest);
        }
        found |= byte == opening;
        rest = after;
    }
}

/// Takes decimal digits from the beginning of `bytes`. Returns their value, 0 if there are none,
/// and what follows. `None` if the value does not fit, or if nothing follows.
fn digits(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let mut value = 0u16;
    let mut rest = bytes;
    loop {
        let (&byte, after) = rest.split_first()?;
        if !byte.is_ascii_digit() {
            return Some((value, rest));
        }
        let digit = byte.wrapping_sub(b'0');
        value = value.checked_mul(10)?.checked_add(digit.into())?;
        rest = after;
    }
}

/// Reads an address and a port as six numbers with commas in between, and returns what follows.
/// Numbers that are missing are 0.
fn legacy(bytes: &[u8]) -> Option<(Be32, Be16, &[u8])> {
    let mut numbers = [0u8; 6];
    let mut rest = bytes;
    for (index, number) in numbers.iter_mut().enumerate() {
        if index != 0 {
            rest = expect(rest, b',')?;
        }
        let (value, after) = digits(rest)?;
        *number = value.try_into().ok()?;
        rest = after;
    }
    let [a, b, c, d, high, low] = numbers;
    let addr = Be32::from_bytes([a, b, c, d]);
    Some((addr, Be16::from_bytes([high, low]), rest))
}

/// Reads `|1|192.0.2.1|40000|`, `|2|2001:db8::1|40000|` or `|||40000|`, with any printable ASCII
/// character in place of the bar, and returns what follows. The family must be that of `A`.
fn extended<A: Address>(bytes: &[u8]) -> Option<(Option<A>, Be16, &[u8])> {
    let (&delimiter, rest) = bytes.split_first()?;
    if !delimiter.is_ascii_graphic() {
        return None;
    }
    let (addr, rest) = match rest.split_first()? {
        (&byte, rest) if byte == delimiter => (None, expect(rest, delimiter)?),
        (family, rest) => {
            let rest = expect(rest, delimiter)?;
            let end = rest.iter().position(|&byte| byte == delimiter)?;
            let (text, rest) = rest.split_at_checked(end)?;
            let addr = match family {
                b'1' => Addr::V4(ipv4(text)?),
                b'2' => Addr::V6(ipv6(text)?),
                _ => return None,
            };
            (Some(A::of(addr)?), expect(rest, delimiter)?)
        }
    };
    let (port, rest) = digits(rest)?;
    let rest = expect(rest, delimiter)?;
    (port != 0).then_some((addr, Be16::new(port), rest))
}

/// Reads an IPv4 address. Numbers may begin with zeros.
fn ipv4(text: &[u8]) -> Option<Be32> {
    let mut bytes = [0; 4];
    let mut numbers = text.split(|&byte| byte == b'.');
    for byte in &mut bytes {
        *byte = number(numbers.next()?, false)?.try_into().ok()?;
    }
    match numbers.next() {
        None => Some(Be32::from_bytes(bytes)),
        Some(_) => None,
    }
}

/// Reads an IPv6 address in any of the forms of RFC 4291. Numbers may begin with any number of
/// zeros.
fn ipv6(text: &[u8]) -> Option<Be128> {
    let Some(gap) = text.windows(2).position(|pair| pair == b"::") else {
        let (bytes, len) = groups(text, true)?;
        return (len == 16).then_some(Be128::from_bytes(bytes));
    };
    let head = text.get(..gap)?;
    let tail = text.get(gap.wrapping_add(2)..)?;
    let (head, head_len) = groups(head, false)?;
    let (tail, tail_len) = groups(tail, true)?;
    // The gap stands for one group at least.
    let len = usize::checked_add(head_len, tail_len)?;
    if len > 14 {
        return None;
    }
    let mut bytes = head;
    let tail = tail.get(..tail_len)?;
    for (byte, from) in bytes.iter_mut().rev().zip(tail.iter().rev()) {
        *byte = *from;
    }
    Some(Be128::from_bytes(bytes))
}

/// Reads groups of hexadecimal digits with colons in between. With `may_end_in_ipv4` the last two
/// may be written as an IPv4 address. Returns their bytes, followed by zeros, and how many there
/// are.
fn groups(text: &[u8], may_end_in_ipv4: bool) -> Option<([u8; 16], usize)> {
    let mut bytes = [0; 16];
    let mut len = 0usize;
    if text.is_empty() {
        return Some((bytes, len));
    }
    let mut groups = text.split(|&byte| byte == b':').peekable();
    while let Some(group) = groups.next() {
        let rest = bytes.get_mut(len..)?;
        if group.contains(&b'.') && may_end_in_ipv4 && groups.peek().is_none() {
            *rest.first_chunk_mut()? = ipv4(group)?.to_bytes();
            len = len.wrapping_add(4);
        } else {
            *rest.first_chunk_mut()? = number(group, true)?.to_be_bytes();
            len = len.wrapping_add(2);
        }
    }
    Some((bytes, len))
}

/// Reads a number of at least one digit, decimal or with `hex` hexadecimal.
fn number(text: &[u8], hex: bool) -> Option<u16> {
    if text.is_empty() {
        return None;
    }
    let radix = if hex { 16 } else { 10 };
    text.iter().try_fold(0u16, |value, &byte| {
        let digit = match byte {
            b'0'..=b'9' => byte.wrapping_sub(b'0'),
            b'a'..=b'f' | b'A'..=b'F' if hex => (byte & 0xf).wrapping_add(9),
            _ => return None,
        };
        value.checked_mul(radix)?.checked_add(digit.into())
    })
}

/// The text that takes the place of [`Passive::text`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Text {
    // The longest is "255,255,255,255,255,255".
    bytes: [u8; 23],
    len: usize,
}

impl Text {
    /// Returns the text of a reply to `PASV`: six numbers.
    pub fn passive(addr: Be32, port: Be16) -> Self {
        let [a, b, c, d] = addr.to_bytes();
        let [high, low] = port.to_bytes();
        let mut text = Self::default();
        text.decimal(a.into());
        for byte in [b, c, d, high, low] {
            text.byte(b',');
            text.decimal(byte.into());
        }
        text
    }

    /// Returns the text of a reply to `EPSV`: the port alone, so that the client connects to the
    /// address that it knows.
    pub fn extended_passive(port: Be16) -> Self {
        let mut text = Self::default();
        for _ in 0..3 {
            text.byte(b'|');
        }
        text.decimal(port.host());
        text.byte(b'|');
        text
    }

    /// Returns the text.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len = self.len.wrapping_add(1);
        }
    }

    fn decimal(&mut self, value: u16) {
        let mut digits = [0; 5];
        let mut first = digits.len();
        let mut rest = value;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' | (rest % 10) as u8;
            first = first.wrapping_sub(1);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        for &digit in digits.get(first..).unwrap_or_default() {
            self.byte(digit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        format,
        net::{
            Ipv4Addr,
            Ipv6Addr, //
        },
        string::String,
        vec::Vec, //
    };

    type Command4 = Option<Command<Be32>>;
    type Command6 = Option<Command<Be128>>;

    const ADDR: Be32 = Be32::new(0xc000_0201);
    const PORT: Be16 = Be16::new(40000);
    const ACTIVE: Command4 = Some(Command::Active(ADDR, PORT));

    fn v4(text: &str) -> Be32 {
        Be32::from_bytes(text.parse::<Ipv4Addr>().unwrap().octets())
    }

    fn v6(text: &str) -> Be128 {
        Be128::from_bytes(text.parse::<Ipv6Addr>().unwrap().octets())
    }

    fn of4(text: &str) -> Command4 {
        command(text.as_bytes())
    }

    fn of6(text: &str) -> Command6 {
        command(text.as_bytes())
    }

    /// Returns the port of a reply and its text.
    fn reply<A: Address>(
        read: impl Fn(&[u8]) -> Option<Passive<A>>,
        text: &str,
    ) -> Option<(Option<A>, u16, &str)> {
        let found = read(text.as_bytes())?;
        Some((found.addr, found.port.host(), &text[found.text]))
    }

    #[test]
    fn pasv_is_found_anywhere_in_a_packet_of_ipv4() {
        for text in [
            "PASV\r\n",
            "pasv\r\n",
            "NOOP\r\nPaSv\r\nLIST\r\n",
            "xPASV\r\n",
        ] {
            assert_eq!(of4(text), Some(Command::Passive), "{text:?}");
            assert_eq!(of6(text), None, "{text:?}");
        }
        // What Telnet puts before an interrupt.
        assert_eq!(
            command::<Be32>(b"\xff\xf4\xff\xf2PASV\r\n"),
            Some(Command::Passive)
        );
        for text in [
            "",
            "PASV",
            "PASV\r",
            "PASV\n\n",
            "PASV \r\n",
            "PAS\r\nV\r\n",
        ] {
            assert_eq!(of4(text), None, "{text:?}");
        }
    }

    #[test]
    fn epsv_may_name_the_family_of_the_connection() {
        for text in ["EPSV\r\n", "epsv\r\n", "USER x\r\nEPSV\r\n", "EPSV\rx"] {
            assert_eq!(of4(text), Some(Command::ExtendedPassive), "{text:?}");
            assert_eq!(of6(text), Some(Command::ExtendedPassive), "{text:?}");
        }
        assert_eq!(of4("EPSV 1\r\n"), Some(Command::ExtendedPassive));
        assert_eq!(of6("EPSV 2\r\n"), Some(Command::ExtendedPassive));
        assert_eq!(of4("EPSV 1\r"), Some(Command::ExtendedPassive));
        for text in [
            "EPSV\r",
            "EPSV 1",
            "EPSV ALL\r\n",
            "EPSV 12\r\n",
            "EPSVX\r\n",
        ] {
            assert_eq!(of4(text), None, "{text:?}");
        }
        assert_eq!(of4("EPSV 2\r\n"), None);
        assert_eq!(of6("EPSV 1\r\n"), None);
        // Nothing that follows an argument of something else is looked at.
        assert_eq!(of4("EPSV 2\r\nPASV\r\n"), None);
        assert_eq!(of4("EPSV\nPASV\r\n"), Some(Command::Passive));
    }

    #[test]
    fn port_is_read_at_the_beginning_of_a_packet() {
        for text in [
            "PORT 192,0,2,1,156,64\r\n",
            "port 192,0,2,1,156,64\n",
            "PORT   192,0,2,1,156,64 x",
            "PORT192,0,2,1,156,64,7",
            "PORTs:192,0,2,1,156,64\r",
            "PORT 0192,000,02,01,0156,064\r\n",
            "PORT 192,,2,1,156,64\r\n",
            "PORT 192,0,2,1,156,64\r\nLIST\r\n",
        ] {
            assert_eq!(of4(text), ACTIVE, "{text:?}");
            assert_eq!(of6(text), None, "{text:?}");
        }
        for text in [
            "PORT 192,0,2,1,156,64",
            "PORT 192,0,2,1,156",
            "PORT 192,0,2,1,156\r\n",
            "PORT 192,0,2,1,256,64\r\n",
            "PORT 192,0,2,1,156,99999999999999999999\r\n",
            "PORT 192.0.2.1,156,64\r\n",
            "PORT -1,0,2,1,156,64\r\n",
            "PORT  \r\n",
            "PORT s 192,0,2,1,156,64\r\n",
            "PORT",
            "POR",
            "NOOP\r\nPORT 192,0,2,1,156,64\r\n",
        ] {
            assert_eq!(of4(text), None, "{text:?}");
        }
        // The first digit is where the numbers begin, whatever is before it.
        assert_eq!(
            of4("PORT\x001,2,3,4,5,6,"),
            Some(Command::Active(v4("1.2.3.4"), Be16::new(0x0506)))
        );
        // Port 0 and any address pass: they are for the caller to judge.
        assert_eq!(
            of4("PORT 0,0,0,0,0,0\n"),
            Some(Command::Active(Be32::ZERO, Be16::ZERO))
        );
        assert_eq!(
            of4("PORT ,,,,,\n"),
            Some(Command::Active(Be32::ZERO, Be16::ZERO))
        );
    }

    #[test]
    fn the_first_command_that_is_found_is_taken() {
        assert_eq!(
            of4("PORT 192,0,2,1,156,64\r\nPASV\r\n"),
            Some(Command::Passive)
        );
        assert_eq!(of4("PASV\r\nEPSV\r\n"), Some(Command::Passive));
        assert_eq!(of4("EPSV\r\nPASV\r\n"), Some(Command::ExtendedPassive));
    }

    #[test]
    fn eprt_has_any_printable_delimiter_and_the_family_of_the_connection() {
        for delimiter in 33u8..=126 {
            // A digit would be one of the port, and this one is in the address.
            if delimiter.is_ascii_digit() || delimiter == b'.' {
                continue;
            }
            let d = char::from(delimiter);
            let text = format!("EPRT {d}1{d}192.0.2.1{d}40000{d}\r\n");
            assert_eq!(of4(&text), ACTIVE, "{text:?}");
        }
        for delimiter in [0u8, 9, 10, 13, 127, 128, 0xe4, 255] {
            let mut text = Vec::from(&b"EPRT .1.192|0|2|1.40000.\r\n"[..]);
            text[5] = delimiter;
            assert_eq!(command::<Be32>(&text), None);
        }
        for text in [
            "eprt |1|192.0.2.1|40000|",
            "EPRT  |1|192.000.02.1|0040000|x",
            "EPRTX |1|192.0.2.1|40000|\r\n",
        ] {
            assert_eq!(of4(text), ACTIVE, "{text:?}");
            assert_eq!(of6(text), None, "{text:?}");
        }
        for text in [
            "EPRT |1|192.0.2.1|40000",
            "EPRT |1|192.0.2.1|0|",
            "EPRT |1|192.0.2.1||",
            "EPRT |1|192.0.2.1|65536|",
            "EPRT |1|192.0.2.1|99999999999|",
            "EPRT |1|192.0.2.1|4 0000|",
            "EPRT |1|192.0.2.1|-1|",
            "EPRT |1|192.0.2|40000|",
            "EPRT |1|192.0.2.1.5|40000|",
            "EPRT |1|192.0..1|40000|",
            "EPRT |1|192.0.2.256|40000|",
            "EPRT |1|192.0.2.a|40000|",
            "EPRT |1|192.0.2.1\x00|40000|",
            "EPRT |1|192.0.2.1:|40000|",
            "EPRT |11|192.0.2.1|40000|",
            "EPRT |3|192.0.2.1|40000|",
            "EPRT |2|2001:db8::1|40000|",
            "EPRT |2|192.0.2.1|40000|",
            "EPRT |1||40000|",
            "EPRT |||40000|",
            "EPRT 11192.0.2.1140000111",
            "EPRT|1|192.0.2.1|40000|",
            "EPRT ",
            "EPRT |",
            "EPRT |1",
            "EPRT |1|",
        ] {
            assert_eq!(of4(text), None, "{text:?}");
        }
        assert_eq!(
            of6("EPRT |2|2001:db8::1|40000|\r\n"),
            Some(Command::Active(v6("2001:db8::1"), PORT))
        );
        assert_eq!(of6("EPRT |1|192.0.2.1|40000|\r\n"), None);
        assert_eq!(of6("EPRT |||40000|\r\n"), None);
        assert_eq!(of6("EPRT :2:2001:db8::1:40000:\r\n"), None);
        assert_eq!(
            of6("EPRT a2abcd::1a40000a\r\n"),
            Some(Command::Active(v6("bcd::1"), PORT))
        );
    }

    #[test]
    fn addresses_of_ipv6_are_read_as_the_kernel_does() {
        for text in [
            "::",
            "::1",
            "1::",
            "1::8",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "1:2:3::6:7:8",
            "fe80::abCD:ffFF",
            "::ffff:192.0.2.1",
            "1:2:3:4:5:6:192.0.2.1",
            "1::192.0.2.1",
            "1:2:3:4:5::192.0.2.1",
        ] {
            assert_eq!(ipv6(text.as_bytes()), Some(v6(text)), "{text}");
        }
        assert_eq!(ipv6(b"000001::00000ffff"), Some(v6("1::ffff")));
        assert_eq!(ipv6(b"::01.002.3.0004"), Some(v6("::1.2.3.4")));
        for text in [
            "",
            ":",
            ":::",
            "1",
            "1:",
            ":1",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4:5:6:7:",
            "1::2::3",
            "1:::2",
            "::1:2:3:4:5:6:7:8",
            "1:2:3:4::5:6:7:8",
            "1:2:3:4:5:6:7:8::",
            "10000::",
            "::g",
            "::1.2.3",
            "::1.2.3.4:5",
            "1.2.3.4::",
            "1.2.3.4",
            "1:2:3:4:5:6:7:1.2.3.4",
            "1:2:3:4:5:6::1.2.3.4",
            "::256.0.0.1",
            "::1%eth0",
            " ::1",
        ] {
            assert_eq!(ipv6(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_reply_to_pasv_says_where_its_numbers_are() {
        for text in [
            "227 Entering Passive Mode (192,0,2,1,156,64).\r\n",
            "227 Entering Passive Mode 192,0,2,1,156,64\r\n",
            "227 ((192,0,2,1,156,64",
            "227 x(192,0,2,1,156,64",
            "227 192,0,2,1,156,64)",
        ] {
            let text = format!("{text} ");
            assert_eq!(
                reply(passive, &text),
                Some((Some(ADDR), 40000, "192,0,2,1,156,64")),
                "{text:?}"
            );
        }
        for text in [
            "227-Entering (192,0,2,1,156,64)",
            "226 (192,0,2,1,156,64)",
            " 227 (192,0,2,1,156,64)",
            "227 (192,0,2,1,156,64",
            "227 (192,0,2,1,156)",
            "227 (x192,0,2,1,156,64)",
            "227 Passive 2 (192,0,2,1,156,64)",
            "227 ",
            "22",
        ] {
            assert_eq!(reply::<Be32>(passive, text), None, "{text:?}");
        }
        assert_eq!(reply::<Be128>(passive, "227 (192,0,2,1,156,64)"), None);
    }

    #[test]
    fn a_reply_to_epsv_may_leave_out_the_address() {
        for (text, addr, part) in [
            (
                "229 Extended Passive Mode (|||40000|)\r\n",
                None,
                "|||40000|",
            ),
            ("229 (!!!40000!)", None, "!!!40000!"),
            ("229 ((|||040000|", None, "|||040000|"),
            (
                "229 (|1|192.0.2.1|40000|)",
                Some(ADDR),
                "|1|192.0.2.1|40000|",
            ),
        ] {
            let found = reply(extended_passive::<Be32>, text);
            assert_eq!(found, Some((addr, 40000, part)), "{text:?}");
        }
        assert_eq!(
            reply(extended_passive, "229 (|2|2001:db8::1|40000|)"),
            Some((Some(v6("2001:db8::1")), 40000, "|2|2001:db8::1|40000|"))
        );
        for text in [
            "229 |||40000|",
            "229 (||40000|)",
            "229 (||1|40000|)",
            "229 (|||0|)",
            "229 (|||65536|)",
            "229 (|||40000)",
            "229 (|||40000",
            "229 (|2|2001:db8::1|40000|)",
            "227 (|||40000|)",
            "229 4(",
        ] {
            assert_eq!(reply::<Be32>(extended_passive, text), None, "{text:?}");
        }
    }

    #[test]
    fn the_text_is_what_is_read_again() {
        let text = |text: Text| String::from_utf8(text.as_bytes().into()).unwrap();
        for (addr, port, expected) in [
            ("192.0.2.1", 40000, "192,0,2,1,156,64"),
            ("255.255.255.255", 65535, "255,255,255,255,255,255"),
            ("0.10.100.9", 0, "0,10,100,9,0,0"),
        ] {
            assert_eq!(text(Text::passive(v4(addr), Be16::new(port))), expected);
        }
        for port in [1, 9, 10, 99, 100, 999, 1000, 9999, 10000, 65535] {
            let text = text(Text::extended_passive(Be16::new(port)));
            assert_eq!(text, format!("|||{port}|"));
            let line = format!("229 ({text})");
            let found = reply(extended_passive::<Be32>, &line);
            assert_eq!(found, Some((None, port, &text[..])));
        }
    }

    #[test]
    fn every_part_of_a_packet_is_read_without_a_panic() {
        let whole = b"227 (1,2,3,4,5,6)229 (|2|1:2:3::5.6.7.8|65535|)EPRT |1|1.2.3.4|5|PORT 1,2,3";
        for start in 0..whole.len() {
            for end in start..=whole.len() {
                let bytes = &whole[start..end];
                let _ = (command::<Be32>(bytes), command::<Be128>(bytes));
                let _ = (passive::<Be32>(bytes), extended_passive::<Be128>(bytes));
            }
        }
    }
}
