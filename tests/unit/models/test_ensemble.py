"""Ensembles: each method against its formula, or scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from hft_engine.models.ensemble import METHODS, WEIGHT_MIN, Ensemble, EnsembleError

A, B = "a", "b"


def test_the_average_and_the_weighted_mean() -> None:
    assert Ensemble([A, B], "average").combine({A: 0.2, B: 0.6}) == pytest.approx(0.4)
    weighted = Ensemble([A, B], "weighted", {A: 3, B: 1})
    assert weighted.combine({A: 0.2, B: 0.6}) == pytest.approx(0.3)
    assert weighted.weights() == {A: 0.75, B: 0.25}


@pytest.mark.parametrize("method", [method for method in METHODS if method != "stacking"])
def test_a_model_that_says_nothing_is_left_out(method: str) -> None:
    weights = {A: 1.0, B: 1.0} if method == "weighted" else None
    ensemble = Ensemble([A, B], method, weights)  # type: ignore[arg-type]
    assert ensemble.combine({A: 0.2}) == pytest.approx(0.2)
    assert ensemble.combine({A: 0.2, B: math.nan}) == pytest.approx(0.2)
    assert math.isnan(ensemble.combine({}))


def test_stacking_is_scikit_learn_s_logistic_regression_on_log_odds() -> None:
    random = np.random.default_rng(1)
    given = random.uniform(0.05, 0.95, (500, 2))
    happened = random.random(500) < given[:, 0]
    ensemble = Ensemble([A, B], "stacking")
    with pytest.raises(EnsembleError, match="call fit"):
        ensemble.combine({A: 0.5, B: 0.5})
    ensemble.fit(given, happened)
    reference = LogisticRegression(C=1.0).fit(np.log(given / (1 - given)), happened)
    expected = reference.predict_proba(np.log([[0.3 / 0.7, 0.9 / 0.1]]))[0, 1]
    assert ensemble.combine({A: 0.3, B: 0.9}) == pytest.approx(expected, abs=1e-12)
    assert ensemble.weights()[A] > 3 * abs(ensemble.weights()[B])


def test_dynamic_weights_are_exponential_in_forgotten_log_losses() -> None:
    ensemble, half_life = Ensemble([A, B], half_life=5.0), 5.0
    losses = np.zeros(2)
    random = np.random.default_rng(2)
    for _ in range(40):
        a, b, happened = random.uniform(0.3, 0.7), random.uniform(0.3, 0.7), bool(random.random() < 0.5)
        ensemble.learn({A: a, B: b}, happened, "calm")
        given = np.array([a, b]) if happened else 1 - np.array([a, b])
        losses = losses * 0.5 ** (1 / half_life) - np.log(given)
    expected = np.exp(-losses) / np.exp(-losses).sum()
    assert list(ensemble.weights("calm").values()) == pytest.approx(expected.tolist())
    assert ensemble.combine({A: 0.2, B: 0.6}, "calm") == pytest.approx(expected @ [0.2, 0.6])


def test_what_was_learned_in_one_regime_stays_in_it_and_no_model_is_lost_for_ever() -> None:
    ensemble = Ensemble([A, B])
    for _ in range(300):
        ensemble.learn({A: 0.9, B: 0.1}, True, "trend_up")
    assert ensemble.weights("trend_up")[B] == pytest.approx(WEIGHT_MIN, rel=0.02)
    assert ensemble.weights("ranging") == {A: 0.5, B: 0.5}
    for _ in range(600):
        ensemble.learn({A: 0.1, B: 0.9}, True, "trend_up")
    assert ensemble.weights("trend_up")[B] > 0.9


def test_what_an_ensemble_cannot_do_is_refused() -> None:
    with pytest.raises(EnsembleError, match="choose one of average, weighted, stacking, dynamic_ensemble"):
        Ensemble([A], "best")  # type: ignore[arg-type]
    with pytest.raises(EnsembleError, match="a weight for each of a, b"):
        Ensemble([A, B], "weighted", {A: 1.0})
    with pytest.raises(EnsembleError, match="from 0 on"):
        Ensemble([A, B], "weighted", {A: 1.0, B: -1.0})
    with pytest.raises(EnsembleError, match="at least one"):
        Ensemble([])
    with pytest.raises(EnsembleError, match="all outcomes are the same"):
        Ensemble([A], "stacking").fit(np.array([[0.1], [0.2]]), np.array([1, 1]))
