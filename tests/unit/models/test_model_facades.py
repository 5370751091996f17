"""The three models: exactly the results that their callers expect, equal to LightGBM's own."""

from pathlib import Path

import lightgbm
import numpy as np
import pytest
from registered import CLASSES, FEATURES, made

from hft_engine.config.schema import IndicatorConfig
from hft_engine.feed.recorded_bars import stored_bars
from hft_engine.indicators.features import feature_schema
from hft_engine.indicators.offline import features_of_bars
from hft_engine.inference.errors import ModelError
from hft_engine.inference.model import write_model
from hft_engine.models import EnhancedMarketRegimeModel, EntryTimingModel, PeakDetectionModel

BARS = Path(__file__).parents[2] / "data/bars/default.csv.gz"
NAMES = ("open", "high", "low", "close", "volume")


def frame(rows: int = 30, first: int = 100) -> dict[str, np.ndarray]:
    stamps, bars = stored_bars(BARS)["DEFAULT"]
    part = slice(first, first + rows)
    return {**dict(zip(NAMES, bars[part].T, strict=True)), "timestamp": stamps[part]}


def saved(tmp_path: Path, task: str, **changes: object) -> Path:
    text, metadata = made(task, **changes)
    folder = tmp_path / task / "saved_model"
    write_model(folder / "model.txt", text, metadata)
    return folder


def expected(folder: Path, bars: dict[str, np.ndarray]) -> np.ndarray:
    config = IndicatorConfig()
    vectors = features_of_bars(*(bars[name] for name in NAMES), bars["timestamp"], config)
    columns = [feature_schema(config).index(name) for name in FEATURES]
    booster = lightgbm.Booster(model_file=str(folder / "model.txt"))
    return np.asarray(booster.predict(vectors[-1:, columns])[0])


def test_a_peak_is_what_lightgbm_says_above_the_threshold(tmp_path: Path) -> None:
    folder = saved(tmp_path, "peak_detection", threshold=0.25)
    model = PeakDetectionModel({"sma": 20, "something_else": 1}).load(str(folder))
    for first in range(100, 400, 20):
        found = model.predict(frame(first=first))
        assert set(found) == {"peak_detected", "peak_probability"}
        np.testing.assert_allclose(
            found["peak_probability"], expected(folder, frame(first=first)), rtol=0, atol=1e-12
        )
        assert found["peak_detected"] is (found["peak_probability"] >= 0.25)


def test_an_entry_has_a_signal_and_a_confidence(tmp_path: Path) -> None:
    folder = saved(tmp_path, "entry_timing")
    found = EntryTimingModel(IndicatorConfig()).load(folder / "model.txt").predict(frame())
    assert set(found) == {"entry_signal", "entry_confidence"}
    np.testing.assert_allclose(found["entry_confidence"], expected(folder, frame()), rtol=0, atol=1e-12)
    assert found["entry_signal"] is (found["entry_confidence"] >= 0.5)


def test_the_regime_is_the_likeliest_by_the_mean_of_the_symbols(tmp_path: Path) -> None:
    folder = saved(tmp_path, "market_regime")
    model = EnhancedMarketRegimeModel(IndicatorConfig()).load(folder)
    empty: dict[str, list[float]] = {name: [] for name in NAMES}
    data = {"A": frame(60), "B": frame(60, 300), "C": empty}
    found = model.predict_regime(data)
    mean = np.mean([expected(folder, data["A"]), expected(folder, data["B"])], axis=0)
    assert found["regime"] == CLASSES["market_regime"][int(mean.argmax())]
    np.testing.assert_allclose(found["confidence"], mean.max(), rtol=0, atol=1e-12)
    assert set(found["symbols"]) == {"A", "B"}


def test_of_nothing_nothing_is_foretold(tmp_path: Path) -> None:
    empty: dict[str, list[float]] = {name: [] for name in NAMES}
    peak = PeakDetectionModel().load(saved(tmp_path, "peak_detection"))
    entry = EntryTimingModel().load(saved(tmp_path, "entry_timing"))
    regime = EnhancedMarketRegimeModel().load(saved(tmp_path, "market_regime"))
    for nothing in (empty, {}, None):
        assert peak.predict(nothing) == {"peak_detected": False, "peak_probability": 0.0}
        assert entry.predict(nothing) == {"entry_signal": False, "entry_confidence": 0.0}
    for nothing in ({}, {"A": empty}):
        assert regime.predict_regime(nothing)["regime"] == "unknown"
        assert regime.predict_regime(nothing)["confidence"] == 0.0


def test_a_model_of_something_else_or_damaged_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path, "peak_detection")
    with pytest.raises(ModelError, match="is of peak_detection, not of entry_timing"):
        EntryTimingModel().load(folder)
    with pytest.raises(ModelError, match="another feature schema"):
        PeakDetectionModel({"rsi": 7}).load(folder)
    with pytest.raises(ModelError, match=r"call load\(path\) first"):
        PeakDetectionModel().predict(frame())
    with pytest.raises(ModelError, match="no column close"):
        PeakDetectionModel().load(folder).predict({name: [1.0] for name in ("open", "high", "low")})
    text = (folder / "model.txt").read_text()
    (folder / "model.txt").write_text(text[: len(text) // 2])
    with pytest.raises(ModelError, match=r"truncated|damaged"):
        PeakDetectionModel().load(folder)


def test_a_model_of_ticks_refuses_bars(tmp_path: Path) -> None:
    folder = saved(tmp_path, "peak_detection", rows_are="ticks")
    with pytest.raises(ModelError, match="trained on ticks"):
        PeakDetectionModel().load(folder).predict(frame())


@pytest.mark.parametrize("kind", ["capitals", "structured"])
def test_frames_of_any_make_are_taken(tmp_path: Path, kind: str) -> None:
    folder = saved(tmp_path, "peak_detection")
    model, bars = PeakDetectionModel().load(folder), frame()
    if kind == "capitals":
        other: object = {name.capitalize(): values for name, values in bars.items()}
    else:
        table = np.zeros(30, [(name, "<f8" if name != "timestamp" else "<i8") for name in bars])
        for name, values in bars.items():
            table[name] = values
        other = table
    assert model.predict(other) == model.predict(bars)


def test_pandas_frames_are_taken_with_their_index(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    model, bars = PeakDetectionModel().load(saved(tmp_path, "peak_detection")), frame()
    stamps = bars.pop("timestamp")
    table = pandas.DataFrame(bars, index=pandas.to_datetime(stamps, utc=True))
    assert model.predict(table) == model.predict(bars | {"timestamp": stamps})
    assert model.predict(table[:0]) == {"peak_detected": False, "peak_probability": 0.0}
