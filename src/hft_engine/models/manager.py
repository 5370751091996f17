"""Predictions of a running engine, for programs beside it: read from its shared memory, asking nobody.

from hft_engine.models import model_manager

model_manager.get_prediction("AAPL")    # {"entry_timing": 0.61, "market_regime.trend_up": 0.20, ...}, or None
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from hft_engine.inference.served import ServedSet, read_served
from hft_engine.instruments import InstrumentTable
from hft_engine.records import PREDICTION_DTYPE
from hft_engine.runtime.instruments_file import open_instruments
from hft_engine.runtime.plan import INSTRUMENTS_FILE
from hft_engine.runtime.rundir import find_run, read_manifest
from hft_engine.shm.ring_file import RingView

RING = "predictions"
LOOK_RECORDS = 2_048  # at once, the newest first


class ModelManager:
    """Of the run in ``run_dir``; None: of the one engine that runs on this machine, found when first asked."""

    def __init__(self, run_dir: Path | None = None) -> None:
        self._given = run_dir
        self._run_dir: Path | None = None
        self._ring: RingView
        self._instruments: InstrumentTable

    @property
    def models(self) -> ServedSet:
        """Those that predict now. Raises RunError where no engine runs."""
        return read_served(self._run())

    def get_prediction(self, symbol: str) -> dict[str, Any] | None:
        """The newest prediction for ``symbol``: each output by its name, ``ts_ns`` (the venue's stamp of its tick,
        UTC), ``price``, ``tick`` (its sequence) and ``model_id``. None where the ring holds none with an output.

        An output is the probability of yes (``entry_timing``) or of one class (``market_regime.trend_up``). The ring
        holds the last ``rings.predictions`` records of all instruments. Raises RunError where no engine runs.
        """
        run_dir = self._run()
        instrument = self._instruments.find(symbol)
        if instrument is None:
            return None
        row = self._newest(instrument)
        return None if row is None else _told(row, read_served(run_dir))

    def _newest(self, instrument: int) -> np.ndarray | None:
        """PREDICTION_DTYPE[1]."""
        end = self._ring.published
        oldest = max(0, end - self._ring.capacity)
        while end > oldest:
            begin = max(oldest, end - LOOK_RECORDS)
            _, rows = self._ring.read(begin, end - begin)
            wanted = (rows["instrument_id"] == instrument) & ~np.isnan(rows["outputs"]).all(axis=1)
            if wanted.any():
                return rows[np.flatnonzero(wanted)[-1:]]
            end = begin
        return None

    def _run(self) -> Path:
        """The run that is there, opened; a new one where the last has ended."""
        if self._run_dir is None or not self._run_dir.exists():
            run_dir = self._given or find_run(os.environ.get("HFT_RUN_ROOT"))
            file = next(ring.file for ring in read_manifest(run_dir).rings if ring.name == RING)
            self._ring = RingView(run_dir / file, PREDICTION_DTYPE)
            self._instruments = open_instruments(run_dir / INSTRUMENTS_FILE, writable=False)
            self._run_dir = run_dir
        return self._run_dir


def _told(row: np.ndarray, served: ServedSet) -> dict[str, Any]:
    record = row[0]
    values = record["outputs"][: int(record["output_count"])].tolist()
    return {
        **dict(zip(served.outputs, values, strict=False)),
        "ts_ns": int(record["ts_venue_ns"]),
        "price": float(record["price"]),
        "tick": int(record["source_sequence"]),
        "model_id": int(record["model_id"]),
    }


model_manager = ModelManager()
