# SPDX-License-Identifier: GPL-2.0
"""Rows as a drawing: one pair of bars for each that is about a packet or a
connection.
"""

from html import escape

TITLES = {"cost": "Instructions for one packet, over plain forwarding",
          "memory": "Bytes of slab for one connection"}
COLUMNS = {"reference": "#9aa5b1", "ours": "#c2410c"}
LEFT, WIDE, RIGHT = 250, 420, 110
BAR, PAIR, HEAD = 9, 26, 40


def text(x, y, what, **attributes):
    """A text element."""
    more = "".join(f' {name.replace("_", "-")}="{value}"'
                   for name, value in attributes.items())
    return f'<text x="{x:.0f}" y="{y:.0f}"{more}>{escape(what)}</text>'


def pair(row, top, scale):
    """The two bars of a row."""
    yield text(LEFT - 8, top + BAR + 4, f"{row['row']}, "
               f"{row['connections']:,}", text_anchor="end")
    for i, (column, colour) in enumerate(COLUMNS.items()):
        y, width = top + i * BAR, row[column] * scale
        yield (f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" '
               f'height="{BAR - 1}" fill="{colour}"/>')
        yield text(LEFT + width + 4, y + BAR - 1, f"{row[column]:,.0f}",
                   font_size=9)
    yield text(LEFT + WIDE + RIGHT - 6, top + BAR + 4,
               f"{row['ratio'] or 0:.2f}", text_anchor="end",
               font_weight="bold")


def legend():
    """What the colours are."""
    for i, (column, colour) in enumerate(COLUMNS.items()):
        x = LEFT + 90 * i
        yield (f'<rect x="{x}" y="12" width="10" height="10" '
               f'fill="{colour}"/>')
        yield text(x + 15, 21, column)
    yield text(LEFT + WIDE + RIGHT - 6, 21, "ratio", text_anchor="end",
               font_weight="bold")


def plot(rows):
    """An SVG document."""
    body, y = list(legend()), 24
    for kind, title in TITLES.items():
        group = [row for row in rows if row["kind"] == kind]
        if not group:
            continue
        scale = WIDE / max(max(row["reference"], row["ours"], 1)
                           for row in group)
        body.append(text(LEFT, y + HEAD - 14, title, font_weight="bold"))
        y += HEAD
        for row in group:
            body += pair(row, y, scale)
            y += PAIR
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" font-size="12" '
        f'font-family="sans-serif" width="{LEFT + WIDE + RIGHT}" '
        f'height="{y + 10}">',
        '<rect width="100%" height="100%" fill="white"/>', *body, "</svg>"])
