"""However an inline engine is driven, and however small its rings are, the same comes out."""

from pathlib import Path

import pytest
from benchmarks import workload
from benchmarks.load.replay import write_journal

from hft_engine import inline
from hft_engine.config.schema import Config, EngineConfig, PersistenceConfig, RingsConfig, SignalsConfig
from hft_engine.feed.simulator.symbols import market_symbols
from hft_engine.persistence.hashing import signal_hash

TICKS = 6_000
Outcome = tuple[int, int, int, int, str]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cycles") / "session"
    ticks = workload.alternating_ticks(TICKS, 10_000.0)
    return write_journal(place, ticks, market_symbols(workload.INSTRUMENTS))


def outcome(journal: Path, rings: RingsConfig, stepped: bool) -> tuple[Outcome, int]:
    """What was published, and in how many duty cycles of the rules."""
    config = Config(
        engine=EngineConfig(data_dir=str(journal.parent), log_dir=str(journal.parent)),
        indicators=workload.INDICATORS,
        signals=SignalsConfig(cooldown_ms=0, rules=workload.RULES),
        persistence=PersistenceConfig(journal=False, sqlite=False),
        rings=rings,
    )
    made = inline.make(config, "replay", False, {"replay": {"paths": [str(journal)], "speed": 0.0}})
    looks = []
    made.run(each_step=(lambda: looks.append(1)) if stepped else None)
    published = [made.rings[name].published for name in ("ticks", "features", "bars", "signals")]
    return (*published, signal_hash(made.rings["signals"])), len(looks)  # type: ignore[return-value]


def test_swept_and_stepped_replays_give_the_same(journal: Path) -> None:
    swept, _ = outcome(journal, RingsConfig(), stepped=False)
    stepped, looks = outcome(journal, RingsConfig(), stepped=True)
    assert swept == stepped
    assert swept[:2] == (TICKS, TICKS)
    assert swept[3] > TICKS // 2
    assert looks > 1


@pytest.mark.parametrize("stepped", [False, True])
def test_tiny_rings_lose_nothing(journal: Path, stepped: bool) -> None:
    tiny = RingsConfig(ticks=16, features=8, predictions=8, bars=16, signals=65_536)
    assert outcome(journal, tiny, stepped)[0] == outcome(journal, RingsConfig(), stepped=False)[0]
