"""Draws the ratios as bars on a logarithmic scale, as SVG written by hand.

Colours stand in classes with a second set for dark surroundings, so the picture
suits a page of either kind.  A whisker spans the quartiles.
"""
import math
from html import escape

from benchmark.report import short

WIDTH, LEFT, RIGHT, HEAD = 960, 290, 60, 64
BAR, GAP = 11, 16
FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"

# (light, dark): the first is ours and stands out.
OURS = ("#1a5fb4", "#62a0ea")
OTHERS = (("#b5835a", "#cdab8f"), ("#c0a02c", "#d9bf5f"), ("#a0527f", "#d48fb8"),
          ("#5e8c4a", "#93c27e"), ("#77767b", "#a8a7ad"), ("#4a8c8c", "#7fc4c4"))
INK = {"text": ("#24292f", "#e6edf3"), "faint": ("#656d76", "#9198a1"),
       "grid": ("#d8dee4", "#30363d"), "paper": ("#ffffff", "#0d1117")}


def style(names):
    def colours(index):
        for kind in ("text", "faint", "paper"):
            yield f".{kind} {{ fill: {INK[kind][index]} }}"
        yield f".grid {{ stroke: {INK['grid'][index]} }}"
        yield f".one, .whisker {{ stroke: {INK['text'][index]} }}"
        for number, name in enumerate(names):
            pair = OURS if name == "pycachefs" else OTHERS[(number - 1) % len(OTHERS)]
            yield f".bar{number} {{ fill: {pair[index]} }}"

    light, dark = " ".join(colours(0)), " ".join(colours(1))
    return (f"<style>text {{ font: 12px {FONT} }} .title {{ font-size: 15px; font-weight: 600 }} "
            f".ours {{ font-weight: 600 }} {light} "
            f"@media (prefers-color-scheme: dark) {{ {dark} }}</style>")


class Scale:
    """From ratios to places on the page."""

    def __init__(self, values):
        self.low = min(0.5, *values) / 1.05
        self.high = max(2, *values) * 1.05

    def x(self, value):
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return LEFT + part * (WIDTH - LEFT - RIGHT)

    def marks(self):
        """1, 2, 5, 10, 20, 50, ... within the scale."""
        for power in range(-3, 5):
            for digit in (1, 2, 5):
                value = digit * 10.0 ** power
                if self.low <= value <= self.high:
                    yield value


def text(x, y, words, kind="text", anchor="start"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">'
            f"{escape(words)}</text>")


def line(x, y, x2, y2, kind):
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def legend(document, names):
    x, y = 17, 44
    for number, name in enumerate(names):
        title = document["filesystems"][name]["title"]
        yield f'<rect x="{x}" y="{y - 9}" width="10" height="10" class="bar{number}"/>'
        yield text(x + 14, y, title, "text ours" if name == "pycachefs" else "text")
        x += 36 + 6.8 * len(title)


def bars(row, names, scale, top):
    """A row's bars: they begin at 1, which is native, and end at the ratio."""
    one = scale.x(1)
    yield text(LEFT - 10, top + len(names) * BAR / 2 + 4, row["label"], anchor="end")
    for number, name in enumerate(names):
        y = top + number * BAR
        result = row["results"].get(name, {})
        if "ratio" not in result:
            yield text(one + 4, y + 9, "-", "faint")
            continue
        value = result["ratio"]["median"]
        low, high = (scale.x(quartile) for quartile in result["ratio"]["quartiles"])
        x = scale.x(value)
        yield (f'<rect x="{min(x, one):.1f}" y="{y}" width="{max(abs(x - one), 1):.1f}" '
               f'height="{BAR - 2}" class="bar{number}"/>')
        middle = y + (BAR - 2) / 2
        yield line(low, middle, high, middle, "whisker")
        yield text(max(x, high, one) + 5, y + 9, short(value),
                   "text ours" if name == "pycachefs" else "faint")


def svg(document):
    """The chart of a run, or None when there is nothing to draw."""
    names = [name for name, one in document["filesystems"].items()
             if one["measured"] and name != "native"]
    rows = [row for row in document["rows"] if row.get("chart") and any(
        "ratio" in result for result in row.get("results", {}).values())]
    values = [bound for row in rows for name in names
              for bound in row["results"].get(name, {}).get("ratio", {}).get("quartiles", [])]
    if not values:
        return None
    scale, step = Scale(values), len(names) * BAR + GAP
    bottom = HEAD + len(rows) * step
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 34}" '
        f'width="{WIDTH}" height="{bottom + 34}" role="img" '
        'aria-label="Time of each filesystem divided by the native time">',
        style(names), f'<rect width="{WIDTH}" height="{bottom + 34}" class="paper"/>',
        text(16, 22, "Time, as a multiple of the native filesystem's (shorter is better)",
             "text title"), *legend(document, names)]
    for value in scale.marks():
        parts.append(line(scale.x(value), HEAD - 6, scale.x(value), bottom, "grid"))
        parts.append(text(scale.x(value), bottom + 16, f"{value:g}×", "faint", "middle"))
    for number, row in enumerate(rows):
        parts += bars(row, names, scale, HEAD + number * step)
    parts.append(line(scale.x(1), HEAD - 6, scale.x(1), bottom, "one"))
    return "\n".join([*parts, "</svg>"]) + "\n"
