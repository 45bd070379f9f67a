# SPDX-License-Identifier: GPL-2.0
"""A sequence as a script that does it, and what such a script needs."""

import sys

from lib import genl, sockopt
from lib.genl import attr, nest
from lib.tap import note

from . import allowed, play
from .operations import (
    FIRST, NOBODY, OWNED, OWNER, ROOT, SECOND, Get, Look, Read, Request, Set,
    Write)
from .rows import COMMAND, DEST, SERVICE, unpack

__all__ = ["FIRST", "NOBODY", "OWNED", "OWNER", "ROOT", "SECOND", "Get",
           "Look", "Read", "Request", "Set", "Write", "attr", "genl", "main",
           "nest", "sockopt"]

HEAD = '''#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""{title}

Run it in tools/testing/differential of the checkout:
    tools/testing/vm/vm -- tools/testing/differential/NAME.py [c|rust]
"""

from differ.script import *

main([
'''
SHOWN, WIDTH = 8, 300   # places at which outcomes differ, and letters of each
PLACES = {FIRST: "FIRST", SECOND: "SECOND", OWNED: "OWNED"}
COMMANDS = {value: f"genl.{name}" for name, value in vars(genl).items()
            if name.endswith(("SERVICE", "DEST", "DAEMON", "CONFIG", "INFO",
                              "ZERO", "FLUSH"))
            and not name.startswith("CMD_")}
# A number of setsockopt(2) is another one of getsockopt(2).
SETS = {value: f"sockopt.{name}" for name, value in vars(sockopt).items()
        if isinstance(value, int) and value in sockopt.SETS
        and not name.startswith("GET")}
GETS = {value: f"sockopt.{name}" for name, value in vars(sockopt).items()
        if name.startswith("GET_")}


def _attributes(prefix):
    return {value: f"genl.{name}" for name, value in vars(genl).items()
            if name.startswith(prefix)}


# The names of a row's attributes, and of the rows within.
ROWS = {id(COMMAND): _attributes("CMD_"), id(SERVICE): _attributes("SVC_"),
        id(DEST): _attributes("DEST_")}


def _row(row, nests, indent):
    """A row as an expression that gives its bytes."""
    if isinstance(row, bytes):
        return repr(row)
    parts = []
    for kind, content, _length in row:
        name = ROWS.get(id(nests), {}).get(kind & 0x3fff, str(kind & 0x3fff))
        if isinstance(content, list) and kind & 0xc000 == genl.NLA_F_NESTED:
            deeper = indent + "    "
            inside = ",".join(
                f"\n{deeper}{_row([one], nests[kind & 0x3fff], deeper)}"
                for one in content)
            parts.append(f"nest({name}{',' if inside else ''}{inside})")
            continue
        if kind & 0xc000:
            name += f" | {kind & 0xc000:#x}"
        data = _row(content, nests.get(kind & 0x3fff, {}), indent) \
            if isinstance(content, list) else repr(content)
        parts.append(f"attr({name}, {data})")
    return f" +\n{indent}".join(parts) or "b''"


def _shown(name, value):
    if name == "where":
        return PLACES[value]
    if name == "who":
        return value.upper()
    if name == "command":
        return COMMANDS.get(value, str(value))
    if name == "flags":
        return hex(value)
    if name == "body":
        return "\n        " + _row(unpack(value, COMMAND), COMMAND, "        ")
    return repr(value)


def shown(operation):
    """An operation as an expression."""
    fields = operation._asdict()
    values = [_shown(*field) for field in fields.items()
              if operation._field_defaults.get(field[0], ...) != field[1]]
    names = {Set: SETS, Get: GETS}.get(type(operation), {})
    if fields.get("option") in names:
        values[2] = names[operation.option]
    text = f"{type(operation).__name__}({', '.join(values)})"
    return text.replace(", \n", ",\n")


def script(title, sequence):
    """The text of a script that does a sequence."""
    return (HEAD.format(title=title) + "".join(
        f"    {shown(operation)},\n" for operation in sequence) + "])\n")


def outcomes_of(difference):
    """What differs between both outcomes: where in them, and how."""
    places = list(_places(difference.c, difference.ours, ""))
    more = [f"... and at {len(places) - SHOWN} more places"] \
        if len(places) > SHOWN else []
    return "\n".join([f"{where}: {c} on the C module, {ours} on ours"
                      for where, c, ours in places[:SHOWN]] + more)


def _places(c, ours, where):
    """The innermost places at which two outcomes differ."""
    if c == ours:
        return
    both = c, ours
    if all(hasattr(one, "_asdict") for one in both):
        both = [list(one._asdict().items()) for one in both]
    elif all(isinstance(one, (tuple, list)) for one in both) and \
            len(c) == len(ours):
        both = [list(enumerate(one)) for one in both]
    else:
        yield where or "outcome", repr(c)[:WIDTH], repr(ours)[:WIDTH]
        return
    for (name, one), (_name, other) in zip(*both):
        yield from _places(one, other, f"{where}.{name}" if where
                           else str(name))


def main(sequence):
    """What a script does: its sequence on the module that its argument names,
    or on both. The exit status tells whether they differ."""
    if sys.argv[1:]:
        for operation, outcome in zip(
                sequence, *play.on(sys.argv[1], [sequence])):
            note(shown(operation))
            note(f"  {str(outcome)[:WIDTH]}")
        sys.exit(0)
    (outcomes,) = play.both([sequence])
    for operation, ours, c in zip(sequence, *outcomes):
        note(shown(operation))
        if ours != c:
            note(outcomes_of(play.Difference(0, ours, c)))
            note(f"allowed: {allowed.difference(operation, ours, c) or 'no'}")
    sys.exit(play.compare(sequence, outcomes) is not None)
