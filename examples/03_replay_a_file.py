"""Replay a recorded market through the whole engine, inside this program, and look at what came out.

    .venv/bin/python examples/03_replay_a_file.py [FILE ...]

Without a file: the cut of a Binance recording that ships in tests/data. The actors are those of a live run, on
rings in this process's own memory; run it twice and the last line is the same.
"""

import sys
from pathlib import Path

from hft_engine.runtime import kernelcache

kernelcache.use()  # compiled kernels are kept between runs; before anything imports numba

from hft_engine import inline  # noqa: E402
from hft_engine.config.load import load_config  # noqa: E402
from hft_engine.persistence.hashing import signal_hash  # noqa: E402
from hft_engine.records import Side  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "tests/data/binance/usdm_btcusdt_20240808_cut.jsonl.gz"


def main() -> None:
    files = sys.argv[1:] or [str(SAMPLE)]
    config = load_config(ROOT / "config/demo.yaml", [f"inference.model={ROOT / 'models/demo/direction.txt'}"])
    engine = inline.make(
        config, "replay", persistence=False, arguments={"replay": {"paths": files, "speed": 0.0}}
    )
    engine.run()
    rings, rules = engine.rings, config.signals.rules
    print(f"{rings['ticks'].published:,} ticks, {rings['bars'].published:,} bars")
    for signal in rings["signals"].slots[: rings["signals"].published][:20]:
        print(
            f"tick {signal['source_sequence']:>7,}  {engine.instruments.symbol_of(signal['instrument_id'])} "
            f"{Side(signal['side']).name.lower():<4}  strength {signal['strength']:.2f}  "
            f"at {signal['price']:,.2f}  because of {rules[signal['reason']].name}"
        )
    print(f"{rings['signals'].published:,} signals, hash {signal_hash(rings['signals'])}")


if __name__ == "__main__":
    main()
