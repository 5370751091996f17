"""What a training found, as data that is stored with the model: plain, and the bad news first."""

import msgspec

MODEL = "model"


class FoldFigures(msgspec.Struct, frozen=True):
    """One test of the walk-forward. ``figures``: by ``model`` and each baseline, see ``measures.measures``."""

    begin_ns: int
    end_ns: int
    train_rows: int
    test_rows: int
    purged: int
    trees: int
    figures: dict[str, dict[str, float]]


class Comparison(msgspec.Struct, frozen=True):
    """Against a baseline: log loss saved a row, and its t value over blocks of time. ``better``: beyond chance."""

    gain: float
    t: float | None
    better: bool

    @property
    def undecided(self) -> bool:
        """The time tested is too short for a verdict."""
        return self.t is None and not self.better


class Equity(msgspec.Struct, frozen=True):
    """``total``: sum of ln returns after costs, mean of the series; ``cost``: what was paid; ``turnover``: times the
    capital."""

    total: float
    cost: float
    turnover: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Of one task. ``figures`` and ``comparisons`` are over all tests of the walk-forward together, out of sample."""

    task: str
    text: str
    classes: tuple[str, ...]
    source: str
    symbols: tuple[str, ...]
    rows: int
    class_rows: dict[str, int]
    begin_ns: int
    end_ns: int
    data_hash: str
    features: tuple[str, ...]
    counts: dict[str, int]  # what was cleaned
    folds: tuple[FoldFigures, ...]
    figures: dict[str, dict[str, float]]
    comparisons: dict[str, Comparison]
    cv_auc: (
        float  # mean over purged k folds, ``hft train --cv``; NaN is not JSON: -1 where it was not asked for
    )
    threshold: float
    trees: int
    calibrated: bool
    equity: dict[str, Equity]
    importance_gain: dict[str, float]
    importance_shap: dict[str, float]  # mean of the absolute SHAP values
    seconds: float

    @property
    def unbeaten(self) -> tuple[str, ...]:
        """The baselines that the model is not better than beyond chance."""
        return tuple(name for name, comparison in self.comparisons.items() if not comparison.better)

    @property
    def verdict(self) -> str:
        """One sentence for people."""
        if not self.unbeaten:
            return f"{self.task} beats every baseline out of sample"
        short = any(comparison.undecided for comparison in self.comparisons.values())
        why = " (the time tested is too short to tell; train on more data)" if short else ""
        return f"{self.task} does NOT beat: {', '.join(self.unbeaten)}{why}; promote it only with --force"
