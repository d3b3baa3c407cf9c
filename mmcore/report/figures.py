"""Charts as inline SVG: drawn in the page's own colours (CSS classes), readable in light and dark and on paper."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from markupsafe import Markup, escape

Points = Sequence[tuple[float, float]]
# Points that a line of the width below can show.
DRAWN = 220
WIDTH, HEIGHT = 420, 210
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 26
BINS = 24
# How many line colours the style sheet has.
COLOURS = 8


def line_chart(
    series: Mapping[str, Points], *, label: str, log: bool = False, dots: bool = False, x_label: str = "step",
    end: float = 0.0,
) -> Markup:  # fmt: skip
    """One line per entry of `series` over a shared axis; the n-th line has the class `s<n>`.

    `log`: a logarithmic y axis (every value must be above 0). `dots`: every point is marked, for sparse values. `end`:
    where the x axis ends, if no line goes further.
    """
    lines = {name: thin(points, DRAWN) for name, points in series.items() if points}
    if not lines:
        return Markup("")
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    marks = log_ticks(min(ys), max(ys)) if log else ticks(min(0.0, min(ys)), max(ys))
    low, high = min(marks[0], min(ys)), max(marks[-1], max(ys))
    # Steps count from 0, so that the charts of one training can be read against each other.
    first, last = min(0.0, min(xs)), max(end, *xs)
    across = _scale(first, last, LEFT, WIDTH - RIGHT)
    bend = math.log if log else float
    up = _scale(bend(low), bend(high), HEIGHT - BOTTOM, TOP)
    parts = [_y_axis(marks, [up(bend(mark)) for mark in marks]), _x_axis(first, last, across, x_label)]
    for place, (name, points) in enumerate(lines.items(), 1):
        path = " ".join(f"{_round(across(x))},{_round(up(bend(y)))}" for x, y in points)
        parts.append(Markup('<polyline class="line s{}" points="{}"/>').format(colour(place), path))
        if dots or len(points) == 1:
            spot = Markup('<circle class="dot s{}" cx="{}" cy="{}" r="2.6"><title>{}</title></circle>')
            for x, y in points:
                said = f"{name}: {short(y)} at {x_label} {short(x)}"
                parts.append(spot.format(colour(place), _round(across(x)), _round(up(bend(y))), said))
    return _svg("chart", WIDTH, HEIGHT, label, parts)


def bar(value: float, *, label: str, marks: Mapping[str, float], top: float = 100.0) -> Markup:
    """A bar from 0 to `value` on a track that ends at `top`; each of `marks` (class -> value) is a tick on it."""
    width, height = 200, 16
    across = _scale(0.0, top, 0, width)
    parts = [
        Markup('<rect class="track" x="0" y="5" width="{}" height="6" rx="2"/>').format(width),
        Markup('<rect class="fill" x="0" y="5" width="{}" height="6" rx="2"/>').format(
            _round(max(min(across(value), width), 1.5))
        ),
    ]
    for name, mark in marks.items():
        x = min(max(across(mark), 1.0), width - 1.0)
        parts.append(Markup('<rect class="mark {}" x="{}" y="0" width="2" height="16"/>').format(name, _round(x - 1)))
    return _svg("bar", width, height, label, parts)


def share(value: float, total: float, *, label: str) -> Markup:
    """A plain bar that shows `value` as a part of `total`."""
    width = _round(200 * value / total) if total > 0 else "0"
    return _svg("share", 200, 8, label, [Markup('<rect class="fill" width="{}" height="8" rx="2"/>').format(width)])


def histogram(values: Sequence[float], *, label: str) -> Markup:
    """How `values` are distributed: their counts in equal steps from the smallest to the largest."""
    counts, low, high = bins(values)
    if not counts:
        return Markup("")
    width, height, axis = 210, 84, 68
    step = width / len(counts)
    parts = []
    for place, count in enumerate(counts):
        if count:
            tall = max(axis * count / max(counts), 1.0)
            parts.append(
                Markup('<rect class="fill" x="{}" y="{}" width="{}" height="{}"/>').format(
                    _round(place * step + 0.5), _round(axis - tall), _round(step - 1), _round(tall)
                )
            )
    parts += [
        Markup('<line class="grid" x1="0" x2="{}" y1="{}" y2="{}"/>').format(width, axis + 0.5, axis + 0.5),
        _text(0, height - 2, short(low), "start"),
        _text(width, height - 2, short(high), "end"),
    ]
    return _svg("histogram", width, height, label, parts)


def swatch(place: int) -> Markup:
    """The sign that stands for the line `place` in a legend."""
    line = Markup('<line class="line s{}" x1="1" x2="17" y1="3" y2="3"/>').format(colour(place))
    return Markup('<svg class="swatch" viewBox="0 0 18 6" aria-hidden="true">{}</svg>').format(line)


def colour(place: int) -> int:
    """The colour class of the line `place`, counted from 1."""
    return (place - 1) % COLOURS + 1


# Numbers -------------------------------------------------------------------------------------------------------------


def bins(values: Sequence[float], count: int = BINS) -> tuple[list[int], float, float]:
    """Counts in `count` equal steps, the smallest and the largest value; whole numbers keep steps of whole numbers."""
    if not values:
        return [], 0.0, 0.0
    low, high = min(values), max(values)
    if low == high:
        return [len(values)], low, high
    if high - low < count and all(value == int(value) for value in values):
        count = int(high - low) + 1
    counts = [0] * count
    for value in values:
        counts[min(int((value - low) / (high - low) * count), count - 1)] += 1
    return counts, low, high


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers, about `count` of them, from below `low` to above `high`."""
    span = high - low or abs(high) or 1.0
    raw = span / count
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(base * factor for factor in (1, 2, 2.5, 5, 10) if base * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 12) for place in range(first, max(last, first + 1) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten from below `low` to above `high`, every other left out where too many."""
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    steps = (1.0,) if math.log10(high / low) > 2.5 else (1.0, 2.0, 5.0)
    marks = [round(factor * 10.0**exponent, 12) for exponent in exponents for factor in steps]
    below = max((mark for mark in marks if mark <= low), default=marks[0])
    above = min((mark for mark in marks if mark >= high), default=marks[-1])
    return [mark for mark in marks if below <= mark <= above]


def thin(points: Points, count: int) -> list[tuple[float, float]]:
    """At most `count` points: the means of equal stretches, so that noise is calmed rather than picked from."""
    if len(points) <= count:
        return list(points)
    edges = [round(place * len(points) / count) for place in range(count + 1)]
    stretches = [points[start:stop] for start, stop in pairwise(edges)]
    return [(_mean([x for x, _ in part]), _mean([y for _, y in part])) for part in stretches]


def short(value: float) -> str:
    """A number in as few signs as an axis needs: `0.25`, `12`, `1.5k`, `3M`."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            unit = 1e3 if sign == "k" else size
            return f"{value / unit:.3g}{sign}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


# Pieces --------------------------------------------------------------------------------------------------------------


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """A map from `low`..`high` to `start`..`end`; all goes to the middle where both ends are the same."""
    span = high - low
    return lambda value: start + (end - start) * ((value - low) / span if span else 0.5)


def _round(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _svg(kind: str, width: float, height: float, label: str, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        kind, width, height, label, Markup("").join(parts)
    )


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(_round(x), _round(y), anchor, escape(text))


def _y_axis(marks: Sequence[float], places: Sequence[float]) -> Markup:
    line = Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>')
    return Markup("").join(
        line.format(LEFT, WIDTH - RIGHT, _round(y), _round(y)) + _text(LEFT - 8, y + 4, short(mark), "end")
        for mark, y in zip(marks, places, strict=True)
    )


def _x_axis(low: float, high: float, across: Callable[[float], float], label: str) -> Markup:
    # The means that a thinned line is drawn from end a little before the last step.
    marks = [mark for mark in ticks(low, high) if low <= mark <= high * 1.01]
    drawn = [_text(min(across(mark), WIDTH - RIGHT - 10), HEIGHT - 6, short(mark), "middle") for mark in marks]
    return Markup("").join([_text(LEFT - 12, HEIGHT - 6, label, "end"), *drawn])
