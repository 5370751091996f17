"""Cleaning: gaps, imputation from training rows alone, limits that make no difference to a tree."""

import lightgbm
import numpy as np

from hft_engine.learn.cleaning import Cleaner, interpolated


def bars(closes: list[float]) -> np.ndarray:
    close = np.array(closes)
    return np.column_stack([close, close * 1.01, close * 0.99, close, np.full(len(close), 10.0)])


def test_a_small_gap_is_bridged_in_the_logarithm_and_told() -> None:
    nan = float("nan")
    table, filled = interpolated(bars([100.0, nan, 0.0, 800.0, nan, nan, nan, nan, 100.0, nan]))
    np.testing.assert_allclose(table[1:3, 3], [200.0, 400.0])
    assert table[1:3, 4].tolist() == [0.0, 0.0]
    assert filled.tolist() == [False, True, True, *[False] * 7]
    assert np.isnan(table[4:8, :4]).all(), "longer gaps are times without a market"
    assert np.isnan(table[9, 3]), "nothing is beyond the end to lead a line to"


def test_limits_and_centre_come_from_the_training_rows_alone() -> None:
    random = np.random.default_rng(1)
    train = random.normal(size=(5_000, 3))
    train[::7, 1] = np.nan
    train[:, 2] = np.nan
    cleaner = Cleaner.fit(train)
    counts: dict[str, int] = {}
    test = np.array([[1e9, np.nan, np.nan], [-np.inf, 0.0, 5.0], [0.1, -9.0, np.nan]])
    clean = cleaner.imputed(test, counts)
    assert np.isfinite(clean).all()
    np.testing.assert_allclose(clean[0, 1], np.nanmedian(train[:, 1]))
    np.testing.assert_allclose(clean[0, 0], np.quantile(train[:, 0], 0.999))
    np.testing.assert_allclose(clean[1, 0], np.median(train[:, 0]), err_msg="an infinity is missing")
    assert counts == {"winsorised": 3, "imputed": 4}


def test_a_model_of_winsorised_rows_needs_no_winsorised_input() -> None:
    random = np.random.default_rng(2)
    rows = random.standard_t(2, size=(4_000, 5))
    rows[random.random(rows.shape) < 0.05] = np.nan
    happened = (np.nan_to_num(rows[:, 0]) + np.nan_to_num(rows[:, 1]) ** 2 > 1).astype(int)
    cleaner = Cleaner.fit(rows)
    model = lightgbm.train(
        {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 2, "max_bin": 1023},
        lightgbm.Dataset(cleaner.winsorised(rows), happened),
        40,
    )
    wild = random.standard_t(1, size=(4_000, 5)) * 10
    np.testing.assert_array_equal(model.predict(wild), model.predict(cleaner.winsorised(wild)))
