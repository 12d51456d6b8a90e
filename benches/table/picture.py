"""The ratios as a picture: a bar for each row and system on a logarithmic scale, the kernel's overlayfs being 1."""

import math
from xml.sax.saxutils import escape

from targets import KERNEL, MEMORY, ratio

COLOURS = {"plain": "#b0b0b0", "fuse-overlayfs-2": "#d08a2e", "fuse-overlayfs-1": "#e3bd84", "unionfs": "#c9a0c4",
           "plyfs-passthrough": "#2563a8", "plyfs-cached": "#6aa5de"}
# What the picture shows where it is there; others only make it long.
SHOWN = ("fuse-overlayfs-2", "plyfs-passthrough", "plyfs-cached")
LABEL, WIDTH, BAR, GAP, TOP = 300, 900, 8, 7, 64
LOWEST, HIGHEST = 0.05, 100.0


def place(value):
    """Where a ratio lies from left to right."""
    share = math.log(min(max(value, LOWEST), HIGHEST) / LOWEST) / math.log(HIGHEST / LOWEST)
    return LABEL + share * (WIDTH - LABEL - 60)


def text(x, y, content, anchor="start", size=11):
    """One piece of text."""
    return '<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%d">%s</text>' % (x, y, anchor, size, escape(content))


def bars(report):
    """Row to the ratios that were measured."""
    names = [system.name for system in report.systems if system.name in SHOWN]
    for row in report.rows:
        ratios = [(name, ratio(report.results, row, name, KERNEL)) for name in names]
        ratios = [(name, value) for name, value in ratios if value is not None]
        if ratios and row not in MEMORY:
            yield row, ratios


def draw(report, machine):
    """The whole picture; only what was measured is in it."""
    parts, y = [], TOP
    for row, ratios in bars(report):
        parts.append(text(LABEL - 10, y + len(ratios) * BAR / 2 + 4, report.title(row), "end"))
        for name, value in ratios:
            start, end = sorted((place(1), place(value)))
            parts.append('<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>'
                         % (start, y, max(end - start, 1), BAR - 1, COLOURS[name]))
            parts.append(text(max(end, place(1)) + 4, y + BAR - 1, "%.3g" % value, size=8))
            y += BAR
        y += GAP
    lines = []
    for value in (0.1, 0.5, 1, 2, 5, 10, 50):
        lines.append('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s"/>'
                     % (place(value), TOP - 6, place(value), y, "#444" if value == 1 else "#ddd"))
        lines.append(text(place(value), TOP - 10, "%g" % value, "middle", 10))
    legend = [text(10, 18, "Time per operation; 1 is that of overlayfs of the kernel, to the left is faster. Linux %s, %s processors, %s"
                   % (machine["kernel"].split("-")[0], machine["processors"], machine["layers on"].split(" (")[0]))]
    x = LABEL
    for name in (system.name for system in report.systems if system.name in SHOWN):
        legend.append('<rect x="%d" y="26" width="10" height="10" fill="%s"/>' % (x, COLOURS[name]))
        legend.append(text(x + 14, 35, name))
        x += 150
    return "\n".join(['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif">' % (WIDTH, y + 10),
                      '<rect width="100%" height="100%" fill="white"/>', *lines, *legend, *parts, "</svg>", ""])
