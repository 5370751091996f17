"""`hft replay --db`: replays share a database without losing a row."""

import sqlite3
from collections import Counter
from pathlib import Path

from hft_engine.config.load import load_config
from hft_engine.replay import replay

ROOT = Path(__file__).resolve().parents[2]
RECORDING = ROOT / "tests" / "data" / "binance" / "usdm_btcusdt_20240808_cut.jsonl.gz"


def runs_of(database: Path, table: str) -> Counter[str]:
    connection = sqlite3.connect(database)
    try:
        return Counter(run_id for (run_id,) in connection.execute(f"SELECT run_id FROM {table}"))
    finally:
        connection.close()


def test_replays_into_one_database_are_kept_apart(tmp_path: Path) -> None:
    database = tmp_path / "replays.db"
    config = load_config(ROOT / "tests" / "golden" / "replay.yaml", ("engine.layout=inline",))
    results = [replay(config, [str(RECORDING)], database=database) for _ in range(2)]
    assert list(runs_of(database, "bars").values()) == [result.bars for result in results]
    assert list(runs_of(database, "signals").values()) == [result.signals for result in results]
    assert len(runs_of(database, "runs")) == 2
