"""The model card: one HTML page, no script, no other file, the pictures as inline SVG.

ROC, precision-recall, calibration, importance by gain and by SHAP, the regimes over time, equity after costs beside the
baselines; and first of all whether the baselines are beaten.
"""

import html
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from hft_engine.learn.report import MODEL, Report
from hft_engine.learn.training import Trained

SIDE, MARGIN = 300, 34  # of a square picture
WIDE, WIDE_HEIGHT = 960, 230
POINTS_MAX = 200
FEATURES_SHOWN = 15
BINS = 10
STRIPES_MAX = 480
_COLOURS = ("var(--c0)", "var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)")

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #667080; --rule: #d9dee5; --paper: #fff; --bad: #c0392b;
  --good: #1a7f37; --c0: #1f6feb; --c1: #c0392b; --c2: #b7791f; --c3: #6f42c1; --c4: #667080; --c5: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #98a2b1; --rule: #343b46; --paper: #14171c;
  --bad: #ff7b6b; --good: #56c271; --c0: #6ea8fe; --c1: #ff7b6b; --c2: #e3b341; --c3: #b392f0; --c4: #98a2b1; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1000px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
.soft, .axis { color: var(--soft); fill: var(--soft); } .bad { color: var(--bad); } .good { color: var(--good); }
.verdict { font-size: 1.1rem; font-weight: 600; margin: .8rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: 1rem; }
figure { margin: 0; }
figcaption { color: var(--soft); } svg { width: 100%; height: auto; } svg text { font-size: 11px; }
.wide { overflow-x: auto; }
"""


def card_of(trained: Trained, version: str, previous: str = "") -> str:
    """A whole HTML document."""
    report = trained.report
    title = f"{report.task} {version}"
    kind = "bad" if report.unbeaten else "good"
    sections = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="soft">P({_text(report.text)}) · {_text(report.source)} · {_when(report.begin_ns)} to '
        f"{_when(report.end_ns)} UTC · {report.rows:,} rows{_text(previous and f' · parent {previous}')}</p>",
        f'<p class="verdict {kind}">{_text(report.verdict)}</p>',
        "<h2>Out of sample, all tests of the walk-forward</h2>",
        _figures(report),
        '<div class="row">',
        _figure("ROC", _roc(trained)),
        _figure("Precision and recall", _precision(trained)),
        _figure("Calibration: how often it happened where it was foretold", _reliability(trained)),
        "</div>",
        "<h2>Equity after costs, sum of ln returns</h2>",
        _equity(trained.curves),
        _equity_table(report),
        '<div class="row">',
        _figure("Importance by gain", _bars(report.importance_gain)),
        _figure("Importance by SHAP, mean absolute value", _bars(report.importance_shap)),
        "</div>",
    ]
    if len(report.classes) > 2:
        sections += [
            "<h2>Regimes over time: foretold above, found in hindsight below</h2>",
            _timeline(trained),
        ]
    sections += ["<h2>Tests of the walk-forward</h2>", _folds(report), "<h2>Data</h2>", _data(report)]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_text(title)}</title>'
    body = "".join(sections)
    return f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>\n'


def _text(value: object) -> str:
    return html.escape(str(value))


def _when(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _figure(caption: str, picture: str) -> str:
    return f"<figure>{picture}<figcaption>{_text(caption)}</figcaption></figure>"


# ---- tables ---------------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    top = "".join(f"<th>{_text(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{top}</tr>{lines}</table></div>'


def _figures(report: Report) -> str:
    names = list(report.figures[MODEL])
    rows = []
    for who, figures in report.figures.items():
        against = report.comparisons.get(who)
        verdict = "" if against is None else "yes" if against.better else "NO"
        t = "" if against is None or against.t is None else f"{against.t:.2f}"
        rows.append([who, *(f"{figures[name]:.4f}" for name in names), t, verdict])
    return _table(["", *(name.replace("_", " ") for name in names), "t, log loss", "beaten"], rows)


def _equity_table(report: Report) -> str:
    rows = [
        (name, f"{found.total:+.4%}", f"{found.cost:.4%}", f"{found.turnover:,.1f}")
        for name, found in report.equity.items()
    ]
    return _table(["", "after costs", "costs", "turnover"], rows)


def _folds(report: Report) -> str:
    rows = [
        (
            f"{_when(fold.begin_ns)} to {_when(fold.end_ns)}",
            f"{fold.train_rows:,}",
            f"{fold.purged:,}",
            f"{fold.test_rows:,}",
            fold.trees,
            *(f"{figures['auc']:.3f}" for figures in fold.figures.values()),
        )
        for fold in report.folds
    ]
    names = [f"AUC {name}" for name in report.folds[0].figures]
    return _table(["tested", "learned from", "purged", "tested rows", "trees", *names], rows)


def _data(report: Report) -> str:
    rows: list[tuple[str, object]] = [
        ("classes", ", ".join(f"{name} {count:,}" for name, count in report.class_rows.items())),
        ("threshold of yes", f"{report.threshold:.4f}"),
        ("calibrated", "isotonic" if report.calibrated else "no: too few rows"),
        ("cleaned", ", ".join(f"{name} {count:,}" for name, count in report.counts.items())),
        ("mean AUC of purged k folds", f"{report.cv_auc:.4f}" if report.cv_auc >= 0 else "not asked for"),
        ("series", ", ".join(report.symbols)),
        ("SHA-256 of the data", report.data_hash),
        ("features", ", ".join(report.features)),
    ]
    return _table(["", ""], rows)


# ---- pictures -------------------------------------------------------------------------------------------------


def _curves(trained: Trained) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By name (score, whether it happened): of two classes by model, of more by class of the model."""
    if len(trained.report.classes) == 2:
        return {name: (p[:, 1], trained.classes == 1) for name, p in trained.probabilities.items()}
    ours = trained.probabilities[MODEL]
    return {name: (ours[:, k], trained.classes == k) for k, name in enumerate(trained.report.classes)}


def _roc(trained: Trained) -> str:
    from sklearn.metrics import roc_curve

    lines = {}
    for name, (score, happened) in _curves(trained).items():
        if 0 < happened.sum() < len(happened):
            wrong, right, _ = roc_curve(happened, score)
            lines[name] = (wrong, right)
    return _square(lines, "false alarms", "found", diagonal=True)


def _precision(trained: Trained) -> str:
    from sklearn.metrics import precision_recall_curve

    lines = {}
    for name, (score, happened) in _curves(trained).items():
        if happened.any():
            precision, recall, _ = precision_recall_curve(happened, score)
            lines[name] = (recall[::-1], precision[::-1])
    return _square(lines, "recall", "precision", diagonal=False)


def _reliability(trained: Trained) -> str:
    lines = {}
    for name, (score, happened) in _curves(trained).items():
        edges = np.unique(np.quantile(score, np.linspace(0, 1, BINS + 1)))
        bins = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, max(0, len(edges) - 2))
        count = np.maximum(np.bincount(bins), 1)
        lines[name] = (np.bincount(bins, score) / count, np.bincount(bins, happened.astype(float)) / count)
    return _square(lines, "foretold", "happened", diagonal=True)


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    at = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS_MAX)).astype(int))
    return x[at], y[at]


def _square(lines: Mapping[str, tuple[np.ndarray, np.ndarray]], across: str, up: str, diagonal: bool) -> str:
    """Lines within 0 and 1 on both axes."""
    first, last = MARGIN, SIDE - 8
    length = last - first
    parts = [f'<rect x="{first}" y="8" width="{length}" height="{length}" fill="none" stroke="var(--rule)"/>']
    if diagonal:
        parts.append(f'<line x1="{first}" y1="{8 + length}" x2="{last}" y2="8" stroke="var(--rule)"/>')
    for i, (name, (x, y)) in enumerate(lines.items()):
        x, y = _thin(x, y)
        points = " ".join(
            f"{first + a * length:.1f},{8 + (1 - b) * length:.1f}" for a, b in zip(x, y, strict=True)
        )
        colour = _COLOURS[i % len(_COLOURS)]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>')
        parts.append(
            f'<text x="{last - 4}" y="{length - 4 - 14 * (len(lines) - 1 - i)}" text-anchor="end" fill="{colour}">'
            f"{_text(name)}</text>"
        )
    parts.append(
        f'<text class="axis" x="{last}" y="{SIDE - 12}" text-anchor="end">{_text(across)} 0 to 1</text>'
    )
    parts.append(f'<text class="axis" x="2" y="18">{_text(up)}</text>')
    return f'<svg viewBox="0 0 {SIDE} {SIDE}" role="img">{"".join(parts)}</svg>'


def _bars(importance: Mapping[str, float]) -> str:
    chosen = sorted(importance.items(), key=lambda item: -item[1])[:FEATURES_SHOWN]
    most = max((value for _, value in chosen), default=0.0) or 1.0
    parts = []
    for i, (name, value) in enumerate(chosen):
        y = 4 + 18 * i
        parts.append(
            f'<text x="150" y="{y + 11}" text-anchor="end" fill="var(--ink)">{_text(name)}</text>'
            f'<rect x="156" y="{y}" width="{220 * value / most:.1f}" height="13" fill="var(--c0)"/>'
        )
    return f'<svg viewBox="0 0 380 {8 + 18 * len(chosen)}" role="img">{"".join(parts)}</svg>'


def _equity(curves: Mapping[str, np.ndarray]) -> str:
    ts_ns = curves["ts_ns"].astype(np.float64)
    lines = {name: values for name, values in curves.items() if name != "ts_ns"}
    low = min(float(values.min()) for values in lines.values())
    high = max(float(values.max()) for values in lines.values())
    low, high = min(low, 0.0), max(high, 0.0)
    span, width = (high - low) or 1.0, WIDE - 200
    x = 70 + (ts_ns - ts_ns[0]) / max(1.0, ts_ns[-1] - ts_ns[0]) * (width - 70)
    parts = []
    for level in (low, 0.0, high):
        y = 10 + (high - level) / span * (WIDE_HEIGHT - 40)
        parts.append(
            f'<line x1="70" x2="{width}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--rule)"/>'
            f'<text class="axis" x="64" y="{y + 4:.1f}" text-anchor="end">{level:+.2%}</text>'
        )
    for i, (name, values) in enumerate(lines.items()):
        heights = 10 + (high - values) / span * (WIDE_HEIGHT - 40)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, heights, strict=True))
        colour = _COLOURS[i % len(_COLOURS)]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>')
        parts.append(f'<text x="{width + 8}" y="{22 + 16 * i}" fill="{colour}">{_text(name)}</text>')
    ends = ((70, "start", ts_ns[0]), (width, "end", ts_ns[-1]))
    for at, anchor, ns in ends:
        parts.append(
            f'<text class="axis" x="{at}" y="{WIDE_HEIGHT - 8}" text-anchor="{anchor}">{_when(int(ns))}</text>'
        )
    return f'<svg viewBox="0 0 {WIDE} {WIDE_HEIGHT}" role="img">{"".join(parts)}</svg>'


def _timeline(trained: Trained) -> str:
    """Of all series together: at each stretch of time the share of each regime, stacked."""
    order = np.argsort(trained.ts_ns, kind="stable")
    foretold = trained.probabilities[MODEL].argmax(axis=1)[order]
    count, parts = len(trained.report.classes), []
    for lane, states in enumerate((foretold, trained.classes[order])):
        pieces = np.array_split(states, min(STRIPES_MAX, len(states)))
        width = (WIDE - 120) / len(pieces)
        for i, piece in enumerate(pieces):
            y = 4.0 + 90 * lane
            for k, share in enumerate(np.bincount(piece, minlength=count) / len(piece)):
                if share > 0:
                    parts.append(
                        f'<rect x="{i * width:.2f}" y="{y:.1f}" width="{width + 0.3:.2f}" height="{80 * share:.1f}" '
                        f'fill="{_COLOURS[(k + 4) % len(_COLOURS)]}"/>'
                    )
                y += 80 * float(share)
    for k, name in enumerate(trained.report.classes):
        parts.append(
            f'<text x="{WIDE - 112}" y="{20 + 16 * k}" fill="{_COLOURS[(k + 4) % len(_COLOURS)]}">{_text(name)}</text>'
        )
    return f'<svg viewBox="0 0 {WIDE} 180" role="img">{"".join(parts)}</svg>'
