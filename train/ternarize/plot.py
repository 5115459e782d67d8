"""Line charts as SVG, without a plotting library."""

import math
from html import escape

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 36, 48
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#8d5a97", "#b58900", "#444444")
MOST_POINTS = 400  # of a series; longer ones are averaged in runs
TICKS = 5


def chart(title, x_label, y_label, series, log=False):
    """The SVG text of name -> (xs, ys); points that are not finite (or, with log, not positive)
    are left out. A point that stands alone is drawn as a dot."""
    lines = {name: usable(*thin(xs, ys), log) for name, (xs, ys) in series.items()}
    points = [point for line in lines.values() for point in line]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(LEFT, 22, title, weight="bold"),
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_label, anchor="middle"),
        f'<g transform="translate(16 {HEIGHT / 2}) rotate(-90)">'
        + text(0, 0, y_label, anchor="middle") + "</g>",
    ]
    if points:
        x_axis = Axis([x for x, _ in points], LEFT, WIDTH - RIGHT)
        y_axis = Axis([y for _, y in points], HEIGHT - BOTTOM, TOP, log)
        parts += grid_lines(x_axis, y_axis)
        for number, (name, line) in enumerate(lines.items()):
            parts += curve(number, name, [(x_axis.at(x), y_axis.at(y)) for x, y in line])
    else:
        parts.append(text(WIDTH / 2, HEIGHT / 2, "nothing was measured", anchor="middle"))
    return "\n".join([*parts, "</svg>"]) + "\n"


class Axis:
    """Values to pixels: linear, or logarithmic; a single value lies in the middle."""

    def __init__(self, values, first, last, log=False):
        self.log, self.first, self.last = log, first, last
        scaled = [self.scale(value) for value in values]
        self.low, self.high = min(scaled), max(scaled)
        if self.high - self.low < 1e-12:
            self.low, self.high = self.low - 0.5, self.high + 0.5

    def scale(self, value):
        return math.log10(value) if self.log else float(value)

    def at(self, value):
        way = (self.scale(value) - self.low) / (self.high - self.low)
        return self.first + way * (self.last - self.first)

    def ticks(self):
        """(pixel, label) of evenly spaced values."""
        for i in range(TICKS):
            way = i / (TICKS - 1)
            value = self.low + way * (self.high - self.low)
            label = f"{10**value if self.log else value:.3g}"
            yield self.first + way * (self.last - self.first), label


def thin(xs, ys):
    """At most MOST_POINTS points: means of runs of equal length."""
    run = -(-len(xs) // MOST_POINTS) or 1
    chunks = [(xs[i : i + run], ys[i : i + run]) for i in range(0, len(xs), run)]
    return [mean(x) for x, _ in chunks], [mean(y) for _, y in chunks]


def mean(values):
    kept = [value for value in values if value is not None]
    return sum(kept) / len(kept) if kept else math.nan


def usable(xs, ys, log):
    return [(x, y) for x, y in zip(xs, ys, strict=True)
            if math.isfinite(x) and math.isfinite(y) and (y > 0 or not log)]


def grid_lines(x_axis, y_axis):
    for x, label in x_axis.ticks():
        yield (f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>'
               + text(x, HEIGHT - BOTTOM + 16, label, anchor="middle"))
    for y, label in y_axis.ticks():
        yield (f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
               + text(LEFT - 6, y + 4, label, anchor="end"))


def curve(number, name, points):
    colour = COLOURS[number % len(COLOURS)]
    if len(points) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
    else:
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
                    for x, y in points)
    y = TOP + 12 + 18 * number
    yield (f'<rect x="{WIDTH - RIGHT + 12}" y="{y - 9}" width="10" height="10" fill="{colour}"/>'
           + text(WIDTH - RIGHT + 28, y, name))


def text(x, y, words, anchor="start", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">'
            f"{escape(str(words))}</text>")
