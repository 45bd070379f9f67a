// SPDX-License-Identifier: GPL-2.0

use super::*;

/// Returns the event of a packet with these chunks, as bytes.
fn event(chunks: &[u8]) -> Event {
    read(chunks).event()
}

fn read(chunks: &[u8]) -> Chunks {
    Chunks::read(*chunks.first_chunk().unwrap(), |at| {
        chunks.get(at - HEADER_LEN..)?.first_chunk().copied()
    })
}

/// Two letters per state, in the order of the numbers.
fn row(direction: Direction, event: Event) -> String {
    const NAMES: [&str; STATES] = [
        "NO", "I1", "IN", "CS", "CR", "CW", "CO", "CE", "ES", "SS", "SR", "SA", "RJ", "CL",
    ];
    let names: Vec<_> = ALL
        .iter()
        .map(|&state| NAMES[usize::from(next(direction, state, event).number())])
        .collect();
    names.join(" ")
}

#[test]
fn every_transition_is_the_known_one() {
    // The columns are the states before.
    const EXPECTED: [(Direction, [&str; EVENTS]); 3] = [
        (
            Direction::Input,
            [
                "ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
                "I1 IN IN CS CR CW CO CE ES SS SR SA IN IN",
                "CW CW CW CS CR CO CO CE ES SS SR SA RJ CL",
                "CR IN IN CR CR CW CO CE ES SS SR SA RJ CL",
                "ES I1 IN CS CR CW CO ES ES SS SR SA RJ CL",
                "SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL",
                "CL IN IN CS CR CW CO CE ES CL SR CL RJ CL",
                "CL CL CL CS CR CW CO CE ES SS SR CL RJ CL",
                "CL I1 IN CS CR CW CO CL ES SS SR SA RJ CL",
                "CL CL CL CL CL RJ CL CL CL CL CL CL CL CL",
            ],
        ),
        (
            Direction::Output,
            [
                "ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
                "CW CW CW CW CW CW CW CW ES CW CW CW CW CW",
                "CS CS CS CS CR CW CO CE ES SS SR SA RJ CL",
                "CE CE CE CE CE CE CE CE ES SS SR SA RJ CL",
                "ES ES ES ES ES ES ES ES ES SS SR SA RJ CL",
                "SS SS SS SS SS SS SS SS SS SS SR SA RJ CL",
                "SA SA SA SA SA CW CO CE ES SA SA SA RJ CL",
                "CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
                "CL CL CL CL CL CW CO CE ES SS SR SA RJ CL",
                "CL RJ CL CL CL CL CL CL CL CL CL CL CL CL",
            ],
        ),
        (
            Direction::InputOnly,
            [
                "ES I1 IN CS CR ES CO CE ES SS SR SA RJ CL",
                "I1 IN IN IN IN IN CO CE ES SS SR SA IN IN",
                "CE CE CE CE CE CE CO CE ES SS SR SA RJ CL",
                "ES ES ES ES ES ES CO CE ES SS SR SA RJ CL",
                "ES I1 IN ES ES CW ES ES ES SS SR SA RJ CL",
                "SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL",
                "CL IN IN CS CR CW CO CE CL CL SR CL RJ CL",
                "CL CL CL CL CL CW CO CE ES SS CL CL RJ CL",
                "CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
                "CL CL CL CL CL RJ CL CL CL CL CL CL CL CL",
            ],
        ),
    ];
    for (direction, rows) in EXPECTED {
        for (event, expected) in ALL_EVENTS.into_iter().zip(rows) {
            assert_eq!(row(direction, event), expected, "{direction:?} {event:?}");
        }
    }
}

#[test]
fn the_first_chunk_determines_the_event() {
    const EVENTS: [Event; 15] = [
        Event::Data,
        Event::Init,
        Event::InitAck,
        Event::Data,
        Event::Data,
        Event::Data,
        Event::Abort,
        Event::Shutdown,
        Event::ShutdownAck,
        Event::Error,
        Event::CookieEcho,
        Event::CookieAck,
        Event::Data,
        Event::Data,
        Event::ShutdownComplete,
    ];
    for chunk_type in 0..=u8::MAX {
        let known = EVENTS.get(usize::from(chunk_type)).copied();
        let expected = known.unwrap_or(Event::Data);
        // Whatever follows, unless it is an ABORT after a cookie.
        for next in [0, 1, 7, 10, 11, 14, 255] {
            let chunks = read(&[chunk_type, 0, 0, 4, next, 0, 0, 4]);
            assert_eq!(chunks.event(), expected);
            assert_eq!(chunks.is_init(), chunk_type == 1);
            assert_eq!(chunks.is_abort(), chunk_type == 6);
        }
        let aborted = read(&[chunk_type, 0, 0, 4, 6, 0, 0, 4]);
        assert_eq!(
            aborted.event(),
            match chunk_type {
                10 | 11 => Event::Abort,
                _ => expected,
            }
        );
        assert_eq!(aborted.is_abort(), chunk_type == 6);
    }
}

#[test]
fn an_abort_is_looked_for_behind_the_padding() {
    for len in 4..=8u8 {
        let padded = usize::from(len.div_ceil(4) * 4);
        let mut packet = vec![10, 0, 0, len];
        packet.resize(padded, 6);
        assert_eq!(event(&packet), Event::CookieEcho, "{len}");
        packet.extend([6, 0, 0]);
        assert_eq!(event(&packet), Event::CookieEcho, "{len}, truncated");
        packet.push(4);
        assert_eq!(event(&packet), Event::Abort, "{len}");
        // Only the next chunk counts.
        packet.truncate(padded);
        packet.extend([0, 0, 0, 4, 6, 0, 0, 4]);
        assert_eq!(event(&packet), Event::CookieEcho, "{len}, not the next");
    }
    // A length that does not even cover its own header, and one beyond any packet.
    for len in [0, 1, 2, 3, u16::MAX] {
        let [l0, l1] = len.to_be_bytes();
        let packet = [11, 0, l0, l1, 6, 0, 0, 4, 6, 0, 0, 4];
        assert_eq!(event(&packet), Event::CookieAck, "{len}");
    }
}

#[test]
fn an_association_lives_and_ends() {
    use Direction::*;
    let mut state = None;
    let mut step = |direction, event| {
        state = next(direction, state, event);
        state
    };
    assert_eq!(step(Input, Event::Init), Init1);
    assert_eq!(step(Input, Event::Init), Init);
    assert_eq!(step(Output, Event::InitAck), CookieSent);
    assert_eq!(step(Input, Event::CookieEcho), CookieReplied);
    assert_eq!(step(Output, Event::CookieAck), Established);
    assert_eq!(step(Input, Event::Data), Established);
    assert_eq!(step(Output, Event::Data), Established);
    assert_eq!(step(Input, Event::Shutdown), ShutdownReceived);
    assert_eq!(step(Output, Event::ShutdownAck), ShutdownAckSent);
    assert_eq!(step(Input, Event::ShutdownComplete), Closed);
    // A restart with the same ports.
    assert_eq!(step(Input, Event::Init), Init);
    assert_eq!(step(Output, Event::Abort), Closed);
}

#[test]
fn numbers_and_names_are_the_known_ones() {
    for (number, state) in ALL.into_iter().enumerate() {
        assert_eq!(usize::from(state.number()), number);
        assert_eq!(SctpState::from_number(number as u16), Some(state));
    }
    assert_eq!(SctpState::from_number(14), Option::None);
    assert_eq!(state_name(3), "C-SENT");
    assert_eq!(state_name(8), "ESTABLISHED");
    assert_eq!(state_name(14), "ERR!");
    assert_eq!(state_name(u16::MAX), "ERR!");
}

#[test]
fn timeouts_are_the_known_ones() {
    assert_eq!(
        ALL.map(SctpState::timeout),
        [2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61]
    );
}

#[test]
fn only_an_established_association_is_active() {
    for state in ALL {
        assert_eq!(state.is_active(), state == Established);
    }
}

#[test]
fn the_checksum_is_crc32c() {
    // RFC 3720, appendix B.4.
    assert_eq!(
        checksum_of(crc32c(CRC_SEED, &[0; 32])),
        [0xaa, 0x36, 0x91, 0x8a]
    );
    assert_eq!(
        checksum_of(crc32c(CRC_SEED, &[0xff; 32])),
        [0x43, 0xab, 0xa8, 0x62]
    );
    let rising: Vec<u8> = (0..32).collect();
    assert_eq!(
        checksum_of(crc32c(CRC_SEED, &rising)),
        [0x4e, 0x79, 0xdd, 0x46]
    );
    // In parts as at once.
    let parts = crc32c(crc32c(CRC_SEED, &rising[..7]), &rising[7..]);
    assert_eq!(parts, crc32c(CRC_SEED, &rising));
}

#[test]
fn a_port_is_written_at_its_end() {
    let mut header = [0, 80, 0, 90, 1, 2, 3, 4, 5, 6, 7, 8];
    assert!(!set_port(&mut header, End::Src, Be16::new(80)));
    assert!(!set_port(&mut header, End::Dst, Be16::new(90)));
    assert!(set_port(&mut header, End::Src, Be16::new(0x1234)));
    assert!(set_port(&mut header, End::Dst, Be16::new(0x5678)));
    assert_eq!(header, [0x12, 0x34, 0x56, 0x78, 1, 2, 3, 4, 5, 6, 7, 8]);
    clear_checksum(&mut header);
    assert_eq!(header[4..], [1, 2, 3, 4, 0, 0, 0, 0]);
}

#[test]
fn the_first_chunk_follows_the_header() {
    let header = core::array::from_fn(|i| i as u8);
    assert_eq!(ports(&header), Ports::parse(&header).unwrap());
    assert_eq!(first_chunk(&header), [12, 13, 14, 15]);
}
