"""The engine: ``hft replay`` of a journal on disk, two rules on ``tick_ema_spread`` (fast EMA / slow EMA - 1).

Variants: ``none`` (no model), ``trading`` (none either; every cross is traded on paper, as in ``hft backtest``),
``model`` (100 trees x 31 leaves on every tick), each in the inline layout; ``none compact`` puts the source in a
process of its own. Of the features only those that are asked for are computed (``indicators.features``): without a
model the two EMAs and their spread, with it all. All other work of the engine is done too, it has no switch: bars of a
second, a minute and 10 ticks, records on five rings, a hash over the signals.
"""

import atexit
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np

from benchmarks import workload
from benchmarks.load.engine_run import Scratch
from benchmarks.load.replay import configuration, write_journal
from hft_engine.config.schema import Config, ExecutionConfig, RuleConfig, SignalsConfig
from hft_engine.indicators.features import feature_schema
from hft_engine.indicators.offline import compute
from hft_engine.records import TICK_DTYPE, TickKind
from hft_engine.replay import replay

FULL = 1e-3  # where a cross has its full strength
TRAINING_TICKS = 20_000


def rules(band: float) -> tuple[RuleConfig, RuleConfig]:
    """A cross of the two EMAs by more than ``band``: each rule re-arms where the other one fires."""
    feature = "tick_ema_spread"
    up, down = ("cross_up", "buy", "above", 1.0), ("cross_down", "sell", "below", -1.0)
    return tuple(  # type: ignore[return-value]
        RuleConfig(
            name=name,
            feature=feature,
            side=side,  # type: ignore[arg-type]
            when=when,  # type: ignore[arg-type]
            enter=sign * band,
            release=-sign * band,
            full=sign * FULL,
        )
        for name, side, when, sign in (up, down)
    )


def tick_rows(ticks: dict[str, np.ndarray]) -> np.ndarray:
    """TICK_DTYPE: trades of one instrument, each of which moves the price."""
    rows = np.zeros(len(ticks["price"]), TICK_DTYPE)
    rows["kind"] = TickKind.TRADE
    rows["ts_venue_ns"] = rows["ts_recv_ns"] = ticks["ts_ns"]
    rows["price"], rows["size"] = ticks["price"], ticks["size"]
    rows["venue_sequence"] = rows["trade_id"] = np.arange(1, len(rows) + 1)
    return rows


def write_trade_model(path: Path, rows: np.ndarray) -> None:
    """A model of the benchmarks' size on these very trades; features of quotes are missing, as LightGBM allows."""
    features, _ = compute(rows[:TRAINING_TICKS], workload.INDICATORS, 1)
    names = feature_schema(workload.INDICATORS).names
    columns = [names.index(name) for name in workload.MODEL_FEATURES]
    workload.train_model(path, np.ascontiguousarray(features["values"][:, columns]))


class Contender:
    def __init__(self, variant: str, ticks: dict[str, np.ndarray], rule: dict[str, float]) -> None:
        self.version = version("hft-engine")
        self._scratch = Scratch()
        atexit.register(self._scratch.remove)
        model, _, layout = variant.partition(" ")
        rows = tick_rows(ticks)
        path = self._scratch.disk / "model.txt"
        if model == "model":
            write_trade_model(path, rows)
        self.journal = write_journal(self._scratch.disk / "session", rows, ("TICKS",))
        self.config = _configured(configuration(self._scratch, path, layout or "inline"), model, rule)

    def run(self) -> tuple[int, int, float]:
        done = replay(self.config, [str(self.journal)])
        return done.ticks, done.signals, done.seconds


def _configured(config: Config, model: str, rule: dict[str, float]) -> Config:
    periods = config.indicators.ema_fast, config.indicators.ema_slow
    if periods != (rule["fast"], rule["slow"]):
        raise ValueError(f"the model's features are of EMAs {periods}, not of {rule}")
    replace = msgspec.structs.replace
    config = replace(
        config, signals=SignalsConfig(strength_min=0.0, cooldown_ms=0, rules=rules(rule["band"]))
    )
    if model == "model":
        return config
    if model == "trading":
        execution = ExecutionConfig(parameters={"quantity": 100.0, "short": 1.0})
        config = replace(config, execution=execution)
    few = replace(config.indicators, features=("tick_ema_spread",))
    return replace(config, indicators=few, inference=replace(config.inference, model=None))
