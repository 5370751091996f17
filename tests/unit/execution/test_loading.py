from pathlib import Path

import pytest

from hft_engine.execution.loading import load_strategy
from hft_engine.execution.strategies import EmaCross, Follow
from hft_engine.execution.strategy import StrategyError

SOURCE = """
from hft_engine.strategy import Strategy
class Mine(Strategy):
    pass
class Needy(Strategy):
    def __init__(self, what):
        self.what = what
class Plain:
    pass
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def test_a_strategy_is_found_by_name_in_a_file_and_in_a_module(file: Path) -> None:
    assert type(load_strategy("follow")) is Follow
    assert type(load_strategy("ema_cross")) is EmaCross
    assert type(load_strategy(f"{file}:Mine")).__name__ == "Mine"
    assert type(load_strategy("hft_engine.strategy:EmaCross")) is EmaCross


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("folow", 'write one of follow, ema_cross, "file.py:Class"'),
        ("FILE:Nobody", "has no class 'Nobody'"),
        ("FILE:Plain", "is no class derived from hft_engine.strategy.Strategy"),
        ("FILE:Needy", "its __init__ must take no arguments"),
        ("nowhere.py:Mine", "nowhere.py: FileNotFoundError"),
        ("no.such.module:Mine", "no.such.module: ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_cause(file: Path, name: str, says: str) -> None:
    with pytest.raises(StrategyError, match=r"execution\.strategy: ") as error:
        load_strategy(name.replace("FILE", str(file)))
    assert says in str(error.value)
