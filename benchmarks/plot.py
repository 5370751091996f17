"""Charts as SVG: lines over linear or logarithmic axes, one panel below the other. No package needed.

    draw(path, "title", [Panel("ticks a second", "s", [Line("offered", x, y), ...], log_y=True), ...])

``percentile_line`` gives a histogram's curve for a panel with ``percent_x``: its axis is the number of nines, as in
HdrHistogram's plots.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from benchmarks import machine
from benchmarks.harness import Options, number
from hft_engine.shm.histogram_view import percentile

PICTURES = machine.ROOT / "docs" / "pictures"
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#17becf", "#7f7f7f")
WIDTH, HEIGHT = 860, 230  # of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM, _HEAD = 80, 180, 24, 40, 34
_TICKS = 6
_NINES = (0.0, 90.0, 99.0, 99.9, 99.99, 99.999)


@dataclass(frozen=True)
class Line:
    """Points that are not finite, or not positive on a logarithmic axis, are left out."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dots: bool = False


@dataclass(frozen=True)
class Panel:
    """``bands``: stretches of the x axis to shade, with a word each."""

    y_label: str
    x_label: str
    lines: Sequence[Line]
    log_x: bool = False
    log_y: bool = False
    percent_x: bool = False
    bands: Sequence[tuple[float, float, str]] = ()


def draw(path: Path, title: str, panels: Sequence[Panel]) -> None:
    """Write the SVG of the panels."""
    height = _HEAD + len(panels) * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
        ' font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for i, panel in enumerate(panels):
        parts += [f'<g transform="translate(0,{_HEAD + i * HEIGHT})">', *_panel(panel), "</g>"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, "</svg>"]) + "\n")


def draws(opts: Options) -> bool:
    """Whether a run is long enough for its picture to be kept: quick ones draw nothing."""
    return not opts.quick


def nines(percents: Sequence[float]) -> list[float]:
    """Where percentiles lie on an axis of nines: 90 at 1, 99 at 2, 99.9 at 3."""
    return [-math.log10(1.0 - percent / 100.0) for percent in percents]


def percentile_line(name: str, counts: np.ndarray, scale: float = 1e-3) -> Line:
    """The curve of a latency histogram (see ``shm.histogram``), as far as its count can tell; us by default."""
    deepest = math.log10(max(10, int(counts[0])))
    places = np.arange(0.0, deepest + 1e-9, 0.1)
    values = [percentile(counts, 100.0 * (1.0 - 10.0**-place)) * scale for place in places]
    return Line(name, places.tolist(), values)


class _Axis:
    """From values to places between two ends of the picture."""

    def __init__(self, values: list[float], log: bool, begin: float, end: float) -> None:
        self._log, self._begin, self._end = log, begin, end
        self.marks = _log_marks(values) if log else _linear_marks(values)
        low = min([*values, self.marks[0]])
        high = max([*values, self.marks[-1]])
        self._low, self._high = self._place(low), self._place(high)

    def _place(self, value: float) -> float:
        return math.log10(value) if self._log else value

    def __call__(self, value: float) -> float:
        share = (self._place(value) - self._low) / ((self._high - self._low) or 1.0)
        return self._begin + share * (self._end - self._begin)


def _linear_marks(values: list[float]) -> list[float]:
    low, high = min([0.0, *values]), max(values, default=1.0)
    rough = (high - low or 1.0) / _TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    return [step * i for i in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _log_marks(values: list[float]) -> list[float]:
    low = math.floor(math.log10(min(values, default=1.0)))
    high = max(low + 1, math.ceil(math.log10(max(values, default=10.0))))
    return [10.0**power for power in range(low, high + 1)]


def _points(line: Line, panel: Panel) -> list[tuple[float, float]]:
    return [
        (float(x), float(y))
        for x, y in zip(line.x, line.y, strict=True)
        if math.isfinite(x) and math.isfinite(y) and (x > 0 or not panel.log_x) and (y > 0 or not panel.log_y)
    ]


def _panel(panel: Panel) -> list[str]:
    drawn = [_points(line, panel) for line in panel.lines]
    xs, ys = ([point[i] for points in drawn for point in points] or [1.0] for i in (0, 1))
    xs += [edge for begin, end, _ in panel.bands for edge in (begin, end)]
    across = _Axis(xs, panel.log_x, _LEFT, WIDTH - _RIGHT)
    up = _Axis(ys, panel.log_y, HEIGHT - _BOTTOM, _TOP)
    parts = [*_bands(panel, across), *_grid(panel, across, up)]
    for i, (line, points) in enumerate(zip(panel.lines, drawn, strict=True)):
        colour = COLOURS[i % len(COLOURS)]
        places = [(across(x), up(y)) for x, y in points]
        track = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{track}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        if line.dots:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        y = _TOP + 12 + 17 * i
        parts.append(
            f'<text x="{WIDTH - _RIGHT + 14}" y="{y}" fill="{colour}">&#9644; {escape(line.name)}</text>'
        )
    return parts


def _bands(panel: Panel, across: _Axis) -> list[str]:
    parts = []
    for begin, end, word in panel.bands:
        left, right = across(begin), across(end)
        size = f'width="{right - left:.1f}" height="{HEIGHT - _BOTTOM - _TOP}"'
        parts.append(f'<rect x="{left:.1f}" y="{_TOP}" {size} fill="#d62728" fill-opacity="0.08"/>')
        middle = (left + right) / 2
        parts.append(
            f'<text x="{middle:.1f}" y="{_TOP + 13}" text-anchor="middle" fill="#777">{escape(word)}</text>'
        )
    return parts


def _grid(panel: Panel, across: _Axis, up: _Axis) -> list[str]:
    left, right, bottom = _LEFT, WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = [f'<text x="{left}" y="{_TOP - 8}" fill="#333">{escape(panel.y_label)}</text>']
    for value in up.marks:
        y = up(value)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
    for value, word in _x_marks(panel, across):
        x = across(value)
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#eee"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{word}</text>')
    middle = (left + right) / 2
    parts.append(
        f'<text x="{middle}" y="{bottom + 32}" text-anchor="middle" fill="#333">{escape(panel.x_label)}</text>'
    )
    return parts


def _x_marks(panel: Panel, across: _Axis) -> list[tuple[float, str]]:
    if not panel.percent_x:
        return [(value, number(value)) for value in across.marks]
    furthest = across.marks[-1]
    shown = zip(nines(_NINES), _NINES, strict=True)
    return [(place, f"{percent:g} %") for place, percent in shown if place <= furthest]
