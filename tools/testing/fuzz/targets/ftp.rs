// SPDX-License-Identifier: GPL-2.0

//! FTP: what is found in a packet is there, and what replaces it is read as what it stands for.

use ipvs_core::{
    ftp::{
        command,
        extended_passive,
        passive,
        Command,
        Passive,
        Text, //
    },
    net::{
        Address,
        Be128,
        Be16,
        Be32, //
    },
};

/// Returns `data` with the part that names the endpoint replaced.
fn replaced<A>(data: &[u8], found: &Passive<A>, text: Text) -> Vec<u8> {
    assert!(found.text.start >= 4 && !found.text.is_empty());
    [
        &data[..found.text.start],
        text.as_bytes(),
        &data[found.text.end..],
    ]
    .concat()
}

fn of_family<A: Address>(data: &[u8], is_ipv4: bool) {
    match command::<A>(data) {
        Some(Command::Passive) => {
            assert!(
                is_ipv4
                    && data
                        .to_ascii_uppercase()
                        .windows(6)
                        .any(|w| w == b"PASV\r\n")
            );
        }
        Some(Command::ExtendedPassive) => {
            assert!(data.to_ascii_uppercase().windows(4).any(|w| w == b"EPSV"));
        }
        Some(Command::Active(_, port)) => {
            let word = data[..4].to_ascii_uppercase();
            assert!(word == b"EPRT" && port != Be16::ZERO || word == b"PORT" && is_ipv4);
        }
        None => (),
    }
    if let Some(found) = extended_passive::<A>(data) {
        assert!(data.starts_with(b"229 ") && found.port != Be16::ZERO);
        let text = Text::extended_passive(found.port);
        let again = extended_passive::<A>(&replaced(data, &found, text)).unwrap();
        assert_eq!((again.addr, again.port), (None, found.port));
    }
}

pub(crate) fn run(data: &[u8]) {
    of_family::<Be32>(data, true);
    of_family::<Be128>(data, false);
    assert_eq!(passive::<Be128>(data), None);
    if let Some(found) = passive::<Be32>(data) {
        assert!(data.starts_with(b"227 "));
        let text = Text::passive(found.addr.unwrap(), found.port);
        let again = passive::<Be32>(&replaced(data, &found, text)).unwrap();
        assert_eq!((again.addr, again.port), (found.addr, found.port));
    }
    // Bytes that come later change nothing about a complete reply.
    for len in 0..data.len().min(64) {
        if let Some(found) = passive::<Be32>(&data[..len]) {
            assert_eq!(passive::<Be32>(data), Some(found));
        }
    }
}
