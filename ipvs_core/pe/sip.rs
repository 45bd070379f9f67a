// SPDX-License-Identifier: GPL-2.0

//! Finds the Call-ID of a SIP message (RFC 3261), by which the persistence engine `sip` tells
//! dialogues apart.
//!
//! C: `get_callid()` of `ip_vs_pe_sip.c`, and the functions of conntrack's SIP helper that it uses.

use super::MAX_DATA;

const NAME: &[u8] = b"Call-ID";
const COMPACT_NAME: &[u8] = b"i";

/// Returns the first well-formed Call-ID of a message. The start line is skipped. `None` if there
/// is none, or if it is longer than [`MAX_DATA`] or not followed by the end of its line.
pub fn call_id(message: &[u8]) -> Option<&[u8]> {
    let mut rest = message;
    loop {
        match next_field(rest)? {
            Field::Value(value) => {
                let (id, after) = value;
                let ends = matches!(after.first(), Some(b'\r' | b'\n'));
                return (ends && id.len() <= MAX_DATA).then_some(id);
            }
            Field::Wrong(after) => rest = after,
        }
    }
}

/// A header field with the name Call-ID.
enum Field<'a> {
    /// A well-formed value, and the rest of the message behind it.
    Value((&'a [u8], &'a [u8])),
    /// The value is malformed; the message from there on.
    Wrong(&'a [u8]),
}

/// Finds the next Call-ID field at the start of a line (C: `ct_sip_get_header()`).
fn next_field(message: &[u8]) -> Option<Field<'_>> {
    let mut rest = message;
    loop {
        let line = after_newline(skip_while(rest, |byte| !is_newline(byte)))?;
        match name_end(line) {
            Some(after_name) => {
                let colon = skip_space(after_name)?;
                let (b':', value) = colon.split_first()? else {
                    return None;
                };
                let value = skip_space(value)?;
                return Some(match id_len(value) {
                    0 => Field::Wrong(value),
                    len => Field::Value(value.split_at_checked(len)?),
                });
            }
            // As in C, the search continues at the second byte of the line.
            None => rest = line.get(1..)?,
        }
    }
}

/// Returns what follows the field name at the start of a line. `None` if the line has another
/// field, or continues the line before.
fn name_end(line: &[u8]) -> Option<&[u8]> {
    let strip = |name: &[u8]| {
        let (head, rest) = line.split_at_checked(name.len())?;
        head.eq_ignore_ascii_case(name).then_some(rest)
    };
    strip(NAME).or_else(|| {
        // Other names may begin with the same letter.
        let rest = strip(COMPACT_NAME)?;
        (!is_letter(*rest.first()?)).then_some(rest)
    })
}

/// Skips the line end at the start of `rest`. `None` if nothing follows.
fn after_newline(rest: &[u8]) -> Option<&[u8]> {
    let after = match rest {
        [b'\r', b'\n', after @ ..] | [_, after @ ..] => after,
        [] => return None,
    };
    (!after.is_empty()).then_some(after)
}

/// Skips blanks, and one line end if the next line continues the field (folding). `None` if nothing
/// follows.
fn skip_space(rest: &[u8]) -> Option<&[u8]> {
    let rest = skip_blanks(rest)?;
    if !is_newline(*rest.first()?) {
        return Some(rest);
    }
    let next = after_newline(rest)?;
    if !is_blank(*next.first()?) {
        return None;
    }
    skip_blanks(next)
}

fn skip_blanks(rest: &[u8]) -> Option<&[u8]> {
    let rest = skip_while(rest, is_blank);
    (!rest.is_empty()).then_some(rest)
}

/// Skips the bytes at the start of `bytes` for which `is` returns `true`.
fn skip_while(bytes: &[u8], is: impl Fn(u8) -> bool) -> &[u8] {
    let mut rest = bytes;
    while let [byte, after @ ..] = rest {
        if !is(*byte) {
            break;
        }
        rest = after;
    }
    rest
}

/// Returns the length of the Call-ID at the start of `value`: a word, optionally followed by `@`
/// and another word. 0 if there is none (C: `callid_len()`).
fn id_len(value: &[u8]) -> usize {
    let len = word_len(value);
    if len == 0 {
        return 0;
    }
    match value.get(len..) {
        Some([b'@', domain @ ..]) => match word_len(domain) {
            0 => 0,
            more => len.saturating_add(more).saturating_add(1),
        },
        _ => len,
    }
}

fn word_len(bytes: &[u8]) -> usize {
    bytes.len().saturating_sub(skip_while(bytes, is_word).len())
}

fn is_word(byte: u8) -> bool {
    is_letter(byte)
        || byte.is_ascii_digit()
        || matches!(
            byte,
            b'!' | b'"'
                | b'%'
                | b'\''
                | b'('..=b'+'
                | b'-'..=b'/'
                | b':'
                | b'<'
                | b'>'
                | b'?'
                | b'['..=b'`'
                | b'{'
                | b'}'
                | b'~'
        ) && byte != b'^'
}

/// Returns `true` for letters, including those of Latin-1, as the kernel's `isalpha()` does.
fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || (byte >= 0xc0 && byte != 0xd7 && byte != 0xf7)
}

fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_is_found_by_either_name_in_any_case() {
        for name in ["Call-ID", "call-id", "CALL-ID", "i", "I"] {
            for end in ["\r\n", "\n", "\r"] {
                let message = format!(
                    "INVITE sip:a@b SIP/2.0{end}Via: SIP/2.0/UDP c{end}{name}: x1@h.example{end}To: d{end}{end}"
                );
                assert_eq!(call_id(message.as_bytes()), Some(&b"x1@h.example"[..]));
            }
        }
    }

    #[test]
    fn blanks_and_a_continued_line_are_passed() {
        for text in [
            "S\r\nCall-ID:x\r\n",
            "S\r\nCall-ID \t: \tx\r\n",
            "S\r\nCall-ID:\r\n x\r\n",
            "S\r\nCall-ID\r\n :\r\n\tx\r\n",
            "S\r\n\r\nCall-ID:x\r\n",
            "S\r\nTo: y\r\n Call-ID:z\r\ni:x\n",
        ] {
            assert_eq!(call_id(text.as_bytes()), Some(&b"x"[..]), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_sound_is_none() {
        for text in [
            "",
            "\r\n",
            "Call-ID: x\r\n",
            "S\r\nCall-ID: x",
            "S\r\nCall-ID: \r\n",
            "S\r\nCall-ID: x\r",
            "S\r\nCall-ID: x;y\r\n",
            "S\r\nCall-ID: x@y@z\r\n",
            "S\r\nCall-ID x\r\n",
            "S\r\nCall-IDs: x\r\n",
            "S\r\nin: x\r\n",
            "S\r\nCall-ID:\r\nx\r\n",
        ] {
            let id = call_id(text.as_bytes());
            // A single CR is a line end, too.
            if text == "S\r\nCall-ID: x\r" {
                assert_eq!(id, Some(&b"x"[..]));
            } else {
                assert_eq!(id, None, "{text:?}");
            }
        }
    }

    #[test]
    fn a_wrong_one_is_passed_over() {
        assert_eq!(
            call_id(b"S\r\ni: x@\r\nCall-ID: ,\r\ni: y\r\n"),
            Some(&b"y"[..])
        );
    }

    #[test]
    fn the_longest_one_has_255_bytes() {
        let message = |len| format!("S\r\ni: {}\r\n", "a".repeat(len));
        assert_eq!(call_id(message(255).as_bytes()).map(<[u8]>::len), Some(255));
        assert_eq!(call_id(message(256).as_bytes()), None);
    }

    #[test]
    fn words_have_these_bytes_besides_letters_and_digits() {
        let others: Vec<u8> = (0..=0x7f)
            .filter(|byte: &u8| is_word(*byte) && !byte.is_ascii_alphanumeric())
            .collect();
        assert_eq!(others, b"!\"%'()*+-./:<>?[\\]_`{}~");
        assert!(is_word(0xe4) && !is_word(0xd7) && !is_word(0x80));
    }
}
