# SPDX-License-Identifier: GPL-2.0
"""What may happen to the bytes of a packet."""

import struct

from lib.packet import checksum

# Of these the module under test has none yet, and the C module has: AH and ESP.
# What they do with packets of no service differs.
OTHERS = {50, 51}


def damaged(rng, data):
    """The bytes with some changed, the end cut off, or more of them."""
    data = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        at = rng.randrange(min(len(data), rng.choice((20, 48, 96, 1500))))
        data[at] = rng.choice((0, 0xff, data[at] ^ 1 << rng.randrange(8),
                               rng.randrange(256)))
    if rng.random() < .25:
        del data[rng.randrange(1, len(data) + 1):]
    if rng.random() < .15:
        data += rng.randbytes(rng.randrange(1, 64))
    if rng.random() < .8:
        repair(data)
    return bytes(data)


def repair(data):
    """Make an IP header that routers let pass."""
    if len(data) >= 40 and data[0] >> 4 == 6:
        data[4:6] = struct.pack("!H", len(data) - 40)
        if data[6] in OTHERS:
            data[6] = 17
    elif len(data) >= 20:
        data[0] = 0x40 | data[0] & 15
        if (data[0] & 15) * 4 > len(data) or data[0] & 15 < 5:
            data[0] = 0x45
        if data[9] in OTHERS:
            data[9] = 17
        data[2:4] = struct.pack("!H", len(data))
        data[10:12] = b"\0\0"
        data[10:12] = struct.pack("!H", checksum(
            bytes(data[:(data[0] & 15) * 4])))
