// SPDX-License-Identifier: GPL-2.0

//! SIP messages and their Call-IDs.

use ipvs_core::pe::{
    PeKind,
    MAX_DATA, //
};

/// Returns the offset of `part` in `whole`.
fn offset(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

pub(crate) fn run(data: &[u8]) {
    let Some(id) = PeKind::Sip.read(data) else {
        return;
    };
    assert!(!id.is_empty() && id.len() <= MAX_DATA);
    assert!(id.iter().all(|byte| !b" \t\r\n,;".contains(byte)));
    // It is complete: the line ends behind it.
    let at = offset(data, id);
    assert!(matches!(data.get(at + id.len()), Some(b'\r' | b'\n')));
    // It is in a line that begins with the field's name.
    let line = &data[..at];
    let start = line
        .windows(2)
        .rposition(|pair| matches!(pair[0], b'\r' | b'\n') && b"cCiI".contains(&pair[1]))
        .unwrap();
    assert!(line[start + 1..].contains(&b':'));
    // Bytes after the end of its line do not matter.
    assert_eq!(PeKind::Sip.read(&data[..=at + id.len()]), Some(id));
}
