"""What is planted in the demo venue's market is found by models that never saw the truth, in another market."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hft_engine.config.schema import Config, IndicatorConfig, LearningConfig, SimulatorConfig
from hft_engine.indicators.flow import FLOW
from hft_engine.inference.lightgbm_text import parse_model
from hft_engine.inference.tables import build_tables
from hft_engine.inference.trees import predict
from hft_engine.learn.demo import demo_samples, true_peaks, true_regimes
from hft_engine.learn.tasks import TASKS
from hft_engine.learn.training import train

SECONDS = 600


def market(seed: int) -> Config:
    return Config(
        indicators=IndicatorConfig(extensions=FLOW),
        learning=LearningConfig(folds=2, trees_max=120),
        simulator=SimulatorConfig(seed=seed, instruments=16, ticks_per_s=700.0),
    )


@pytest.fixture(scope="module")
def markets():  # type: ignore[no-untyped-def]
    return demo_samples(market(1), SECONDS), demo_samples(market(2), SECONDS)


def outputs(task: str, markets) -> np.ndarray:  # type: ignore[no-untyped-def]
    """On the second market, of what was learned in the first."""
    (learned, _), (tested, _) = markets
    found = train(TASKS[task], learned, market(1))
    positions = [tested.names.index(name) for name in learned.names]
    tables = build_tables(
        parse_model(found.text.encode(), "test"), positions, calibration=found.metadata.calibration
    )
    return predict(tables, tested.rows)


def test_planted_peaks_are_found(markets) -> None:  # type: ignore[no-untyped-def]
    probability = outputs("peak_detection", markets)[:, 0]
    for before_s, after_s in ((0.0, 5.0), (2.0, 5.0)):
        truth = true_peaks(*markets[1], before_s, after_s)
        assert roc_auc_score(truth, probability) >= 0.75


def test_planted_regimes_are_found(markets) -> None:  # type: ignore[no-untyped-def]
    found = outputs("market_regime", markets).argmax(axis=1)
    truth = true_regimes(*markets[1])
    assert np.mean(found == truth) >= 0.8
    assert np.bincount(truth).max() / len(truth) < 0.5, "no class is so frequent that naming it would do"
