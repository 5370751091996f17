"""The model card: one HTML page, no script, no other file, the pictures as inline SVG.

ROC, precision-recall, calibration, importance by gain and by SHAP, the regimes over time, equity after costs beside the
baselines; and first of all whether the baselines are beaten.
"""

import html
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from hft_engine.learn import pictures
from hft_engine.learn.report import MODEL, Report
from hft_engine.learn.training import Trained

BINS = 10  # of a calibration curve

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #667080; --rule: #d9dee5; --paper: #fff; --bad: #c0392b;
  --good: #1a7f37; --c0: #1f6feb; --c1: #c0392b; --c2: #b7791f; --c3: #6f42c1; --c4: #667080; --c5: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #98a2b1; --rule: #343b46; --paper: #14171c;
  --bad: #ff7b6b; --good: #56c271; --c0: #6ea8fe; --c1: #ff7b6b; --c2: #e3b341; --c3: #b392f0; --c4: #98a2b1;
  --c5: #56c271; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1000px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
.soft, .axis { color: var(--soft); fill: var(--soft); } .bad { color: var(--bad); } .good { color: var(--good); }
.verdict { font-size: 1.1rem; font-weight: 600; margin: .8rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.facts td { text-align: left; vertical-align: top; } .facts td:first-child { white-space: nowrap; }
.row { margin-top: 1rem; display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: 1rem; }
figure { margin: 0; }
figcaption { color: var(--soft); } svg { width: 100%; height: auto; } svg text { font-size: 11px; }
.wide { overflow-x: auto; } .wide svg { min-width: 640px; }
"""


def card_of(trained: Trained, version: str, previous: str = "") -> str:
    """A whole HTML document."""
    report = trained.report
    title = f"{report.task} {version}"
    about = (
        f"P({report.text}) · {report.source} · {_when(report.begin_ns)} to {_when(report.end_ns)} UTC · "
        f"{report.rows:,} rows{previous and f' · parent {previous}'}"
    )
    kind = "bad" if report.unbeaten else "good"
    sections = [
        f'<p class="verdict {kind}">{_text(report.verdict)}</p>',
        "<h2>Out of sample, all tests of the walk-forward</h2>",
        _figures(report),
        '<div class="row">',
        figure("ROC", _roc(trained)),
        figure("Precision and recall", _precision(trained)),
        figure("Calibration: how often it happened where it was foretold", _reliability(trained)),
        "</div>",
        "<h2>Equity after costs, mean of the series, out of sample</h2>",
        _equity(trained.curves),
        _equity_table(report),
        '<div class="row">',
        figure("Importance by gain: loss saved in training", pictures.bars(report.importance_gain)),
        figure(
            "Importance by SHAP: mean absolute share of the raw score", pictures.bars(report.importance_shap)
        ),
        "</div>",
    ]
    if len(report.classes) > 2:
        sections += [
            "<h2>Regimes over time, out of sample: the share of each in stretches of as many rows</h2>",
            _timeline(trained),
        ]
    sections += ["<h2>Tests of the walk-forward</h2>", _folds(report), "<h2>Data</h2>", _data(report)]
    return page(title, about, sections)


def page(title: str, about: str, sections: Sequence[str]) -> str:
    """A whole HTML document; ``about``: a line below the title, ``sections``: HTML."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_text(title)}</title>'
    body = f'<h1>{_text(title)}</h1><p class="soft">{_text(about)}</p>' + "".join(sections)
    return f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>\n'


def _text(value: object) -> str:
    return html.escape(str(value))


def _when(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")


def figure(caption: str, picture: str) -> str:
    return f"<figure>{picture}<figcaption>{_text(caption)}</figcaption></figure>"


# ---- tables ---------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    top = "".join(f"<th>{_text(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{top}</tr>{lines}</table></div>'


def _figures(report: Report) -> str:
    names = list(report.figures[MODEL])
    rows = []
    for who, figures in report.figures.items():
        against = report.comparisons.get(who)
        verdict = "" if against is None else "yes" if against.better else "NO"
        verdict = "too short" if against is not None and against.undecided else verdict
        t = "" if against is None or against.t is None else f"{against.t:.2f}"
        rows.append([who, *(f"{figures[name]:.4f}" for name in names), t, verdict])
    return table(["", *(name.replace("_", " ") for name in names), "t, log loss", "beaten"], rows)


def _equity_table(report: Report) -> str:
    rows = [
        (name, f"{found.total:+.4%}", f"{found.cost:.4%}", f"{found.turnover:,.1f}")
        for name, found in report.equity.items()
    ]
    return table(["", "after costs", "costs", "turnover"], rows)


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
    return table(["tested", "learned from", "purged", "tested rows", "trees", *names], rows)


def _data(report: Report) -> str:
    rows: list[tuple[str, object]] = [
        ("classes", ", ".join(f"{name} {count:,}" for name, count in report.class_rows.items())),
        ("threshold of yes", f"{report.threshold:.4f}"),
        ("calibrated", "isotonic" if report.calibrated else "no: too few rows"),
        ("cleaned", ", ".join(f"{name} {count:,}" for name, count in report.counts.items())),
        ("CV AUC, mean of purged k folds", f"{report.cv_auc:.4f}" if report.cv_auc >= 0 else "not asked for"),
        ("series", ", ".join(report.symbols)),
        ("SHA-256 of the data", report.data_hash),
        ("features", ", ".join(report.features)),
    ]
    return f'<div class="facts">{table(["", ""], rows)}</div>'


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
            lines[name] = pictures.thin(wrong, right)
    return pictures.square(lines, "false alarms, share of all that were none", "found, share", diagonal=True)


def _precision(trained: Trained) -> str:
    from sklearn.metrics import precision_recall_curve

    lines = {}
    for name, (score, happened) in _curves(trained).items():
        if happened.any():
            precision, recall, _ = precision_recall_curve(happened, score)
            # without the point that scikit-learn adds at recall 0, of a precision that nobody measured
            lines[name] = pictures.thin(recall[-2::-1], precision[-2::-1])
    return pictures.square(lines, "recall, share", "precision, share", diagonal=False)


def _reliability(trained: Trained) -> str:
    lines = {name: reliability(*curve) for name, curve in _curves(trained).items()}
    return pictures.square(
        lines, "foretold probability", "happened, share", diagonal=True, zoomed=True, dots=True
    )


def reliability(score: np.ndarray, happened: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean of what was foretold, share that happened) of each tenth of the rows, fewer where many are alike."""
    edges = np.unique(np.quantile(score, np.linspace(0, 1, BINS + 1)))
    bins = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, max(0, len(edges) - 2))
    count = np.bincount(bins)
    some = count > 0
    sums = np.bincount(bins, score)[some], np.bincount(bins, happened.astype(float))[some]
    return sums[0] / count[some], sums[1] / count[some]


def _equity(curves: Mapping[str, np.ndarray]) -> str:
    lines = {name: curves[name] for name in sorted(curves, key=lambda name: name != MODEL) if name != "ts_ns"}
    return _wide(pictures.over_time(curves["ts_ns"].astype(np.float64), lines, "sum of ln returns"))


def _timeline(trained: Trained) -> str:
    """Of all series together."""
    order = np.argsort(trained.ts_ns, kind="stable")
    lanes = {
        "foretold": trained.probabilities[MODEL].argmax(axis=1)[order],
        "found in hindsight": trained.classes[order],
    }
    return _wide(pictures.stripes(trained.ts_ns[order], lanes, trained.report.classes))


def _wide(picture: str) -> str:
    return f'<div class="wide">{picture}</div>'
