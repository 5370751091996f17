"""The golden replays: what is replayed, what came out, what must come out. Run it to write down a new expectation:

    PYTHONPATH=src:tests python tests/golden/golden_replay.py

Do that only for a change that is meant to change signals, and look at the differences in the ``.csv`` files first.

**What the hash depends on besides our code.** Indicators use ``log`` and ``sqrt``, the model's output ``exp``.
``sqrt`` is exact everywhere; ``log`` and ``exp`` are the C library's, whose last bit may differ between libraries and
between processors (variants with and without fused multiply-add). ``numerics`` is a digest over both; where it is
another than the one written down, the signals are compared to nine digits instead of bit for bit.
"""

import csv
import hashlib
import json
import math
import sqlite3
import struct
import tempfile
from pathlib import Path
from typing import Any

from hft_engine.config.load import load_config
from hft_engine.config.schema import Config
from hft_engine.replay import ReplayResult, replay

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RECORDING = ROOT / "tests" / "data" / "binance" / "usdm_btcusdt_20240808_cut.jsonl.gz"
CONFIG = HERE / "replay.yaml"
EXPECTED = HERE / "expected.json"
OVERRIDES: dict[str, tuple[str, ...]] = {
    "without_model": (),
    "with_model": (f"inference.model={ROOT / 'models' / 'demo' / 'direction.txt'}",),
}
COLUMNS = (
    "sequence",
    "source_sequence",
    "ts_venue_ns",
    "ts_expiry_ns",
    "symbol",
    "side",
    "rule",
    "price",
    "strength",
    "value",
)

Row = dict[str, Any]


def numerics() -> str:
    """A digest over ``exp`` and ``log`` of the C library on this processor."""
    digest = hashlib.sha256()
    for i in range(20_000):
        x = 0.37 + i * 1.000_123
        digest.update(struct.pack("<dd", math.log(x), math.exp(-x / 30.0)))
    return digest.hexdigest()[:16]


def configuration(case: str, layout: str) -> Config:
    return load_config(CONFIG, (*OVERRIDES[case], f"engine.layout={layout}"))


def outcome(result: ReplayResult) -> Row:
    """What must be the same in every run."""
    return {
        "ticks": result.ticks,
        "bars": result.bars,
        "signals": result.signals,
        "signal_hash": result.signal_hash,
    }


def signals_of(database: Path, where: str = "") -> list[Row]:
    """The stored signals in order; only what does not differ from run to run."""
    connection = sqlite3.connect(database)
    try:
        rows = connection.execute(f"SELECT {','.join(COLUMNS)} FROM signals {where} ORDER BY sequence")
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    finally:
        connection.close()


def stored_signals(case: str) -> list[Row]:
    """The signals that were written down."""
    whole, text = set(COLUMNS[:4]), set(COLUMNS[4:7])
    with (HERE / f"signals_{case}.csv").open(newline="") as file:
        return [
            {name: int(v) if name in whole else v if name in text else float(v) for name, v in row.items()}
            for row in csv.DictReader(file)
        ]


def _write_down(case: str) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "golden.db"
        result = replay(configuration(case, "inline"), [str(RECORDING)], database=database)
        rows = signals_of(database)
    with (HERE / f"signals_{case}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return outcome(result)


if __name__ == "__main__":
    expectation = {"numerics": numerics(), **{case: _write_down(case) for case in OVERRIDES}}
    EXPECTED.write_text(json.dumps(expectation, indent=2) + "\n")
    print(EXPECTED.read_text())
