# SPDX-License-Identifier: GPL-2.0
"""From figures to rows, each with what it is measured against."""

from . import scale, schedulers, spaces
from .rows import ROWS, of_part

COLUMNS = "reference", "ours"
COST, MEMORY, GROWTH = 1.0, 0.65, 1.3       # COST: unless a row has its own
SPACES = 1.5
QUICK, CROWD = 0.05, 10_000     # of a choice among so many servers
MANY = 1000     # below, it is not the connections that a figure is about


def row(kind, title, level, both, unit="instructions", **more):
    """A row without a limit."""
    reference, ours = both
    return {"kind": kind, "row": title, "connections": level, "unit": unit,
            "reference": reference, "ours": ours,
            "ratio": ours / reference if reference else None,
            "spread": None, "limit": None, "met": None} | more


def limited(found, limit, value):
    """The row with a limit on this value of it, judged as it is printed."""
    met = value is not None and round(value, 2) <= limit
    return found | {"limit": limit, "met": met}


def net(figures, column, level, key):
    """Cost over plain forwarding, and its spread as a part of it."""
    cost = figures[column][level]["rows"][key]
    value = cost["median"] - figures["plain"][ROWS[key].plain]["median"]
    return value, (cost["high"] - cost["low"]) / value


def added(figures, column, level, key):
    """What a master adds to the cost, and its spread as a part of it."""
    found = figures[column][level]
    cost, before = found["synced"][key], found["rows"][key]["median"]
    value = cost["median"] - before
    return value, (cost["high"] - cost["low"]) / value if value else None


def synced_rows(figures):
    """What packets cost more while a master runs, at every level."""
    for key, what in of_part(figures["part"]).items():
        for level in figures["levels"]:
            both, spreads = zip(*(added(figures, column, level, key)
                                  for column in COLUMNS))
            found = row("sync", f"{what.title}, added", level, both,
                        spread=max(map(abs, filter(None, spreads)), default=None))
            yield limited(found, what.limit, found["ratio"])


def cost_rows(figures):
    """Packets, at every level."""
    for key, what in of_part(figures["part"]).items():
        for level in figures["levels"]:
            both, spreads = zip(*(net(figures, column, level, key)
                                  for column in COLUMNS))
            found = row("cost", what.title, level, both, spread=max(spreads))
            yield limited(found, what.limit, found["ratio"])


def memory_rows(figures):
    """Slab for one connection, at every level."""
    for level in figures["levels"]:
        found = row("memory", "slab for one connection", level,
                    [figures[column][level]["slab"] for column in COLUMNS],
                    unit="bytes")
        yield limited(found, MEMORY, found["ratio"])


def listing_rows(figures):
    """Reading the list of connections, at every level."""
    for level in figures["levels"]:
        found = row("listing", "one of all in ip_vs_conn", level,
                    [figures[column][level]["listing"] for column in COLUMNS])
        yield limited(found, COST, found["ratio"])


def growth_rows(figures):
    """Cost at the last level as a multiple of that at the one before."""
    if len(figures["levels"]) < 2:
        return
    few, many = figures["levels"][-2:]

    def growth(title, cost):
        both = [cost(column, many) / cost(column, few) for column in COLUMNS]
        found = row("growth", f"{title}, against {few:,}", many, both,
                    unit="times")
        return limited(found, GROWTH, both[1])
    for key, what in of_part(figures["part"]).items():
        yield growth(what.title, lambda column, level, key=key:
                     net(figures, column, level, key)[0])
    yield growth("one of all in ip_vs_conn", lambda column, level:
                 figures[column][level]["listing"])


def scheduler_rows(figures):
    """New connections, by scheduler and number of servers."""
    found = figures.get("schedulers")
    base = figures["plain"]["UDP"]["median"]
    for what in schedulers.ROWS if found else []:
        costs = [found[column][what.title] for column in COLUMNS]
        for count in costs[0]:
            both = [cost[count] for cost in costs]
            values = [cost["median"] - base for cost in both]
            spread = max((cost["high"] - cost["low"]) / value
                         for cost, value in zip(both, values))
            entry = row("scheduler",
                        f"{what.title}, {what.servers(count):,} servers", 0,
                        values, spread=spread)
            limit = QUICK if what.quick and count >= CROWD else COST
            yield limited(entry, limit, entry["ratio"])


def scale_rows(figures):
    """ipvsadm with many services and servers."""
    found = figures.get("scale")
    for key, what in scale.SCALES.items() if found else []:
        for step in scale.STEPS:
            both = [found[column][key][step] for column in COLUMNS]
            entry = row("scale", f"{what.title}: {step}", 0,
                        [cost["total"] for cost in both])
            yield limited(entry, what.limit, entry["ratio"])
            yield row("scale", f"{what.title}: {step}, kernel", 0,
                      [cost["kernel"] for cost in both])
            yield row("scale", f"{what.title}: {step}, IPVS itself", 0,
                      [cost["own"] for cost in both])
            yield row("scale", f"{what.title}: {step}, elapsed", 0,
                      [cost["elapsed"] / 1e6 for cost in both], unit="ms")


def space_rows(figures):
    """Many namespaces."""
    found = figures.get("spaces")
    for step, title in spaces.STEPS.items() if found else []:
        entry = row("namespaces", title, 0,
                    [found[column][step] / 1e6 for column in COLUMNS],
                    unit="ms")
        yield limited(entry, SPACES, entry["ratio"])


def other_rows(figures):
    """What there is no limit for."""
    for name, cost in figures["plain"].items():
        yield row("other", f"plain forwarding, {name}, before and after", 0,
                  [cost["median"], figures["plain after"][name]["median"]])
    base = figures["plain"]["UDP"]["median"]
    levels = {level: [figures[column][level] for column in COLUMNS]
              for level in figures["levels"] if level >= MANY}
    for level, both in levels.items():
        yield row("other", "one new of all, with the table's growth", level,
                  [found["filling"] - base for found in both])
    for level, both in levels.items():
        yield row("other", "slab and hash table for one connection", level,
                  [found["memory"] for found in both], unit="bytes")
    for level, both in levels.items():
        yield row("other", "unloading", level,
                  [found["unload"] * 1000 for found in both], unit="ms")


def rows(figures):
    """All rows; of associations only what their packets cost, since the rest does not depend
    on the protocol, and of connections that are tracked too, since the memory and the end of
    tracking's own entries are no part of the module."""
    if figures["part"] == "sync":
        return list(synced_rows(figures))
    if figures["part"] in ("tracked", "sctp"):
        return list(cost_rows(figures))
    return [*cost_rows(figures), *memory_rows(figures),
            *listing_rows(figures), *growth_rows(figures),
            *scheduler_rows(figures), *scale_rows(figures),
            *space_rows(figures), *other_rows(figures)]
