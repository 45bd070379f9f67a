// SPDX-License-Identifier: GPL-2.0

//! What connections and services are found by, and the keyed hash over it.
//!
//! Stands for `ip_vs_conn_hashkey()` and `ip_vs_svc_hashval()`. Whoever sends packets chooses what
//! is hashed, so the hash is SipHash-1-3 (C: `hsiphash()`) under a random key: collisions can't be
//! computed from outside. A 5-tuple fits into two of its words, a service into one.

use crate::net::{
    Addr,
    Be16,
    Be32, //
};

/// A random key, in the form that a hash starts from.
#[derive(Clone, Copy)]
pub struct HashKey([u64; 4]);

impl HashKey {
    /// Takes 128 random bits.
    #[inline]
    pub const fn new(random: [u64; 2]) -> Self {
        let [k0, k1] = random;
        // The constants of the SipHash paper.
        Self([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }
}

/// The running state of a SipHash-1-3.
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

/// The last word of `len` hashed bytes: those after the last full eight, and the length on top.
#[inline(always)]
const fn last_word(bytes: u64, len: u8) -> u64 {
    bytes | ((len as u64) << 56)
}

/// The hash of a number, as `hsiphash()` has it on 64-bit machines.
#[inline]
pub(crate) const fn hash_u32(key: &HashKey, value: u32) -> u32 {
    let word = u32::from_le_bytes(value.to_ne_bytes()) as u64;
    Sip::new(key).word(last_word(word, 4)).finish() as u32
}

/// The hash of an address. All of its bits are equally good.
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

/// An IPv4 packet's 5-tuple, as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow4 {
    /// Transport protocol.
    pub protocol: u8,
    /// Source address.
    pub src: Be32,
    /// Source port.
    pub src_port: Be16,
    /// Destination address.
    pub dst: Be32,
    /// Destination port.
    pub dst_port: Be16,
}

impl Flow4 {
    /// The 5-tuple of the answer.
    #[inline]
    pub const fn reversed(self) -> Self {
        Self {
            protocol: self.protocol,
            src: self.dst,
            src_port: self.dst_port,
            dst: self.src,
            dst_port: self.src_port,
        }
    }

    /// Hash value, the same for both directions: one search finds a connection by a request and by
    /// an answer. All of its bits are equally good.
    #[inline]
    pub const fn hash(&self, key: &HashKey) -> u32 {
        let src = ((self.src.raw() as u64) << 16) | self.src_port.raw() as u64;
        let dst = ((self.dst.raw() as u64) << 16) | self.dst_port.raw() as u64;
        let (low, high) = if src < dst { (src, dst) } else { (dst, src) };

        Sip::new(key)
            .word(low | ((self.protocol as u64) << 48))
            .word(last_word(high, 14))
            .finish() as u32
    }
}

/// What a service is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceKey {
    /// Address, protocol and port of an IPv4 service; port 0 stands for all ports.
    Addr4 {
        /// Transport protocol.
        protocol: u8,
        /// Virtual address.
        addr: Be32,
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
    /// Hash value. All of its bits are equally good.
    #[inline]
    pub const fn hash(&self, key: &HashKey) -> u32 {
        let word = match *self {
            Self::Addr4 {
                protocol,
                addr,
                port,
            } => last_word(
                addr.raw() as u64 | ((port.raw() as u64) << 32) | ((protocol as u64) << 48),
                7,
            ),
            Self::Fwmark { family, mark } => last_word(mark as u64 | ((family as u64) << 32), 5),
        };

        Sip::new(key).word(word).finish() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::hash_map::DefaultHasher,
        hash::Hasher, //
    };

    /// SipHash-c-d over bytes, straight from the paper.
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

    #[cfg(target_endian = "little")]
    #[test]
    fn a_service_is_hashed_by_siphash13_over_its_bytes() {
        let service = ServiceKey::Addr4 {
            protocol: 6,
            addr: Be32::from_bytes([10, 0, 0, 1]),
            port: Be16::new(80),
        };
        assert_eq!(
            service.hash(&HashKey::new(KEY)),
            reference(1, 3, KEY, &[10, 0, 0, 1, 0, 80, 6]) as u32
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
