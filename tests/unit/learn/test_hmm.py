"""The hidden Markov model against hmmlearn: densities, likelihood, smoothed states, and what is found."""

import numpy as np
from hmmlearn.hmm import GaussianHMM

from hft_engine.learn.hmm import GaussianHmm, fit_hmm

MEANS = np.array([[0.0, 0.0], [3.0, -1.0], [-2.0, 2.0]])
MOVES = np.array([[0.95, 0.03, 0.02], [0.04, 0.94, 0.02], [0.01, 0.04, 0.95]])
LENGTHS = np.array([700, 900, 400])


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(emissions, states) of three sequences."""
    random = np.random.default_rng(seed)
    states = []
    for length in LENGTHS:
        state = int(random.integers(3))
        for _ in range(length):
            states.append(state)
            state = int(random.choice(3, p=MOVES[state]))
    found = np.array(states)
    return MEANS[found] + random.normal(size=(len(found), 2)) * [1.0, 0.7], found


def reference(model: GaussianHmm) -> GaussianHMM:
    other = GaussianHMM(3, covariance_type="full")
    other.startprob_, other.transmat_ = model.start, model.transitions
    other.means_, other.covars_ = model.means, model.covariances
    return other


def test_likelihood_and_smoothed_states_are_those_of_hmmlearn() -> None:
    emissions, _ = drawn(1)
    model = fit_hmm(emissions, LENGTHS, 3, 0)
    other = reference(model)
    np.testing.assert_allclose(model.score(emissions, LENGTHS), other.score(emissions, LENGTHS), rtol=1e-10)
    np.testing.assert_allclose(
        model.smoothed(emissions, LENGTHS), other.predict_proba(emissions, LENGTHS), atol=1e-9
    )


def test_it_is_no_less_likely_than_what_hmmlearn_finds() -> None:
    emissions, _ = drawn(2)
    model = fit_hmm(emissions, LENGTHS, 3, 0)
    other = GaussianHMM(3, covariance_type="full", n_iter=50, random_state=0).fit(emissions, LENGTHS)
    assert model.score(emissions, LENGTHS) > other.score(emissions, LENGTHS) - 1.0


def test_the_planted_states_are_found_and_the_filter_knows_no_future() -> None:
    emissions, states = drawn(3)
    model = fit_hmm(emissions, LENGTHS, 3, 0)
    named = np.array([int(np.argmin(((MEANS - mean) ** 2).sum(axis=1))) for mean in model.means])
    assert np.mean(named[model.smoothed(emissions, LENGTHS).argmax(axis=1)] == states) > 0.95
    whole = model.filtered(emissions, LENGTHS)
    cut = model.filtered(emissions[:300], np.array([300]))
    np.testing.assert_array_equal(cut, whole[:300])
