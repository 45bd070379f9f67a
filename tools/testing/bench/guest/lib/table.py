# SPDX-License-Identifier: GPL-2.0
"""Rows as a table of text."""

HEAD = ("row", "connections", "unit", "reference", "ours", "ratio", "spread",
        "limit", "")
TEXT = {0, 2, 8}


def number(value, unit):
    """A figure, as its unit wants it."""
    return f"{value:,.2f}" if unit == "times" else f"{value:,.0f}"


def cells(row):
    """The columns of a row."""
    def optional(name, form):
        return "" if row[name] is None else format(row[name], form)
    # A ratio of ratios is none.
    ratio = "" if row["unit"] == "times" else optional("ratio", ".2f")
    return (row["row"], f"{row['connections']:,}", row["unit"],
            number(row["reference"], row["unit"]),
            number(row["ours"], row["unit"]), ratio,
            optional("spread", ".1%"), optional("limit", ".2f"),
            {True: "pass", False: "MISS", None: ""}[row["met"]])


def table(rows):
    """Text, with an empty line before each other kind of row."""
    lines = [HEAD, *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    text, kind = [], None
    for row, line in zip([None, *rows], lines):
        if row and row["kind"] != kind:
            kind = row["kind"]
            text.append("")
        text.append("  ".join(
            cell.ljust(width) if i in TEXT else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths))).rstrip())
    judged = [row["met"] for row in rows if row["met"] is not None]
    return "\n".join([*text, "", f"{sum(judged)} of {len(judged)} rows pass"])
