"""Calibration: fitted by scikit-learn, applied inside the compiled pass as numpy would."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from hft_engine.inference.lightgbm_text import parse_model
from hft_engine.inference.tables import build_tables
from hft_engine.inference.trees import predict
from hft_engine.learn.calibration import EDGE, calibrated, fit_calibration


def drawn(seed: int, rows: int = 4_000) -> tuple[np.ndarray, np.ndarray]:
    """(probabilities that are too sure, what happened)."""
    random = np.random.default_rng(seed)
    honest = random.uniform(0.02, 0.98, rows)
    happened = (random.random(rows) < honest).astype(int)
    odds = (honest / (1 - honest)) ** 3
    sure = odds / (1 + odds)
    return np.column_stack([1 - sure, sure]), happened


def test_it_is_scikit_learn_s_isotonic_regression() -> None:
    given, happened = drawn(1)
    reference = IsotonicRegression(y_min=EDGE, y_max=1 - EDGE, out_of_bounds="clip").fit(
        given[:, 1], happened
    )
    found = calibrated(given, fit_calibration(given, happened, 2))
    apart = np.abs(found[:, 1] - reference.predict(given[:, 1]))
    assert apart.mean() < 0.03
    assert found.min() > 0.0 and found.max() < 1.0, "no few rows at an end make a certainty"
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


def test_too_sure_probabilities_come_true_afterwards() -> None:
    curves = fit_calibration(*drawn(2), 2)
    given, happened = drawn(3)
    found = calibrated(given, curves)[:, 1]
    for low in (0.1, 0.4, 0.7):
        chosen = (found >= low) & (found < low + 0.2)
        assert abs(found[chosen].mean() - happened[chosen].mean()) < 0.05
    assert np.mean((found - happened) ** 2) < np.mean((given[:, 1] - happened) ** 2) - 0.005


def test_of_few_rows_or_a_rare_class_nothing_is_fitted() -> None:
    given, happened = drawn(4)
    assert fit_calibration(given[:900], happened[:900], 2) == ()
    happened[:] = 0
    happened[:200] = 1
    assert fit_calibration(given, happened, 2) == ()


@pytest.mark.parametrize("classes", [2, 3])
def test_the_compiled_pass_is_the_booster_then_the_curve(classes: int) -> None:
    import lightgbm

    random = np.random.default_rng(classes)
    rows = random.normal(size=(3_000, 4))
    rows[random.random(rows.shape) < 0.1] = np.nan
    label = np.digitize(
        np.nan_to_num(rows[:, 0]) + random.normal(size=3_000), np.linspace(-1, 1, classes + 1)[1:-1]
    )
    objective = {"objective": "multiclass", "num_class": classes} if classes > 2 else {"objective": "binary"}
    model = lightgbm.train({**objective, "verbose": -1, "num_threads": 1}, lightgbm.Dataset(rows, label), 12)
    raw = model.predict(rows)
    probabilities = raw if classes > 2 else np.column_stack([1 - raw, raw])
    curves = fit_calibration(probabilities, label, classes)
    assert len(curves) == (1 if classes == 2 else classes)
    tables = build_tables(parse_model(model.model_to_string().encode(), "test"), range(4), calibration=curves)
    expected = calibrated(probabilities, curves)
    fresh = np.concatenate([rows, random.normal(scale=50, size=(500, 4))])
    raw = model.predict(fresh)
    expected = calibrated(raw if classes > 2 else np.column_stack([1 - raw, raw]), curves)
    np.testing.assert_allclose(
        predict(tables, fresh), expected if classes > 2 else expected[:, 1:], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    "curve",
    [
        ((0.1, 0.1), (0.2, 0.3)),
        ((0.1, 0.2), (0.3, 0.2)),
        ((0.1, 0.2), (0.3, 1.2)),
        ((0.1,), ()),
        ((0.1, float("nan")), (0.1, 0.2)),
    ],
)
def test_a_curve_that_is_none_is_refused(curve: tuple[tuple[float, ...], tuple[float, ...]]) -> None:
    import lightgbm

    rows = np.random.default_rng(0).normal(size=(200, 2))
    model = lightgbm.train(
        {"objective": "binary", "verbose": -1, "num_threads": 1},
        lightgbm.Dataset(rows, (rows[:, 0] > 0).astype(int)),
        2,
    )
    ensemble = parse_model(model.model_to_string().encode(), "test")
    with pytest.raises(ValueError, match="calibration"):
        build_tables(ensemble, range(2), calibration=(curve,))
    with pytest.raises(ValueError, match="2 curves for 1 output"):
        build_tables(ensemble, range(2), calibration=(((0.0,), (0.5,)),) * 2)
