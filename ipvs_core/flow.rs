// SPDX-License-Identifier: GPL-2.0

//! The lookup keys of connections and services, and the keyed hash over them.
//!
//! C: `ip_vs_conn_hashkey()` and `ip_vs_svc_hashval()`. Remote hosts choose what is hashed, so the
//! hash is SipHash-1-3 (C: `hsiphash()`) with a random key, and collisions can't be computed
//! remotely. The hash input of an IPv4 5-tuple is two 64-bit words, that of an IPv6 one five, and
//! that of a service one or three.

use crate::{
    net::{
        Addr,
        Address,
        Be128,
        Be16,
        Be32, //
    },
    netlink::{
        AF_INET,
        AF_INET6, //
    },
};

/// A hash key, expanded to the initial state of SipHash.
#[derive(Clone, Copy)]
pub struct HashKey([u64; 4]);

impl HashKey {
    /// Creates a key from 128 random bits.
    #[inline]
    pub const fn new(random: [u64; 2]) -> Self {
        let [k0, k1] = random;
        // The initialization constants of SipHash.
        Self([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }
}

/// The state of a SipHash-1-3 computation.
struct Sip(u64, u64, u64, u64);

impl Sip {
    #[inline(always)]
    const fn new(key: &HashKey) -> Self {
        let [v0, v1, v2, v3] = key.0;
        Self(v0, v1, v2, v3)
    }

    #[inline(always)]
    const fn round(self) -> Self {
        let Self(v0, v1, v2, v3) = self;

        let v0 = v0.wrapping_add(v1);
        let v1 = v1.rotate_left(13) ^ v0;
        let v0 = v0.rotate_left(32);
        let v2 = v2.wrapping_add(v3);
        let v3 = v3.rotate_left(16) ^ v2;
        let v0 = v0.wrapping_add(v3);
        let v3 = v3.rotate_left(21) ^ v0;
        let v2 = v2.wrapping_add(v1);
        let v1 = v1.rotate_left(17) ^ v2;
        let v2 = v2.rotate_left(32);

        Self(v0, v1, v2, v3)
    }

    #[inline(always)]
    const fn word(self, word: u64) -> Self {
        let Self(v0, v1, v2, v3) = Self(self.0, self.1, self.2, self.3 ^ word).round();
        Self(v0 ^ word, v1, v2, v3)
    }

    #[inline(always)]
    const fn finish(self) -> u64 {
        let Self(v0, v1, v2, v3) = Self(self.0, self.1, self.2 ^ 0xff, self.3)
            .round()
            .round()
            .round();
        v0 ^ v1 ^ v2 ^ v3
    }
}

/// Returns the last word of an input of `len` bytes: the bytes after the last full word, with the
/// length in the highest byte.
#[inline(always)]
const fn last_word(bytes: u64, len: u8) -> u64 {
    bytes | ((len as u64) << 56)
}

/// Hashes a 32-bit number as `hsiphash()` does on 64-bit machines.
#[inline]
pub(crate) const fn hash_u32(key: &HashKey, value: u32) -> u32 {
    let word = u32::from_le_bytes(value.to_ne_bytes()) as u64;
    Sip::new(key).word(last_word(word, 4)).finish() as u32
}

/// Hashes an address. All bits of the result are equally well distributed.
#[inline]
pub(crate) const fn hash_addr(key: &HashKey, addr: Addr) -> u32 {
    let sip = Sip::new(key);
    let sip = match addr {
        Addr::V4(addr) => sip.word(last_word(addr.raw() as u64, 4)),
        Addr::V6(addr) => {
            let (low, high) = (addr.raw() as u64, (addr.raw() >> 64) as u64);
            sip.word(low).word(high).word(last_word(0, 16))
        }
    };
    sip.finish() as u32
}

/// Hashes bytes. All bits of the result are equally well distributed.
pub fn hash_bytes(key: &HashKey, bytes: &[u8]) -> u32 {
    let mut sip = Sip::new(key);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = chunk
            .first_chunk()
            .map_or(0, |word| u64::from_le_bytes(*word));
        sip = sip.word(word);
    }
    let rest = chunks.remainder().iter().rev();
    let rest = rest.fold(0u64, |word, &byte| (word << 8) | u64::from(byte));
    sip.word(last_word(rest, bytes.len() as u8)).finish() as u32
}

/// A packet's 5-tuple, as in the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow<A> {
    /// Transport protocol.
    pub protocol: u8,
    /// Source address.
    pub src: A,
    /// Source port.
    pub src_port: Be16,
    /// Destination address.
    pub dst: A,
    /// Destination port.
    pub dst_port: Be16,
}

/// An IPv4 packet's 5-tuple.
pub type Flow4 = Flow<Be32>;

/// An IPv6 packet's 5-tuple.
pub type Flow6 = Flow<Be128>;

/// An address type of one family by which flows are hashed.
pub trait FlowAddress: Address {
    /// Hashes a flow; see [`Flow::hash`].
    fn hash_flow(flow: &Flow<Self>, key: &HashKey) -> u32;
}

impl FlowAddress for Be32 {
    #[inline]
    fn hash_flow(flow: &Flow4, key: &HashKey) -> u32 {
        let src = (u64::from(flow.src.raw()) << 16) | u64::from(flow.src_port.raw());
        let dst = (u64::from(flow.dst.raw()) << 16) | u64::from(flow.dst_port.raw());
        let (low, high) = if src < dst { (src, dst) } else { (dst, src) };

        Sip::new(key)
            .word(low | (u64::from(flow.protocol) << 48))
            .word(last_word(high, 14))
            .finish() as u32
    }
}

impl FlowAddress for Be128 {
    #[inline]
    fn hash_flow(flow: &Flow6, key: &HashKey) -> u32 {
        let src = (flow.src.raw(), flow.src_port.raw());
        let dst = (flow.dst.raw(), flow.dst_port.raw());
        let (low, high) = if src < dst { (src, dst) } else { (dst, src) };
        let [l0, l1] = Be128::from_raw(low.0).halves();
        let [h0, h1] = Be128::from_raw(high.0).halves();
        let rest = u64::from(low.1) | (u64::from(high.1) << 16) | (u64::from(flow.protocol) << 32);

        Sip::new(key)
            .word(l0)
            .word(l1)
            .word(h0)
            .word(h1)
            .word(last_word(rest, 37))
            .finish() as u32
    }
}

impl<A: FlowAddress> Flow<A> {
    /// Returns the 5-tuple of packets in the opposite direction.
    #[inline]
    pub fn reversed(self) -> Self {
        Self {
            protocol: self.protocol,
            src: self.dst,
            src_port: self.dst_port,
            dst: self.src,
            dst_port: self.src_port,
        }
    }

    /// Hashes the 5-tuple. Both directions have the same hash value, so a single lookup finds a
    /// connection by packets of either one. All bits of the result are equally well distributed.
    #[inline]
    pub fn hash(&self, key: &HashKey) -> u32 {
        A::hash_flow(self, key)
    }
}

/// The lookup key of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceKey {
    /// Protocol, address and port. Port 0 stands for all ports.
    Addr {
        /// Transport protocol.
        protocol: u8,
        /// Virtual address.
        addr: Addr,
        /// Virtual port.
        port: Be16,
    },
    /// Firewall mark, for packets of one address family.
    Fwmark {
        /// `AF_INET` or `AF_INET6`.
        family: u8,
        /// The mark, not 0.
        mark: u32,
    },
}

impl ServiceKey {
    /// Returns `AF_INET` or `AF_INET6`.
    #[inline]
    pub const fn family(&self) -> u16 {
        match *self {
            Self::Addr {
                addr: Addr::V4(_), ..
            } => AF_INET,
            Self::Addr {
                addr: Addr::V6(_), ..
            } => AF_INET6,
            Self::Fwmark { family, .. } => family as u16,
        }
    }

    /// Hashes the key. All bits of the result are equally well distributed.
    #[inline]
    pub fn hash(&self, key: &HashKey) -> u32 {
        match *self {
            Self::Addr {
                protocol,
                addr,
                port,
            } => hash_endpoint(key, addr, port, protocol),
            Self::Fwmark { family, mark } => Sip::new(key)
                .word(last_word(u64::from(mark) | (u64::from(family) << 32), 5))
                .finish() as u32,
        }
    }
}

/// Hashes an address, a port, and a `tag` that distinguishes uses of this function with the same
/// key.
#[inline]
pub fn hash_endpoint(key: &HashKey, addr: Addr, port: Be16, tag: u8) -> u32 {
    let (port, tag) = (u64::from(port.raw()), u64::from(tag));
    let sip = Sip::new(key);
    let sip = match addr {
        Addr::V4(addr) => sip.word(last_word(
            u64::from(addr.raw()) | (port << 32) | (tag << 48),
            7,
        )),
        Addr::V6(addr) => {
            let [first, second] = addr.halves();
            sip.word(first)
                .word(second)
                .word(last_word(port | (tag << 16), 19))
        }
    };
    sip.finish() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::hash_map::DefaultHasher,
        hash::Hasher, //
    };

    /// SipHash-c-d over bytes, as in the paper.
    fn reference(c: usize, d: usize, key: [u64; 2], bytes: &[u8]) -> u64 {
        fn rounds(v: &mut [u64; 4], n: usize) {
            for _ in 0..n {
                v[0] = v[0].wrapping_add(v[1]);
                v[2] = v[2].wrapping_add(v[3]);
                v[1] = v[1].rotate_left(13);
                v[3] = v[3].rotate_left(16);
                v[1] ^= v[0];
                v[3] ^= v[2];
                v[0] = v[0].rotate_left(32);
                v[2] = v[2].wrapping_add(v[1]);
                v[0] = v[0].wrapping_add(v[3]);
                v[1] = v[1].rotate_left(17);
                v[3] = v[3].rotate_left(21);
                v[1] ^= v[2];
                v[3] ^= v[0];
                v[2] = v[2].rotate_left(32);
            }
        }
        let mut v = [
            key[0] ^ u64::from_be_bytes(*b"somepseu"),
            key[1] ^ u64::from_be_bytes(*b"dorandom"),
            key[0] ^ u64::from_be_bytes(*b"lygenera"),
            key[1] ^ u64::from_be_bytes(*b"tedbytes"),
        ];
        let mut padded = bytes.to_vec();
        while padded.len() % 8 != 7 {
            padded.push(0);
        }
        padded.push(bytes.len() as u8);
        for chunk in padded.chunks(8) {
            let word = u64::from_le_bytes(chunk.try_into().unwrap());
            v[3] ^= word;
            rounds(&mut v, c);
            v[0] ^= word;
        }
        v[2] ^= 0xff;
        rounds(&mut v, d);
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }

    const KEY: [u64; 2] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];

    fn flow(n: u32) -> Flow4 {
        Flow4 {
            protocol: 6,
            src: Be32::new(0x0a00_0000 + n),
            src_port: Be16::new((n * 7919) as u16),
            dst: Be32::new(0xc0a8_0001),
            dst_port: Be16::new(80),
        }
    }

    fn bytes(flow: &Flow4) -> Vec<u8> {
        let end = |addr: Be32, port: Be16| {
            let mut bytes = Vec::from(port.to_bytes());
            bytes.extend(addr.to_bytes());
            bytes
        };
        let mut ends = [
            end(flow.src, flow.src_port),
            end(flow.dst, flow.dst_port), //
        ];
        // Compared as little-endian numbers.
        ends.sort_by_key(|end| end.iter().rev().copied().collect::<Vec<u8>>());
        let [low, high] = ends;
        let mut bytes = low;
        bytes.extend([flow.protocol, 0]);
        bytes.extend(high);
        bytes
    }

    #[test]
    fn the_reference_is_siphash() {
        // Test vector of the paper's appendix A, for SipHash-2-4.
        let input: Vec<u8> = (0..15).collect();
        assert_eq!(reference(2, 4, KEY, &input), 0xa129_ca61_49be_45e5);
        // The standard library hashes with SipHash-1-3 under the key 0.
        let mut std = DefaultHasher::new();
        std.write(&input);
        assert_eq!(reference(1, 3, [0, 0], &input), std.finish());
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_flow_is_hashed_by_siphash13_over_its_14_bytes() {
        for n in 0..10_000 {
            let flow = flow(n);
            let expected = reference(1, 3, KEY, &bytes(&flow)) as u32;
            assert_eq!(flow.hash(&HashKey::new(KEY)), expected);
        }
    }

    #[test]
    fn bytes_are_hashed_by_siphash13() {
        let bytes: Vec<u8> = (0..=255).chain(0..=255).collect();
        for len in (0..40).chain([255, 256, 300]) {
            let bytes = &bytes[..len];
            let expected = reference(1, 3, KEY, bytes) as u32;
            assert_eq!(hash_bytes(&HashKey::new(KEY), bytes), expected, "{len}");
        }
    }

    fn flow6(n: u32) -> Flow6 {
        Flow6 {
            protocol: 17,
            src: Be128::new((0xfd00 << 112) + u128::from(n)),
            src_port: Be16::new((n * 7919) as u16),
            dst: Be128::new((0x2001_0db8 << 96) | 1),
            dst_port: Be16::new(80),
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn an_ipv6_flow_is_hashed_by_siphash13_over_its_37_bytes() {
        for n in 0..1000 {
            let flow = flow6(n);
            let mut ends = [
                (flow.src.to_bytes(), flow.src_port),
                (flow.dst.to_bytes(), flow.dst_port),
            ];
            // Compared as little-endian numbers.
            ends.sort_by_key(|end| end.0.iter().rev().copied().collect::<Vec<u8>>());
            let mut bytes = [ends[0].0, ends[1].0].concat();
            bytes.extend(ends[0].1.to_bytes());
            bytes.extend(ends[1].1.to_bytes());
            bytes.push(flow.protocol);
            let expected = reference(1, 3, KEY, &bytes) as u32;
            assert_eq!(flow.hash(&HashKey::new(KEY)), expected);
            assert_eq!(flow.reversed().hash(&HashKey::new(KEY)), expected);
        }
    }

    #[test]
    fn ipv6_flows_of_one_address_differ_by_their_ports() {
        let key = HashKey::new(KEY);
        let same = Flow6 {
            dst: flow6(0).src,
            ..flow6(0)
        };
        assert_eq!(same.hash(&key), same.reversed().hash(&key));
        let other = Flow6 {
            src_port: Be16::new(1),
            ..same
        };
        assert_ne!(same.hash(&key), other.hash(&key));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_service_is_hashed_by_siphash13_over_its_bytes() {
        let service = ServiceKey::Addr {
            protocol: 6,
            addr: Be32::from_bytes([10, 0, 0, 1]).into(),
            port: Be16::new(80),
        };
        assert_eq!(
            service.hash(&HashKey::new(KEY)),
            reference(1, 3, KEY, &[10, 0, 0, 1, 0, 80, 6]) as u32
        );
        let addr = Be128::new(0xfd00_0102_0304_0506_0708_090a_0b0c_0d0e);
        let service = ServiceKey::Addr {
            protocol: 17,
            addr: addr.into(),
            port: Be16::new(53),
        };
        let mut bytes = addr.to_bytes().to_vec();
        bytes.extend([0, 53, 17]);
        assert_eq!(
            service.hash(&HashKey::new(KEY)),
            reference(1, 3, KEY, &bytes) as u32
        );
        let mark = ServiceKey::Fwmark {
            family: 2,
            mark: 0x0403_0201,
        };
        assert_eq!(
            mark.hash(&HashKey::new(KEY)),
            reference(1, 3, KEY, &[1, 2, 3, 4, 2]) as u32
        );
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn an_address_is_hashed_by_siphash13_over_its_bytes() {
        for addr in [[10, 0, 0, 1], [192, 168, 77, 254]] {
            assert_eq!(
                hash_addr(&HashKey::new(KEY), Be32::from_bytes(addr).into()),
                reference(1, 3, KEY, &addr) as u32
            );
        }
        let addr = Be128::new(0xfd00_0102_0304_0506_0708_090a_0b0c_0d0e);
        assert_eq!(
            hash_addr(&HashKey::new(KEY), addr.into()),
            reference(1, 3, KEY, &addr.to_bytes()) as u32
        );
    }

    #[test]
    fn a_service_has_the_family_of_its_address_or_mark() {
        let service = |addr| ServiceKey::Addr {
            protocol: 6,
            addr,
            port: Be16::new(80),
        };
        assert_eq!(service(Be32::ZERO.into()).family(), AF_INET);
        assert_eq!(service(Be128::new(0).into()).family(), AF_INET6);
        for family in [AF_INET, AF_INET6] {
            let mark = ServiceKey::Fwmark {
                family: family as u8,
                mark: 1,
            };
            assert_eq!(mark.family(), family);
        }
    }

    #[test]
    fn reversing_twice_changes_nothing() {
        let flow = flow(3);
        assert_eq!(flow.reversed().reversed(), flow);
        assert_ne!(flow.reversed(), flow);
        assert_eq!(flow.reversed().src, flow.dst);
        assert_eq!(flow.reversed().dst_port, flow.src_port);
    }

    #[test]
    fn neighbouring_flows_spread_evenly() {
        let key = HashKey::new(KEY);
        let mut buckets = [0u32; 1024];
        for n in 0..65536 {
            buckets[(flow(n).hash(&key) & 1023) as usize] += 1;
        }
        // 64 on average, 8 standard deviation.
        assert!(buckets.iter().all(|&count| (20..120).contains(&count)));
    }

    #[test]
    fn both_directions_have_one_hash() {
        let key = HashKey::new(KEY);
        for n in 0..1000 {
            assert_eq!(flow(n).hash(&key), flow(n).reversed().hash(&key));
        }
    }

    #[test]
    fn another_key_is_another_hash() {
        assert_ne!(
            flow(1).hash(&HashKey::new(KEY)),
            flow(1).hash(&HashKey::new([1, 2]))
        );
    }
}
