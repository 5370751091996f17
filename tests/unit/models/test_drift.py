"""Drift is told by feature, from counts alone, and only where there are rows enough."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from hft_engine.inference.model import QUANTILES
from hft_engine.models.drift import (
    PSI_SOME,
    PSI_STRONG,
    ROWS_MIN,
    DriftMonitor,
    DriftSnapshot,
    FeatureDrift,
    drift_of,
    edges_of,
    psi_of,
    shares_of,
    snapshot_of,
)

NAMES = ("normal", "steps", "often_unknown", "never_known")


def market(rows: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    unknown = random.normal(size=rows)
    unknown[random.random(rows) < 0.4] = np.nan
    return np.column_stack(
        [random.normal(size=rows), random.integers(0, 3, rows), unknown, np.full(rows, np.nan)]
    )


def snapshot() -> DriftSnapshot:
    learned = market(20_000, 1)
    with np.errstate(all="ignore"):
        quantiles = {name: np.nanquantile(learned[:, k], QUANTILES) for k, name in enumerate(NAMES[:3])}
    quantiles["never_known"] = np.full(11, np.nan)
    shares = {name: shares_of(learned[:, k], edges_of(quantiles[name])) for k, name in enumerate(NAMES)}
    return snapshot_of(quantiles, shares)


def by_name(drifts: tuple[FeatureDrift, ...]) -> dict[str, FeatureDrift]:
    return {drift.name: drift for drift in drifts}


def test_the_same_market_does_not_drift() -> None:
    drifts = by_name(drift_of(snapshot(), market(5_000, 2)))
    assert set(drifts) == set(NAMES)
    assert all(drift.level == "none" and drift.psi < 0.02 and drift.ks < 0.03 for drift in drifts.values())


def test_only_the_feature_that_moved_is_named_and_comes_first() -> None:
    rows = market(5_000, 3)
    rows[:, 0] += 1.0
    first, *others = drift_of(snapshot(), rows)
    assert (first.name, first.level) == ("normal", "strong")
    assert first.psi > PSI_STRONG
    assert all(drift.level == "none" for drift in others)


def test_a_feature_that_became_unknown_or_known_drifts() -> None:
    rows = market(5_000, 4)
    rows[:2_000, 1] = np.nan
    rows[:, 3] = 1.0
    drifts = by_name(drift_of(snapshot(), rows))
    assert drifts["steps"].level == drifts["never_known"].level == "strong"
    assert drifts["normal"].level == drifts["often_unknown"].level == "none"


def test_ks_is_the_statistic_at_the_deciles() -> None:
    learned, now = market(20_000, 1)[:, 0], market(5_000, 5)[:, 0] * 1.5 + 0.3
    exact = ks_2samp(learned, now).statistic
    found = by_name(drift_of(snapshot(), np.column_stack([now, *market(5_000, 5).T[1:]])))["normal"].ks
    assert exact - 0.05 < found <= exact


def test_psi_by_hand() -> None:
    assert psi_of(np.array([0.5, 0.5]), np.array([0.4, 0.6])) == pytest.approx(
        -0.1 * np.log(0.8) + 0.1 * np.log(1.2), rel=1e-12
    )
    assert np.isfinite(psi_of(np.array([0.0, 1.0]), np.array([1.0, 0.0])))


def test_pieces_give_what_the_whole_gives() -> None:
    rows = market(3_000, 6)
    monitor = DriftMonitor(snapshot())
    for part in np.array_split(rows, 7):
        monitor.add(part)
    assert monitor.drifts() == drift_of(snapshot(), rows)


@pytest.mark.parametrize("rows", [0, 1, ROWS_MIN - 1])
def test_few_rows_say_nothing(rows: int) -> None:
    assert all(drift.level == "too few" for drift in drift_of(snapshot(), market(rows, 7) + 9.0))


def test_a_model_without_shares_has_no_snapshot() -> None:
    assert snapshot_of({"normal": tuple(range(11))}, {}).features == ()
    assert PSI_SOME < PSI_STRONG
