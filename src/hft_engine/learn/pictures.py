"""The pictures of a model card as SVG text: curves between 0 and 1, bars, lines over time, stripes over time.

Every axis has its name, its unit and numbers; what a colour means stands outside of the drawing, so that no text lies
on a line or on another text. Colours are those of the card's style sheet.
"""

import html
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

# The same name has the same colour in every picture of a card; names that are not here take the next free one.
_COLOUR_OF = {
    "model": 0,
    "majority": 1,
    "last_return": 2,
    "logistic": 3,
    "always long": 4,
    "ranging": 4,
    "trend_up": 5,
    "trend_down": 1,
    "volatile": 2,
}
_COLOURS = 6
POINTS_MAX = 200
LIMITS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # of an axis of shares: the first that holds them all
CHARACTER = 6.2  # width of one, in the pictures' own unit
WIDE = 960
FEATURES_SHOWN = 15
STRIPES_MAX = 480
_DAY_S = 86_400.0

Line = tuple[np.ndarray, np.ndarray]  # x, y


def _text(value: object) -> str:
    return html.escape(str(value))


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{_text(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _label(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    return f'<text class="axis" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{_text(text)}</text>'


def _upright(x: float, y: float, text: str) -> str:
    return _label(x, y, text, "middle", f' transform="rotate(-90 {x:.1f} {y:.1f})"')


def _rule(x1: float, y1: float, x2: float, y2: float, more: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="var(--rule)"{more}/>'


def _polyline(x: np.ndarray, y: np.ndarray, colour: str) -> str:
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>'


def _key(x: float, y: float, text: str, colour: str) -> str:
    """What a colour means: a patch of it and its name."""
    return (
        f'<rect x="{x:.1f}" y="{y - 8:.1f}" width="10" height="8" fill="{colour}"/>'
        f'<text x="{x + 15:.1f}" y="{y:.1f}" fill="var(--ink)">{_text(text)}</text>'
    )


def colour_of(name: str, number: int) -> str:
    return f"var(--c{_COLOUR_OF.get(name, number % _COLOURS)})"


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from ``low`` to ``high`` in equal steps, ``most`` at most."""
    span = high - low
    if not (span > 0.0 and math.isfinite(span)):
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    for step in (power * factor for factor in (1, 2, 2.5, 5, 10, 20)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [number * step for number in range(first, last + 1)]


def moments(ts_ns: Sequence[float]) -> list[str]:
    """As much of the times as tells them apart, UTC."""
    span_s = (max(ts_ns) - min(ts_ns)) / 1e9
    form = "%Y-%m-%d" if span_s > 5 * _DAY_S else "%m-%d %H:%M" if span_s > 3_600 else "%H:%M:%S"
    return [datetime.fromtimestamp(ns / 1e9, UTC).strftime(form) for ns in ts_ns]


def thin(x: np.ndarray, y: np.ndarray) -> Line:
    at = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS_MAX)).astype(int))
    return x[at], y[at]


# ---- shares ---------------------------------------------------------------------------------------------------


class Square(NamedTuple):
    """Where both axes of a square picture lie: ``left``, ``top``, ``side`` of the drawing within ``width``."""

    left: float = 52.0
    top: float = 8.0
    side: float = 240.0
    width: float = 300.0


def square(
    lines: Mapping[str, Line], across: str, up: str, diagonal: bool, zoomed: bool = False, dots: bool = False
) -> str:
    """Lines of shares, from 0 to 1 on both axes; ``zoomed``: to the first round limit that holds them all."""
    at = Square()
    bottom, right = at.top + at.side, at.left + at.side
    highest = max(
        (float(values.max()) for line in lines.values() for values in line if len(values)), default=1.0
    )
    limit = next((limit for limit in LIMITS if limit >= highest), 1.0) if zoomed else 1.0
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = at.left + share * at.side, bottom - share * at.side
        parts += [_rule(x, at.top, x, bottom), _rule(at.left, y, right, y)]
        parts += [_label(x, bottom + 14, f"{share * limit:.4g}", "middle")]
        parts += [_label(at.left - 5, y + 4, f"{share * limit:.4g}", "end")]
    if diagonal:
        parts.append(_rule(at.left, bottom, right, at.top, ' stroke-dasharray="4 3" stroke-width="1.5"'))
    parts += [_label(at.left + at.side / 2, bottom + 31, across, "middle")]
    parts += [_upright(12, at.top + at.side / 2, up)]
    for i, (name, line) in reversed(list(enumerate(lines.items()))):  # the first, which is ours, on top
        places = at.left + line[0] / limit * at.side, bottom - line[1] / limit * at.side
        parts.append(_polyline(*places, colour_of(name, i)))
        if dots:
            parts += [
                f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{colour_of(name, i)}"/>'
                for a, b in zip(*places, strict=True)
            ]
    for i, name in enumerate(lines):
        parts.append(_key(at.left + 125 * (i % 2), bottom + 52 + 16 * (i // 2), name, colour_of(name, i)))
    height = bottom + 58 + 16 * ((len(lines) + 1) // 2 - 1)
    return _svg(at.width, height, f"{up} by {across}", parts)


# ---- importance -----------------------------------------------------------------------------------------------


def bars(values: Mapping[str, float], label: str = "importance of the features") -> str:
    """The ``FEATURES_SHOWN`` greatest, each with its number."""
    chosen = sorted(values.items(), key=lambda item: -item[1])[:FEATURES_SHOWN]
    most = max((value for _, value in chosen), default=0.0) or 1.0
    left = CHARACTER * max((len(name) for name, _ in chosen), default=0) + 8
    width = max(380.0, left + 200)
    length = width - left - 60
    parts = []
    for i, (name, value) in enumerate(chosen):
        y = 4 + 18 * i
        end = left + length * max(value, 0.0) / most
        parts.append(
            f'<text x="{left - 6:.1f}" y="{y + 11}" text-anchor="end" fill="var(--ink)">{_text(name)}</text>'
            f'<rect x="{left:.1f}" y="{y}" width="{end - left:.1f}" height="13" fill="var(--c0)"/>'
        )
        parts.append(_label(end + 4, y + 11, f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"))
    return _svg(width, 8 + 18 * len(chosen), label, parts)


def distributions(then: Sequence[float], now: Sequence[float], names: Sequence[str]) -> str:
    """Shares of rows in buckets, before and now side by side; ``names`` of the buckets, below them."""
    left, top, height, step = 44.0, 8.0, 110.0, 46.0
    limit = next((limit for limit in LIMITS if limit >= max(*then, *now)), 1.0)
    bottom, width = top + height, left + step * len(names) + 8
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * height
        parts += [_rule(left, y, width, y), _label(left - 5, y + 4, f"{100 * share * limit:.4g} %", "end")]
    for i, name in enumerate(names):
        for k, share in enumerate((then[i], now[i])):
            tall = height * min(share / limit, 1.0)
            parts.append(
                f'<rect x="{left + step * i + 4 + 19 * k:.1f}" y="{bottom - tall:.1f}" width="18" height="{tall:.1f}" '
                f'fill="var(--c{4 * (1 - k)})"/>'
            )
        parts.append(_label(left + step * (i + 0.5), bottom + 14 + 12 * (i % 2), name, "middle"))
    parts += [
        _key(left, bottom + 44, "learned from", "var(--c4)"),
        _key(left + 110, bottom + 44, "now", "var(--c0)"),
    ]
    return _svg(width, bottom + 50, "shares of the rows", parts)


# ---- over time ------------------------------------------------------------------------------------------------


def over_time(ts_ns: np.ndarray, lines: Mapping[str, np.ndarray], up: str) -> str:
    """Lines of percentages over time; beside each name where it ends."""
    left, right, top, bottom = 76.0, WIDE - 180.0, 10.0, 210.0
    low = min(0.0, *(float(values.min()) for values in lines.values()))
    high = max(0.0, *(float(values.max()) for values in lines.values()))
    span = (high - low) or 1.0
    begin, end = float(ts_ns[0]), float(ts_ns[-1])
    x = left + (ts_ns - begin) / max(1.0, end - begin) * (right - left)
    parts = []
    for level in ticks(low, high):
        y = top + (high - level) / span * (bottom - top)
        parts.append(_rule(left, y, right, y, ' stroke-width="2"' if level == 0.0 else ""))
        parts.append(_label(left - 6, y + 4, f"{100 * level:+.4g} %" if level else "0 %", "end"))
    parts.append(_upright(12, (top + bottom) / 2, up))
    stamps = [begin + share * (end - begin) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    parts += _times(stamps, left, right, bottom)
    for i, (name, values) in reversed(list(enumerate(lines.items()))):
        parts.append(_polyline(x, top + (high - values) / span * (bottom - top), colour_of(name, i)))
    for i, (name, values) in enumerate(lines.items()):
        told = f"{name} {100 * float(values[-1]):+.3g} %"
        parts.append(_key(right + 14, 22 + 18 * i, told, colour_of(name, i)))
    return _svg(WIDE, bottom + 38, f"{up} over time", parts)


def _times(stamps: Sequence[float], left: float, right: float, y: float) -> list[str]:
    """Marks in equal distances with their times, and the axis' name."""
    parts = []
    for i, told in enumerate(moments(stamps)):
        x = left + (right - left) * i / (len(stamps) - 1)
        anchor = "start" if i == 0 else "end" if i == len(stamps) - 1 else "middle"
        parts += [_rule(x, y, x, y + 4), _label(x, y + 16, told, anchor)]
    return [*parts, _label((left + right) / 2, y + 32, "time, UTC", "middle")]


def stripes(ts_ns: np.ndarray, lanes: Mapping[str, np.ndarray], classes: Sequence[str]) -> str:
    """A lane each of classes in order of time: at each stretch of as many rows the share of each class, stacked."""
    left, right, height = 128.0, WIDE - 110.0, 80.0
    parts = []
    for number, (lane, states) in enumerate(lanes.items()):
        top = 4.0 + (height + 10.0) * number
        parts.append(_label(left - 8, top + height / 2 + 4, lane, "end"))
        pieces = np.array_split(states, min(STRIPES_MAX, len(states)))
        width = (right - left) / len(pieces)
        for i, piece in enumerate(pieces):
            y = top
            for k, share in enumerate(np.bincount(piece, minlength=len(classes)) / len(piece)):
                if share > 0:
                    parts.append(
                        f'<rect x="{left + i * width:.2f}" y="{y:.1f}" width="{width + 0.3:.2f}" '
                        f'height="{height * share:.1f}" fill="{colour_of(classes[k], k)}"/>'
                    )
                y += height * float(share)
    bottom = 4.0 + (height + 10.0) * len(lanes) - 6.0
    last = len(ts_ns) - 1
    parts += _times([float(ts_ns[last * i // 4]) for i in range(5)], left, right, bottom)
    for k, name in enumerate(classes):
        parts.append(_key(right + 14, 20 + 18 * k, name, colour_of(name, k)))
    return _svg(WIDE, bottom + 38, "classes over time", parts)
