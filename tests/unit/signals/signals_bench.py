"""The signals actor on rings of this process, driven by hand."""

import logging

import numpy as np

from hft_engine.config.schema import Config, EngineConfig, RuleConfig, SignalsConfig
from hft_engine.instruments import InstrumentTable
from hft_engine.records import PREDICTION_DTYPE, SIGNAL_DTYPE
from hft_engine.runtime.actor import ActorContext
from hft_engine.runtime.rundir import LOCK
from hft_engine.shm.counters import Stats
from hft_engine.shm.ring import Ring
from hft_engine.signals.actor import SignalsActor

FEATURES = ("alpha", "beta")
MS = 1_000_000
T0 = 1_700_000_000_000_000_000


class Schema:
    names = FEATURES
    hash = "test"

    def index(self, name):
        return FEATURES.index(name)


class Bench:
    """``feed`` records in, ``work`` the actor, read what it published."""

    def __init__(self, tmp_path, config: SignalsConfig, instruments_max=8, capacity=4096, gating=False):
        self.config = Config(engine=EngineConfig(instruments_max=instruments_max), signals=config)
        self.run_dir = tmp_path
        (tmp_path / LOCK).touch()  # a run directory: the state outlives the actor
        self.predictions = Ring.private("predictions", PREDICTION_DTYPE, capacity, ("signals",), gating)
        self.signals = Ring.private("signals", SIGNAL_DTYPE, capacity, ("test",), gating)
        self.stats = Stats.private()
        self.start()

    def start(self, session=None, history=None):
        """A new life of the actor on the same rings and run directory."""
        self.actor = SignalsActor()
        self.stats.declare(self.actor.counters, self.actor.histograms)
        ctx = ActorContext(
            role="signals",
            config=self.config,
            log=logging.getLogger("test"),
            instruments=InstrumentTable.private(8),
            stats=self.stats,
            rings={"predictions": self.predictions, "signals": self.signals},
            feature_schema=Schema(),
            run_id="test",
            run_dir=self.run_dir,
            data_dir=self.run_dir,
            log_dir=self.run_dir,
            session_dir=session,
            history_dir=history,
        )
        self.actor.on_start(ctx)

    def feed(self, rows):
        """Each record of a tick of its own, later than all before."""
        rows = rows.copy()
        rows["source_sequence"] = 1_000 + self.predictions.published + np.arange(len(rows))
        self.predictions.publish_rows(rows)

    def run(self, rows, chunk=64):
        """Feed and work in chunks; returns every signal of this call."""
        first = self.signals.published
        for start in range(0, len(rows), chunk):
            self.feed(rows[start : start + chunk])
            while self.actor.do_work():
                pass
        return self.published(first)

    def published(self, first=0):
        index = np.arange(first, self.signals.published) & (self.signals.capacity - 1)
        return self.signals.slots[index]

    def counters(self):
        return self.stats.counters()


def rule(name="up", feature="alpha", side="buy", when="above", enter=1.0, release=0.0, full=2.0):
    return RuleConfig(
        name=name, feature=feature, side=side, when=when, enter=enter, release=release, full=full
    )


def signals_config(*rules, strength_min=0.0, cooldown_ms=0, expiry_ms=5_000):
    return SignalsConfig(
        strength_min=strength_min, cooldown_ms=cooldown_ms, expiry_ms=expiry_ms, rules=tuple(rules)
    )


def records(alphas, betas=None, ms=None, price=100.0, instrument=0, probability=None):
    """One record a value of ``alphas``, 1 ms apart or at ``ms``."""
    rows = np.zeros(len(alphas), PREDICTION_DTYPE)
    rows["values"] = np.nan
    rows["values"][:, 0] = alphas
    rows["values"][:, 1] = np.nan if betas is None else betas
    rows["ts_venue_ns"] = T0 + (np.arange(len(alphas)) if ms is None else np.asarray(ms)) * MS
    rows["source_sequence"] = 1_000 + np.arange(len(alphas))
    rows["price"] = price
    rows["instrument_id"] = instrument
    rows["model_id"] = -1
    rows["outputs"] = np.nan
    if probability is not None:
        rows["model_id"], rows["output_count"] = 3, 1
        rows["outputs"][:, 0] = probability
    return rows
