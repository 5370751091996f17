"""The page of a whole run: one HTML file with the tables and the percentile curves, nothing to load from elsewhere.

    write(DIR, the object that ``benchmarks.all`` prints)  ->  DIR/index.html, DIR/<benchmark>.svg

A percentile curve has the quantile on a scale of "nines" (as the HdrHistogram plotter has), the value on a
logarithmic one: what a mean hides is to the right.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks import hgrm
from benchmarks.harness import number

WIDTH, HEIGHT = 760, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 220, 24, 44
_COLOURS = ("#0b6e99", "#d1495b", "#3a7d44", "#8d5a97", "#e08e0b", "#30475e", "#8f2d56", "#5f7a61")
_NINES = ("0", "90", "99", "99.9", "99.99", "99.999", "99.9999")
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1c2833;max-width:1100px;margin:2em auto;padding:0 1em}
h1{font-size:1.5em}h2{font-size:1.2em;margin-top:2.2em;border-bottom:1px solid #ccd}
table{border-collapse:collapse;font-size:13px;width:100%}td,th{padding:2px 10px;text-align:left}
th{border-bottom:2px solid #99a}tr:nth-child(even){background:#f5f7f9}
td.n{text-align:right;font-variant-numeric:tabular-nums}.met{color:#1e7b34}.missed{color:#b02a37;font-weight:600}
.note{color:#566;font-size:13px;margin:2px 0}svg{max-width:100%;height:auto}
"""
Curve = Sequence[tuple[float, float]]  # (1 / (1 - quantile), microseconds)


def write(directory: Path, run: Mapping[str, Any]) -> Path:
    """The page of a run and its pictures; the percentile files are those in ``directory``/hdr."""
    pictures = {name: svg(name, curves) for name, curves in _curves(directory / "hdr").items()}
    for name, picture in pictures.items():
        (directory / f"{name}.svg").write_text(picture)
    page = directory / "index.html"
    page.write_text(_page(run, pictures))
    return page


def _curves(folder: Path) -> dict[str, dict[str, Curve]]:
    """By benchmark, then by figure."""
    found: dict[str, dict[str, Curve]] = {}
    for file in sorted(folder.glob(f"*{hgrm.SUFFIX}")):
        benchmark, _, figure = file.name.removesuffix(hgrm.SUFFIX).partition(".")
        points = [(odds, value) for odds, value in hgrm.read(file) if value > 0]
        if points:
            found.setdefault(benchmark, {})[figure] = points
    return found


# ---- pictures ----


def svg(title: str, curves: Mapping[str, Curve]) -> str:
    """Percentile curves in one picture."""
    right = max([1.0, *(math.log10(odds) for points in curves.values() for odds, _ in points)])
    values = [value for points in curves.values() for _, value in points]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)

    def place(odds: float, value: float) -> tuple[float, float]:
        x = _LEFT + math.log10(odds) / right * (WIDTH - _LEFT - _RIGHT)
        y = HEIGHT - _BOTTOM - (math.log10(value) - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM)
        return x, y

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="system-ui,sans-serif" font-size="12">',
        f'<title>{escape(title)}</title><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="15" font-weight="600">{escape(title)}: latency, us, by percentile</text>',
    ]
    for power in range(low, high + 1):
        parts.append(_line(place(1.0, 10.0**power), place(10.0**right, 10.0**power)))
        parts.append(_text(_LEFT - 6, place(1.0, 10.0**power)[1] + 4, number(10.0**power), "end"))
    for nines in range(math.floor(right + 1e-9) + 1):
        x = place(10.0**nines, 10.0**low)[0]
        parts.append(_line((x, _TOP), (x, HEIGHT - _BOTTOM)))
        label = _NINES[nines] if nines < len(_NINES) else f"{nines} nines"
        parts.append(_text(x, HEIGHT - _BOTTOM + 16, f"{label} %", "middle"))
    for i, (name, points) in enumerate(curves.items()):
        colour = _COLOURS[i % len(_COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        dashes = ' stroke-dasharray="5 3"' if i >= len(_COLOURS) else ""
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"{dashes}/>')
        parts.append(_legend(i, name, colour))
    return "\n".join([*parts, "</svg>\n"])


def _line(start: tuple[float, float], end: tuple[float, float]) -> str:
    return f'<path d="M{start[0]:.1f} {start[1]:.1f}L{end[0]:.1f} {end[1]:.1f}" stroke="#dde3e8"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#445">{escape(text)}</text>'


def _legend(i: int, name: str, colour: str) -> str:
    x, y = WIDTH - _RIGHT + 14, _TOP + 12 + 18 * i
    return (
        f'<rect x="{x}" y="{y - 8}" width="14" height="4" fill="{colour}"/>'
        + f'<text x="{x + 20}" y="{y - 2}" fill="#223">{escape(name)}</text>'
    )


# ---- tables ----


def _page(run: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    machine = run["machine"]
    sections = "\n".join(_section(report, pictures) for report in run["reports"])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>hft_engine benchmarks</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>hft_engine: benchmarks of one run</h1>\n<p>{escape(_where(machine))}</p>\n{sections}\n</body></html>\n"
    )


def _where(machine: Mapping[str, Any]) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
        f"Python {machine['python']}, {libraries}; commit {machine['commit'] or 'unknown'}."
    )


def _section(report: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    name = report["benchmark"]
    configuration = ", ".join(f"{key} {value}" for key, value in report.get("configuration", {}).items())
    rows = "\n".join(_row(result) for result in report["results"])
    notes = "\n".join(f'<p class="note">{escape(text.strip())}</p>' for text in report.get("notes", ()))
    return (
        f'<h2>{escape(name)}</h2>\n<p class="note">{escape(configuration + _jitter(report["machine"]))}</p>\n'
        f"{pictures.get(name, '')}\n<table><tr><th>figure<th>median<th>min - max<th>unit<th>reference"
        f"<th>ratio<th>target</tr>\n{rows}\n</table>\n{notes}"
    )


def _jitter(machine: Mapping[str, Any]) -> str:
    sensed = machine.get("jitter")
    if not sensed:
        return ""
    return f"; the machine's own jitter: p99 {number(sensed['p99_us'])} us, max {number(sensed['max_us'])} us"


def _row(result: Mapping[str, Any]) -> str:
    reference = f"{result['reference_name']}: {number(result['reference'])}" if result["reference"] else ""
    ratio = f"{result['ratio']:.3g}" if result["ratio"] else ""
    target = ""
    if result["target"] is not None:
        kind = "met" if result["met"] else "missed"
        target = f'<span class="{kind}">{number(result["target"])} {kind}</span>'
    spread = f"{number(result['min'])} - {number(result['max'])}"
    return (
        f'<tr><td>{escape(result["name"])}<td class="n">{number(result["value"])}<td class="n">{spread}'
        f'<td>{escape(result["unit"])}<td>{escape(reference)}<td class="n">{ratio}<td>{target}</tr>'
    )
