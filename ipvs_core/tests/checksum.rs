// SPDX-License-Identifier: GPL-2.0

//! Tests that updating a checksum gives the same result as computing it, for all kinds of
//! rewriting.

mod common;

use common::holds;
use ipvs_core::{
    checksum::{
        checksum,
        pseudo_header,
        replace16,
        replace32,
        Sum, //
    },
    icmp,
    ipv4::{
        self,
        Ipv4Header,
        PROTO_TCP,
        PROTO_UDP, //
    },
    net::{
        Be16,
        Be32, //
    },
    transport::{
        self,
        rewrite_tcp,
        rewrite_udp,
        Change,
        End,
        Rewritten,
        Stored, //
    },
};
use proptest::{
    collection::vec,
    prelude::*, //
};

const CASES: u32 = 2000;

/// Computes the sum of RFC 1071 word by word, adding each carry back.
fn slow_sum(bytes: &[u8]) -> u16 {
    bytes.chunks(2).fold(0u16, |sum, chunk| {
        let word = u16::from_be_bytes([chunk[0], *chunk.get(1).unwrap_or(&0)]);
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    })
}

/// Returns the stored form of a computed checksum: 0xffff becomes 0.
fn stored(check: Be16) -> Be16 {
    if check.raw() == 0xffff {
        Be16::ZERO
    } else {
        check
    }
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Src), Just(End::Dst)]
}

/// Stores the right checksum at `check_at` of a segment from `src` to `dst`.
fn with_checksum(segment: &mut [u8], src: Be32, dst: Be32, protocol: u8, check_at: usize) {
    segment[check_at..check_at + 2].fill(0);
    let check = pseudo_header(src, dst, protocol, segment.len() as u32)
        .add_bytes(segment)
        .finish();
    segment[check_at..check_at + 2].copy_from_slice(&check.to_bytes());
}

fn change(src: u32, dst: u32, end: End, segment: &[u8], addr: u32, port: u16) -> Change<Be32> {
    let (old_addr, at) = match end {
        End::Src => (src, 0),
        End::Dst => (dst, 2),
    };
    Change {
        old_addr: Be32::new(old_addr),
        new_addr: Be32::new(addr),
        old_port: Be16::from_bytes([segment[at], segment[at + 1]]),
        new_port: Be16::new(port),
    }
}

/// Returns source and destination after the change.
fn changed(src: u32, dst: u32, end: End, addr: u32) -> (Be32, Be32) {
    match end {
        End::Src => (Be32::new(addr), Be32::new(dst)),
        End::Dst => (Be32::new(src), Be32::new(addr)),
    }
}

#[test]
fn sums_agree_with_the_slow_one() {
    holds(
        CASES,
        (vec(any::<u8>(), 0..200), 0usize..100),
        |(bytes, split)| {
            prop_assert_eq!(
                Sum::ZERO.add_bytes(&bytes).fold(),
                Be16::new(slow_sum(&bytes))
            );
            let (head, tail) = bytes.split_at((split * 2).min(bytes.len() & !1));
            prop_assert_eq!(
                Sum::ZERO.add_bytes(head).add_bytes(tail).fold(),
                Be16::new(slow_sum(&bytes))
            );
            Ok(())
        },
    );
}

#[test]
fn replacing_is_recomputing() {
    holds(
        CASES,
        (
            vec(any::<u8>(), 8..40),
            0usize..4,
            any::<u16>(),
            any::<u32>(),
        ),
        |(mut bytes, word, new16, new32)| {
            prop_assume!(bytes[8..].iter().any(|&byte| byte != 0));
            let check = checksum(&bytes);
            let at = word * 2;
            let old = Be16::from_bytes([bytes[at], bytes[at + 1]]);
            bytes[at..at + 2].copy_from_slice(&new16.to_be_bytes());
            let updated = replace16(check, old, Be16::new(new16));
            prop_assert_eq!(updated, checksum(&bytes));

            let at = word / 2 * 4;
            let old = Be32::from_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            bytes[at..at + 4].copy_from_slice(&new32.to_be_bytes());
            prop_assert_eq!(replace32(updated, old, Be32::new(new32)), checksum(&bytes));
            Ok(())
        },
    );
}

#[test]
fn new_addresses_leave_the_ip_header_right() {
    holds(
        CASES,
        (
            vec(any::<u8>(), 20..60),
            5u8..=15,
            any::<u32>(),
            any::<u32>(),
        ),
        |(mut packet, words, src, dst)| {
            packet[0] = 0x40 | words.min((packet.len() / 4) as u8);
            ipv4::update_checksum(&mut packet);
            prop_assert!(ipv4::checksum_is_valid(&packet));
            ipv4::set_src(packet.first_chunk_mut().unwrap(), Be32::new(src));
            ipv4::set_dst(packet.first_chunk_mut().unwrap(), Be32::new(dst));
            prop_assert!(ipv4::checksum_is_valid(&packet));
            let header = Ipv4Header::parse_header(&packet).unwrap();
            prop_assert_eq!((header.src, header.dst), (Be32::new(src), Be32::new(dst)));
            // Equal bit by bit, not just equivalent.
            let updated = packet.clone();
            ipv4::update_checksum(&mut packet);
            prop_assert_eq!(updated, packet);
            Ok(())
        },
    );
}

#[test]
fn a_rewritten_tcp_segment_is_right() {
    holds(
        CASES,
        (
            vec(any::<u8>(), 20..100),
            any::<(u32, u32, u32, u16)>(),
            end(),
        ),
        |(mut segment, (src, dst, addr, port), end)| {
            with_checksum(&mut segment, Be32::new(src), Be32::new(dst), PROTO_TCP, 16);
            let change = change(src, dst, end, &segment, addr, port);
            rewrite_tcp(
                segment.first_chunk_mut().unwrap(),
                end,
                change,
                Stored::Complete,
            );
            let (src, dst) = changed(src, dst, end, addr);
            prop_assert!(transport::checksum_is_valid(src, dst, PROTO_TCP, &segment));
            let updated = segment.clone();
            with_checksum(&mut segment, src, dst, PROTO_TCP, 16);
            prop_assert_eq!(updated, segment);
            Ok(())
        },
    );
}

#[test]
fn a_rewritten_udp_datagram_is_right() {
    holds(
        CASES,
        (
            vec(any::<u8>(), 8..100),
            any::<(u32, u32, u32, u16)>(),
            end(),
        ),
        |(mut datagram, (src, dst, addr, port), end)| {
            with_checksum(&mut datagram, Be32::new(src), Be32::new(dst), PROTO_UDP, 6);
            if datagram[6..8] == [0, 0] {
                datagram[6..8].fill(0xff);
            }
            let change = change(src, dst, end, &datagram, addr, port);
            let header = datagram.first_chunk_mut().unwrap();
            prop_assert_eq!(
                rewrite_udp(header, end, change, Stored::Complete),
                Rewritten::Updated
            );
            prop_assert_ne!(&datagram[6..8], &[0, 0]);
            let (src, dst) = changed(src, dst, end, addr);
            prop_assert!(transport::checksum_is_valid(src, dst, PROTO_UDP, &datagram));
            Ok(())
        },
    );
}

#[test]
fn a_device_completes_a_rewritten_partial_checksum() {
    holds(
        CASES,
        (
            vec(any::<u8>(), 20..100),
            any::<(u32, u32, u32, u16)>(),
            end(),
            any::<bool>(),
        ),
        |(mut segment, (src, dst, addr, port), end, tcp)| {
            let (protocol, check_at) = if tcp { (PROTO_TCP, 16) } else { (PROTO_UDP, 6) };
            let len = segment.len() as u32;
            let seed = pseudo_header(Be32::new(src), Be32::new(dst), protocol, len).fold();
            segment[check_at..check_at + 2].copy_from_slice(&seed.to_bytes());

            let change = change(src, dst, end, &segment, addr, port);
            if tcp {
                rewrite_tcp(
                    segment.first_chunk_mut().unwrap(),
                    end,
                    change,
                    Stored::Partial,
                );
            } else {
                let header = segment.first_chunk_mut().unwrap();
                prop_assert_eq!(
                    rewrite_udp(header, end, change, Stored::Partial),
                    Rewritten::Updated
                );
            }
            let (src, dst) = changed(src, dst, end, addr);
            let seed = pseudo_header(src, dst, protocol, len).fold();
            prop_assert_eq!(&segment[check_at..check_at + 2], &seed.to_bytes()[..]);

            // What the device does: sum up from the transport header on, including the seed.
            let check = checksum(&segment).to_bytes();
            segment[check_at..check_at + 2].copy_from_slice(&check);
            prop_assert!(transport::checksum_is_valid(src, dst, protocol, &segment));
            Ok(())
        },
    );
}

#[test]
fn an_icmp_checksum_is_right() {
    holds(CASES, vec(any::<u8>(), 8..100), |mut message| {
        icmp::update_checksum(&mut message);
        prop_assert!(Sum::ZERO.add_bytes(&message).is_valid());
        let check = Be16::from_bytes([message[2], message[3]]);
        prop_assert!(
            check == stored(check) || message.iter().all(|&byte| byte == 0 || byte == 0xff)
        );
        Ok(())
    });
}

#[test]
fn no_bytes_make_parsing_panic() {
    holds(
        CASES,
        (vec(any::<u8>(), 0..128), any::<usize>()),
        |(data, len)| {
            let _ = Ipv4Header::parse(&data, len);
            let _ = icmp::InnerHeader::parse(&data);
            let _ = icmp::IcmpHeader::parse(&data).map(|header| header.next_hop_mtu());
            let _ = transport::TcpHeader::parse(&data);
            let _ = transport::UdpHeader::parse(&data);
            let _ = transport::checksum_is_valid(Be32::ZERO, Be32::ZERO, PROTO_UDP, &data);
            let mut data = data;
            ipv4::update_checksum(&mut data);
            icmp::update_checksum(&mut data);
            Ok(())
        },
    );
}
