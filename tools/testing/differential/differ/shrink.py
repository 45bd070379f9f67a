# SPDX-License-Identifier: GPL-2.0
"""From a sequence that comes to different things to a short one that does.

Modules are loaded once for many candidates: what takes time is that, and not
the operations."""

from lib.genl import NLM_F_ACK, NLM_F_REQUEST
from lib.mutate import pack

from . import play
from .operations import ROOT, Get, Look, Read, Request
from .rows import COMMAND, unpack

PARTS = 8               # that a sequence is cut into at first
ROUNDS = 30


def shrink(sequence, at):
    """A sequence whose last operation differs, with nothing in it that could
    be left out."""
    best = sequence[:at + 1]
    for candidates in (_plausible, _requests):
        best = _best(best, candidates(best)) or best
    parts = PARTS
    for _ in range(ROUNDS):
        if len(best) == 1:
            break
        found = _best(best, _pieces(best, parts))
        if found:
            best = found
        elif parts >= len(best) - 1:
            break
        else:
            parts *= 2
    for _ in range(ROUNDS):
        found = _best(best, _simpler(best), shorter=False)
        if not found:
            break
        best = found
    return best


def _best(before, candidates, shorter=True):
    """The shortest candidate that ends in a difference, of the same kind as
    before; None if it isn't shorter."""
    candidates = [one for one in candidates if one and one != before]
    found = []
    for one, outcomes in zip(candidates, play.both(candidates)):
        differs = play.compare(one, outcomes)
        if differs and isinstance(one[differs.at], type(before[-1])):
            found.append(one[:differs.at + 1])
    found = [one for one in found if not shorter or len(one) < len(before)]
    return min(found, key=_size, default=None)


def _size(sequence):
    return len(sequence), sum(len(op.body) for op in sequence
                              if isinstance(op, Request))


def _plausible(sequence):
    """What is about the namespace of the last one only."""
    where = sequence[-1].where
    return [[op for op in sequence if op.where == where]]


def _requests(sequence):
    """What may have changed something."""
    return [[op for op in sequence[:-1]
             if not isinstance(op, (Get, Look, Read))] + sequence[-1:]]


def _pieces(sequence, parts):
    """Without each of so many parts, and with nothing but it."""
    *body, last = sequence
    size = -(-len(body) // parts)
    for start in range(0, len(body), size):
        piece = body[start:start + size]
        yield body[:start] + body[start + size:] + [last]
        yield piece + [last]


def _simpler(sequence):
    """With one thing less in one of the requests."""
    for number, operation in enumerate(sequence):
        for other in _easier(operation):
            yield sequence[:number] + [other] + sequence[number + 1:]


def _easier(operation):
    if operation.who != ROOT:
        yield operation._replace(who=ROOT)
    if not isinstance(operation, Request):
        return
    plain = NLM_F_REQUEST | NLM_F_ACK
    if operation.flags & 0x300 != 0x300 and operation.flags != plain:
        yield operation._replace(flags=plain)
    row = unpack(operation.body, COMMAND)
    if isinstance(row, list):
        for less in _less(row):
            yield operation._replace(body=pack(less))


def _less(row):
    """A row without one of its attributes, or with less in one of them."""
    for number, (kind, content, length) in enumerate(row):
        yield row[:number] + row[number + 1:]
        if isinstance(content, list):
            for less in _less(content):
                yield row[:number] + [[kind, less, length]] + row[number + 1:]
