"""What a program beside the engine reads of its predictions: the newest with an output, by the outputs' names."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from hft_engine.inference.served import Served, ServedSet, write_served
from hft_engine.instruments import INSTRUMENT_DTYPE
from hft_engine.models.manager import LOOK_RECORDS, ModelManager
from hft_engine.records import PREDICTION_DTYPE
from hft_engine.runtime import rundir
from hft_engine.runtime.instruments_file import open_instruments
from hft_engine.runtime.plan import INSTRUMENTS_FILE
from hft_engine.runtime.rundir import RunError
from hft_engine.shm import layout
from hft_engine.shm.ring import Ring
from hft_engine.shm.ring_file import create_ring
from hft_engine.shm.segment import Segment

CAPACITY = 4 * LOOK_RECORDS
OUTPUTS = ("entry_timing", "market_regime.ranging", "market_regime.volatile")


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    create_ring(tmp_path / "predictions.ring", PREDICTION_DTYPE, CAPACITY, [], False)
    entry = rundir.RingEntry("predictions", "predictions.ring", "PREDICTION_DTYPE", CAPACITY, "inference", ())
    (tmp_path / rundir.MANIFEST).write_bytes(_manifest(entry))
    with Segment.create(
        tmp_path / INSTRUMENTS_FILE, layout.PAGE_BYTES + 8 * INSTRUMENT_DTYPE.itemsize
    ) as segment:
        segment.words[layout.W_CAPACITY] = 8
    table = open_instruments(tmp_path / INSTRUMENTS_FILE, writable=True)
    for symbol in ("AAPL", "MSFT"):
        table.id_of(symbol)
    members = [Served("entry_timing", "1", "a" * 64, list(OUTPUTS[:1]), 0)]
    write_served(tmp_path, ServedSet(5, members, list(OUTPUTS)))
    return Ring.attach(
        tmp_path / "predictions.ring", PREDICTION_DTYPE, np.zeros(layout.BELLS_WORDS, np.int64)
    )


def _manifest(entry: rundir.RingEntry) -> bytes:
    return msgspec.json.encode(
        rundir.Manifest(
            run_id="run", name="hft", pid=1, layout="inline", source="feed", venue="demo", started_utc_ns=0,
            started_mono_ns=0, data_dir="", log_dir="", processes={}, rings=(entry,), rules=(), config={},
        )
    )  # fmt: skip


def publish(ring: Ring, instrument: int, value: float, count: int = 1, tick: int = 0) -> None:
    for start in range(0, count, 1_000):
        rows = np.zeros(min(1_000, count - start), PREDICTION_DTYPE)
        rows["instrument_id"], rows["source_sequence"], rows["price"] = instrument, tick, 10.0
        rows["outputs"], rows["output_count"], rows["model_id"] = np.nan, 3, 5
        if value == value:
            rows["outputs"][:, :3] = value, 0.7, 0.3
        ring.publish_rows(rows)


def test_the_newest_prediction_of_a_symbol_by_its_outputs_names(ring: Ring, tmp_path: Path) -> None:
    manager = ModelManager(tmp_path)
    publish(ring, 0, 0.25, tick=1)
    publish(ring, 0, 0.75, tick=2)
    publish(ring, 1, 0.1, tick=3)
    told = manager.get_prediction("AAPL")
    assert told is not None
    assert {name: told[name] for name in OUTPUTS} == dict(zip(OUTPUTS, (0.75, 0.7, 0.3), strict=True))
    assert (told["tick"], told["price"], told["model_id"]) == (2, 10.0, 5)
    publish(ring, 0, 0.5, tick=4)
    assert manager.get_prediction("AAPL")["entry_timing"] == 0.5  # type: ignore[index]


def test_it_is_found_behind_many_others_and_behind_records_without_an_output(
    ring: Ring, tmp_path: Path
) -> None:
    publish(ring, 0, 0.25, tick=7)
    publish(ring, 0, np.nan, count=10)
    publish(ring, 1, 0.5, count=3 * LOOK_RECORDS)
    told = ModelManager(tmp_path).get_prediction("AAPL")
    assert told is not None
    assert told["tick"] == 7


def test_none_where_there_is_none(ring: Ring, tmp_path: Path) -> None:
    manager = ModelManager(tmp_path)
    assert manager.get_prediction("AAPL") is None
    publish(ring, 0, np.nan)
    assert manager.get_prediction("AAPL") is None
    assert manager.get_prediction("NOBODY") is None
    publish(ring, 0, 0.5)
    publish(ring, 1, 0.5, count=CAPACITY)
    assert manager.get_prediction("AAPL") is None, "overwritten by now"


def test_without_an_engine_it_says_so(run_root: Path) -> None:
    with pytest.raises(RunError, match="no engine is running"):
        ModelManager().get_prediction("AAPL")
