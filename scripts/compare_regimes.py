"""Which method tells the regimes of the demo venue's market best: the evidence behind docs/models.md.

    python scripts/compare_regimes.py [--seconds 900] [--instruments 50] [--ticks-per-s 2000]

Each method learns in a market of one seed, without its truth, and is judged by the planted truth of another's. The last
line is an upper bound: the same trees, trained on the truth.
"""

import argparse
import sys
from typing import Any

import numpy as np

from hft_engine.config.schema import Config, IndicatorConfig, LearningConfig, SimulatorConfig
from hft_engine.indicators.flow import FLOW
from hft_engine.runtime import kernelcache

kernelcache.use()  # before anything imports numba

from hft_engine.learn import regimes as rg  # noqa: E402
from hft_engine.learn.demo import demo_samples, true_peaks, true_regimes  # noqa: E402
from hft_engine.learn.fitting import params_of  # noqa: E402
from hft_engine.learn.hmm import fit_hmm  # noqa: E402
from hft_engine.learn.samples import Samples  # noqa: E402
from hft_engine.learn.tasks import TASKS  # noqa: E402
from hft_engine.learn.training import train  # noqa: E402

SEEDS = (1, 2)


def main() -> int:
    options = _options()
    configs = [_config(options, seed) for seed in SEEDS]
    (learned, known), (tested, truths) = (demo_samples(config, options.seconds) for config in configs)
    truth = true_regimes(tested, truths)
    print(f"{len(learned):,} rows learned from, {len(tested):,} tested; majority {_share(truth):.3f}")
    for name, found in _methods(learned, tested, configs[0], true_regimes(learned, known)).items():
        print(f"{name:<48} accuracy {np.mean(found == truth):.3f}", flush=True)
    _peaks(learned, tested, configs[0], truths)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare ways to tell market regimes.")
    parser.add_argument("--seconds", type=int, default=900)
    parser.add_argument("--instruments", type=int, default=50)
    parser.add_argument("--ticks-per-s", type=float, default=2_000.0)
    return parser.parse_args()


def _config(options: argparse.Namespace, seed: int) -> Config:
    market = SimulatorConfig(seed=seed, instruments=options.instruments, ticks_per_s=options.ticks_per_s)
    return Config(
        indicators=IndicatorConfig(extensions=FLOW), simulator=market, learning=LearningConfig(folds=3)
    )


def _share(classes: np.ndarray) -> float:
    return float(np.bincount(classes).max() / len(classes))


def _methods(learned: Samples, tested: Samples, config: Config, known: np.ndarray) -> dict[str, np.ndarray]:
    """int64[rows of ``tested``] by method."""
    from sklearn.mixture import GaussianMixture

    everything = np.ones(len(learned), np.bool_)
    emissions, moves = rg.emissions_of(learned), rg.moves_of(learned)
    first = rg.standardised(emissions, everything)
    second = rg.standardised(np.concatenate([emissions, rg.emissions_of(tested)]), np.arange(
        len(learned) + len(tested)
    ) < len(learned))[len(learned) :]  # fmt: skip
    mixture = GaussianMixture(rg.STATES, random_state=7, n_init=3).fit(first)
    of_mixture = rg.names_of(mixture.predict_proba(first), moves)
    hidden = fit_hmm(first, learned.lengths, rg.STATES, 7)
    of_hidden = rg.names_of(hidden.smoothed(first, learned.lengths), moves)
    trained = train(TASKS["market_regime"], learned, config)
    return {
        "Gaussian mixture": of_mixture[mixture.predict_proba(second).argmax(axis=1)],
        "hidden Markov model, filtered": of_hidden[hidden.filtered(second, tested.lengths).argmax(axis=1)],
        "trees on smoothed states (what is used)": _predicted(trained.text, tested).argmax(axis=1),
        "hidden Markov model, smoothed: knows the future": of_hidden[
            hidden.smoothed(second, tested.lengths).argmax(axis=1)
        ],
        "trees on the truth: the upper bound": _on_truth(learned, known, tested, config),
    }


def _predicted(text: str, tested: Samples) -> np.ndarray:
    import lightgbm

    return np.asarray(lightgbm.Booster(model_str=text).predict(tested.rows))


def _on_truth(learned: Samples, known: np.ndarray, tested: Samples, config: Config) -> np.ndarray:
    import lightgbm

    data = lightgbm.Dataset(learned.rows, known)
    booster = lightgbm.train(params_of(config.learning, len(rg.REGIMES)), data, 100)
    return np.asarray(np.asarray(booster.predict(tested.rows)).argmax(axis=1))


def _peaks(learned: Samples, tested: Samples, config: Config, truths: list[Any]) -> None:
    from sklearn.metrics import roc_auc_score

    probability = _predicted(train(TASKS["peak_detection"], learned, config).text, tested)
    for before_s, after_s in ((0.0, 5.0), (0.0, 10.0), (2.0, 5.0), (5.0, 5.0)):
        near = true_peaks(tested, truths, before_s, after_s)
        auc = roc_auc_score(near, probability)
        print(
            f"planted peaks, {before_s:g} s before to {after_s:g} s after: share {near.mean():.3f}, AUC {auc:.3f}"
        )


if __name__ == "__main__":
    sys.exit(main())
