"""The registry: versions, what becomes of them, and what an interruption or a full disk leaves."""

import errno
import sqlite3
from pathlib import Path

import pytest
from registered import entry, made

from hft_engine.inference.errors import ModelError
from hft_engine.models import registry as rg
from hft_engine.models.peak_detection import PeakDetectionModel
from hft_engine.models.registry import Registry, RegistryError

PEAK = "peak_detection"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


def add(registry: Registry, version: str, **changes: object) -> rg.Entry:
    text, metadata = made(PEAK, seed=len(version))
    return registry.register(entry(PEAK, version, **changes), text, metadata, {"report.json": b"{}"})


def test_a_version_goes_from_candidate_to_live_to_retired(registry: Registry) -> None:
    first, second = add(registry, "1"), add(registry, "2")
    assert (first.status, first.parent) == ("candidate", "")
    registry.promote(PEAK, "1")
    registry.promote(PEAK, "2")
    assert [found.status for found in registry.entries(PEAK)] == ["retired", "live"]
    assert registry.live(PEAK) == registry.entry(PEAK, second.version)
    third = add(registry, "3")
    assert third.parent == "2"
    told = [(change.version, change.before, change.after) for change in registry.changes(PEAK)]
    assert told == [
        ("1", "", "candidate"),
        ("2", "", "candidate"),
        ("1", "candidate", "live"),
        ("1", "live", "retired"),
        ("2", "candidate", "live"),
        ("3", "", "candidate"),
    ]


def test_the_saved_model_is_always_the_live_one(registry: Registry) -> None:
    add(registry, "1")
    add(registry, "22")
    for version in ("1", "22"):
        live = registry.promote(PEAK, version)
        model = PeakDetectionModel().load(registry.root / PEAK / "saved_model")
        assert model.model.metadata.sha256 == live.model_hash
    registry.roll_back(PEAK, "worse")
    assert PeakDetectionModel().load(registry.root / PEAK / "saved_model").model.metadata.version == "1"
    assert registry.entry(PEAK, "22").status == "rolled_back"


def test_rolling_back_twice_goes_on_backwards(registry: Registry) -> None:
    for version in ("1", "2", "3"):
        add(registry, version)
        registry.promote(PEAK, version)
    assert registry.roll_back(PEAK).version == "2"
    assert registry.roll_back(PEAK).version == "1"
    with pytest.raises(RegistryError, match="no earlier live version"):
        registry.roll_back(PEAK)


def test_one_that_does_not_beat_its_baseline_needs_force(registry: Registry) -> None:
    add(registry, "1", unbeaten=("majority",))
    with pytest.raises(RegistryError, match=r"does not beat its baseline \(majority\).*--force"):
        registry.promote(PEAK, "1")
    assert registry.live(PEAK) is None
    assert registry.promote(PEAK, "1", force=True).status == "live"
    assert "forced" in registry.changes(PEAK, "1")[-1].reason


def test_an_interrupted_registration_leaves_no_version(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(file: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(rg, "_sync", stop)
        with pytest.raises(KeyboardInterrupt):
            add(registry, "1")
    assert registry.entries() == []
    assert list((registry.root / PEAK).iterdir()) == []


def test_what_a_killed_registration_left_is_cleared_away_by_the_next(registry: Registry) -> None:
    left = registry.root / PEAK / ".new-killed"
    left.mkdir(parents=True)
    (left / "model.txt").write_text("half a mod")
    add(registry, "1")
    assert sorted(path.name for path in (registry.root / PEAK).iterdir()) == ["1"]


def test_a_full_disk_is_told_and_registers_nothing(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rg, "_sync", full)
    with pytest.raises(
        RegistryError, match=r"No space left on device; nothing was registered; free some space"
    ):
        add(registry, "1")
    assert registry.entries() == []
    assert list((registry.root / PEAK).iterdir()) == []


def test_a_database_that_refuses_leaves_no_folder(registry: Registry) -> None:
    add(registry, "1")
    with sqlite3.connect(registry.root / rg.DATABASE) as database:
        database.execute(
            "CREATE TRIGGER no BEFORE INSERT ON models BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    database.close()
    with pytest.raises(RegistryError, match="disk is full"):
        add(registry, "2")
    assert not (registry.root / PEAK / "2").exists()


def test_a_version_whose_model_is_damaged_is_not_made_live(registry: Registry) -> None:
    add(registry, "1")
    (registry.root / PEAK / "1/model.txt.meta.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be used"):
        registry.promote(PEAK, "1")
    assert registry.live(PEAK) is None


def test_a_model_that_is_not_the_one_registered_is_not_made_live(registry: Registry) -> None:
    found = add(registry, "1")
    with (registry.folder(found) / "model.txt").open("a") as file:
        file.write("more")
    with pytest.raises(RegistryError, match=r"not the model that was registered.*nothing was changed"):
        registry.promote(PEAK, "1")
    (registry.folder(found) / "model.txt").unlink()
    with pytest.raises(RegistryError, match="cannot be read, nothing was changed"):
        registry.promote(PEAK, "1")
    assert registry.live(PEAK) is None


def test_a_link_that_cannot_be_made_changes_nothing(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(registry, "1")

    def full(link: Path, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "symlink_to", full)
    with pytest.raises(RegistryError, match="nothing was changed; free some space"):
        registry.promote(PEAK, "1")
    assert registry.live(PEAK) is None


def test_looking_at_a_registry_makes_none(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="has no models yet; `hft train"):
        Registry(tmp_path / "none", create=False)
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_none_are_told_with_what_there_is(registry: Registry) -> None:
    add(registry, "20260101-a")
    add(registry, "20260101-b")
    with pytest.raises(RegistryError, match="peak_detection 20260101-a"):
        registry.entry("direction")
    with pytest.raises(RegistryError, match="say which"):
        registry.entry(PEAK, "2026")
    assert registry.entry(PEAK, "20260101-a").version == "20260101-a"
    with pytest.raises(RegistryError, match="promote or roll back"):
        registry.set_status(PEAK, "20260101-a", "live", "")
    assert registry.set_status(PEAK, "20260101-a", "shadow", "scores the live ring").status == "shadow"
