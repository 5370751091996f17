"""``hft train`` and ``hft models`` from end to end: data in, versions, reports and cards out, honestly."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from learning_data import noise, waves, write_bars

from hft_engine.cli import main
from hft_engine.inference.model import read_metadata
from hft_engine.learn import command
from hft_engine.models import EnhancedMarketRegimeModel
from hft_engine.models.registry import Registry

FAST = (
    "--set",
    "learning.folds=3",
    "--set",
    "learning.trees_max=200",
    "--set",
    "learning.learning_rate=0.1",
    "--set",
    "learning.leaf_rows_min=20",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # no config/engine.yaml here: the defaults
    return tmp_path


def hft(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


class _Page(HTMLParser):
    """What a page refers to, and how many pictures it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.refers: list[str] = []
        self.pictures = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.pictures += tag == "svg"
        self.refers += [str(value) for name, value in attrs if name in ("src", "href")]
        assert tag != "script"


def test_a_good_model_is_registered_with_its_card_and_promoted(folder: Path) -> None:
    write_bars(folder / "waves.csv", waves(3_000))
    code, output = hft(
        "train", "--data", "waves.csv", "--model", "market_regime", "--promote", "--json", *FAST
    )
    assert code == 0, output
    told = json.loads(output.splitlines()[-1])[0]
    assert told["status"] == "live"
    home = folder / told["folder"]
    page = _Page((home / "card.html").read_text())
    assert page.refers == []
    assert page.pictures == 7
    report = json.loads((home / "report.json").read_text())
    assert report["figures"]["model"]["auc"] > report["figures"]["majority"]["auc"]
    assert bool(read_metadata(home / "model.txt").calibration) == report["calibrated"]
    model = EnhancedMarketRegimeModel().load(folder / "data/models/market_regime/saved_model")
    assert model.model.metadata.version == told["version"]
    assert told["version"] in hft("models", "ls")[1]
    assert "candidate → live" in hft("models", "show", "market_regime")[1]


def test_one_that_is_no_better_than_its_baseline_is_told_and_not_promoted(folder: Path) -> None:
    write_bars(folder / "noise.csv", noise(800))
    code, output = hft("train", "--data", "noise.csv", "--model", "entry_timing", "--promote", *FAST)
    assert code == 1
    assert "does NOT beat" in output
    registry = Registry(folder / "data/models")
    assert registry.live("entry_timing") is None
    code, output = hft("models", "promote", "entry_timing")
    assert code == 2
    assert "use --force" in output
    assert hft("models", "promote", "entry_timing", "--force")[0] == 0
    assert registry.live("entry_timing") is not None


def test_versions_are_told_apart_and_rolled_back(folder: Path) -> None:
    write_bars(folder / "waves.csv", waves(800))
    few = ("--set", "learning.trees_max=20", "--set", "learning.folds=2")
    for leaves in ("7", "15"):
        code, output = hft(
            "train", "--data", "waves.csv", "--model", "peak_detection", *FAST, *few,
            "--set", f"learning.leaves={leaves}",
        )  # fmt: skip
        assert code in (0, 1), output
    first, second = (entry.version for entry in Registry(folder / "data/models").entries())
    _, told = hft("models", "diff", "peak_detection", first, second, "--json")
    found = json.loads(told)
    assert found["param num_leaves"] == ["7", "15"]
    assert "data hash" not in found
    for version in (first, second):
        assert hft("models", "promote", "peak_detection", version, "--force")[0] == 0
    assert hft("models", "rollback", "peak_detection")[0] == 0
    statuses = {entry.version: entry.status for entry in Registry(folder / "data/models").entries()}
    assert statuses == {first: "live", second: "rolled_back"}


def test_too_little_data_is_a_message_and_leaves_nothing(folder: Path) -> None:
    write_bars(folder / "few.csv", waves(60))
    code, output = hft("train", "--data", "few.csv")
    assert code == 2
    assert "MIN_TRAINING_SAMPLES" in output
    assert Registry(folder / "data/models").entries() == []


def test_an_interrupted_training_registers_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bars(folder / "waves.csv", waves(800))

    def stop(text: str, share: float) -> None:
        if "final" in text:
            raise KeyboardInterrupt

    from hft_engine.config.schema import Config

    options = command.TrainingOptions(("waves.csv",), folder / "models", ("peak_detection",))
    with pytest.raises(KeyboardInterrupt):
        command.run(Config(), options, stop)
    assert Registry(folder / "models").entries() == []


def test_what_one_model_cannot_learn_from_does_not_keep_the_others_from_it(folder: Path) -> None:
    write_bars(folder / "waves.csv", waves(800))
    few = ("--set", "learning.trees_max=5", "--set", "learning.peak_prominence=1000000.0")
    code, output = hft("train", "--data", "waves.csv", *FAST, *few)
    assert code == 2
    assert "peak_detection: all" in output
    found = {entry.name for entry in Registry(folder / "data/models").entries()}
    assert found == {"entry_timing", "market_regime"}
    assert all(name in output for name in found), "what is registered is told"


def test_ctrl_c_ends_with_a_message_and_the_shell_s_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    write_bars(folder / "waves.csv", waves(300))
    monkeypatch.setattr(command, "train", stop)
    code, output = hft("train", "--data", "waves.csv")
    assert code == 130
    assert "nothing is registered" in output


def test_a_model_that_is_none_is_refused_by_name(folder: Path) -> None:
    write_bars(folder / "waves.csv", waves(300))
    code, output = hft("train", "--data", "waves.csv", "--model", "oracle")
    assert code == 2
    assert "there are: peak_detection, entry_timing, market_regime" in output
