"""A hidden Markov model with Gaussian emissions, fitted to sequences without any label.

It finds the regimes in a training set; its *smoothed* states (which know what came afterwards) are the labels that the
regime model learns to tell from the features of the moment. Why this way: docs/models.md.

Expectation maximisation with scaled forward and backward passes: Rabiner, "A Tutorial on Hidden Markov Models", Proc.
IEEE 77 (1989), sections III and V; covariances are full. The passes are compiled.
"""

from dataclasses import dataclass

import numpy as np

from hft_engine.kernel import kernel

ITERATIONS_MAX = 50
GAIN_MIN = 1e-4  # of the log likelihood a row; less is no more progress
COVARIANCE_FLOOR = 1e-3  # added to the diagonal: of standardised emissions a thousandth of their variance
STAY_FIRST = 0.95  # probability of staying in a state that the first iteration begins with
KMEANS_ROWS = 50_000  # the means begin with clusters of so many rows at most
_LOG_2PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True)
class GaussianHmm:
    """``start`` float64[k], ``transitions`` float64[k, k], ``means`` float64[k, d], ``covariances`` [k, d, d]."""

    start: np.ndarray
    transitions: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def log_densities(self, emissions: np.ndarray) -> np.ndarray:
        """float64[n, k]."""
        out = np.empty((len(emissions), len(self.means)))
        for k, (mean, covariance) in enumerate(zip(self.means, self.covariances, strict=True)):
            lower = np.linalg.cholesky(covariance)
            scaled = np.linalg.solve(lower, (emissions - mean).T)
            size = len(mean) * _LOG_2PI + 2.0 * np.log(np.diag(lower)).sum()
            out[:, k] = -0.5 * (size + (scaled * scaled).sum(axis=0))
        return out

    def filtered(self, emissions: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """float64[n, k]: probability of each state given what was seen until the row; sequences of ``lengths`` rows."""
        return self._passes(emissions, lengths)[0]

    def smoothed(self, emissions: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """float64[n, k]: given the whole sequence."""
        return self._passes(emissions, lengths)[1]

    def score(self, emissions: np.ndarray, lengths: np.ndarray) -> float:
        """The log likelihood."""
        return self._passes(emissions, lengths)[3]

    def _passes(
        self, emissions: np.ndarray, lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        logs = self.log_densities(emissions)
        forward, smoothed = np.empty_like(logs), np.empty_like(logs)
        moves, scratch = np.zeros_like(self.transitions), np.empty((2, len(self.means)))
        ends = np.cumsum(lengths).astype(np.int64)
        total = _forward_backward(logs, ends, self.start, self.transitions, forward, smoothed, moves, scratch)
        return forward, smoothed, moves, float(total)


@kernel(cache=True)
def _forward_backward(
    logs: np.ndarray,
    ends: np.ndarray,
    start: np.ndarray,
    transitions: np.ndarray,
    forward: np.ndarray,
    smoothed: np.ndarray,
    moves: np.ndarray,
    scratch: np.ndarray,
) -> float:
    """Both passes over every sequence; ``logs`` becomes densities relative to each row's highest."""
    states = len(start)
    total = 0.0
    begin = 0
    for end in ends:
        for t in range(begin, end):
            highest = -np.inf
            for k in range(states):
                highest = max(highest, logs[t, k])
            norm = 0.0
            for k in range(states):
                logs[t, k] = np.exp(logs[t, k] - highest)
                came = 0.0
                if t == begin:
                    came = start[k]
                else:
                    for j in range(states):
                        came += forward[t - 1, j] * transitions[j, k]
                forward[t, k] = came * logs[t, k]
                norm += forward[t, k]
            for k in range(states):
                forward[t, k] /= norm
            total += np.log(norm) + highest
        _backward(logs, begin, end, transitions, forward, smoothed, moves, scratch)
        begin = end
    return total


@kernel(cache=True)
def _backward(
    logs: np.ndarray,
    begin: int,
    end: int,
    transitions: np.ndarray,
    forward: np.ndarray,
    smoothed: np.ndarray,
    moves: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """``scratch[0]``: what comes after row t, given its state, scaled; ``scratch[1]``: the same one row earlier."""
    states = len(transitions)
    for k in range(states):
        scratch[0, k] = 1.0
    for t in range(end - 1, begin - 1, -1):
        norm = 0.0
        for k in range(states):
            smoothed[t, k] = forward[t, k] * scratch[0, k]
            norm += smoothed[t, k]
        for k in range(states):
            smoothed[t, k] /= norm
        if t == begin:
            return
        norm = 0.0
        for j in range(states):
            scratch[1, j] = 0.0
            for k in range(states):
                scratch[1, j] += transitions[j, k] * logs[t, k] * scratch[0, k]
            norm += forward[t - 1, j] * scratch[1, j]
        for j in range(states):
            for k in range(states):
                moves[j, k] += forward[t - 1, j] * transitions[j, k] * logs[t, k] * scratch[0, k] / norm
        for j in range(states):
            scratch[0, j] = scratch[1, j] / norm


def fit_hmm(emissions: np.ndarray, lengths: np.ndarray, states: int, seed: int) -> GaussianHmm:
    """The model of most likelihood that expectation maximisation finds from clusters of the rows.

    ``emissions`` float64[n, d], finite, best standardised; ``lengths`` of the sequences, one after the other.
    """
    model = _first(emissions, lengths, states, seed)
    before = -np.inf
    for _ in range(ITERATIONS_MAX):
        _, smoothed, moves, likelihood = model._passes(emissions, lengths)
        if likelihood - before < GAIN_MIN * len(emissions):
            break
        before = likelihood
        model = _maximised(emissions, lengths, smoothed, moves)
    return model


def _first(emissions: np.ndarray, lengths: np.ndarray, states: int, seed: int) -> GaussianHmm:
    from sklearn.cluster import KMeans

    step = max(1, len(emissions) // KMEANS_ROWS)
    clusters = KMeans(states, n_init=4, random_state=seed).fit(emissions[::step])
    chosen = np.eye(states)[clusters.predict(emissions)]
    moves = np.full((states, states), (1.0 - STAY_FIRST) / (states - 1))
    np.fill_diagonal(moves, STAY_FIRST)
    return _maximised(emissions, lengths, chosen, moves)


def _maximised(
    emissions: np.ndarray, lengths: np.ndarray, smoothed: np.ndarray, moves: np.ndarray
) -> GaussianHmm:
    weights = smoothed.sum(axis=0) + 1e-12
    means = smoothed.T @ emissions / weights[:, None]
    covariances = np.empty((len(weights), emissions.shape[1], emissions.shape[1]))
    for k, mean in enumerate(means):
        apart = emissions - mean
        covariances[k] = (smoothed[:, k, None] * apart).T @ apart / weights[k]
        covariances[k] += COVARIANCE_FLOOR * np.eye(len(mean))
    firsts = smoothed[np.cumsum(lengths) - lengths].sum(axis=0) + 1e-6
    moves = moves + 1e-12
    return GaussianHmm(firsts / firsts.sum(), moves / moves.sum(axis=1, keepdims=True), means, covariances)
