// SPDX-License-Identifier: GPL-2.0

//! SIP messages, whose Call-ID a persistence engine looks for.

use ipvs_core::pe::{
    PeKind,
    MAX_DATA, //
};

/// Where `part`, which lies in `whole`, begins.
fn offset(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

pub(crate) fn run(data: &[u8]) {
    let Some(id) = PeKind::Sip.read(data) else {
        return;
    };
    assert!(!id.is_empty() && id.len() <= MAX_DATA);
    assert!(id.iter().all(|byte| !b" \t\r\n,;".contains(byte)));
    // It is whole: something that is no end of a line does not follow.
    let at = offset(data, id);
    assert!(matches!(data.get(at + id.len()), Some(b'\r' | b'\n')));
    // A line begins before it, and has its name.
    let line = &data[..at];
    let start = line
        .windows(2)
        .rposition(|pair| matches!(pair[0], b'\r' | b'\n') && b"cCiI".contains(&pair[1]))
        .unwrap();
    assert!(line[start + 1..].contains(&b':'));
    // What comes after the end of its line does not matter.
    assert_eq!(PeKind::Sip.read(&data[..=at + id.len()]), Some(id));
}
