"""Which models are kept, and that none is given for another."""

from pathlib import Path

import pytest
from test_inference_actor import _written
from test_model import Schema

from hft_engine.inference import recent
from hft_engine.inference.errors import ModelError
from hft_engine.inference.model import load_model, metadata_path
from hft_engine.inference.recent import RecentModels


@pytest.fixture
def models() -> RecentModels:
    return RecentModels(Schema())


def test_a_model_is_read_once_wherever_it_lies(tmp_path: Path, models: RecentModels) -> None:
    first = models.load(_written(tmp_path / "one.txt"))
    again = models.load(_written(tmp_path / "copy.txt"))
    assert again is first
    assert again.tables.nodes.tobytes() == load_model(tmp_path / "one.txt", Schema()).tables.nodes.tobytes()


def test_other_trees_or_other_metadata_are_another_model(tmp_path: Path, models: RecentModels) -> None:
    path = _written(tmp_path / "one.txt")
    first = models.load(path)
    other = models.load(_written(path, num_leaves=5))
    named = models.load(_written(path, name="two"))
    assert first.model_id != other.model_id and named.metadata.name == "two"
    assert models.load(_written(path)) is first


def test_a_damaged_file_is_refused_though_its_model_is_kept(tmp_path: Path, models: RecentModels) -> None:
    path = _written(tmp_path / "one.txt")
    models.load(path)
    metadata_path(path).unlink()
    with pytest.raises(ModelError, match="no readable metadata"):
        models.load(path)
    _written(path)
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(ModelError, match="not the one its metadata describes"):
        models.load(path)


def test_the_oldest_go_and_large_ones_are_not_kept(tmp_path: Path, monkeypatch, models: RecentModels) -> None:
    monkeypatch.setattr(recent, "MODELS_MAX", 2)
    paths = [_written(tmp_path / f"{leaves}.txt", num_leaves=leaves) for leaves in (3, 4, 5)]
    first, second = models.load(paths[0]), models.load(paths[1])
    assert models.load(paths[0]) is first  # now the latest
    models.load(paths[2])
    assert models.load(paths[0]) is first and models.load(paths[1]) is not second
    monkeypatch.setattr(recent, "TEXT_BYTES_MAX", 10)
    large = RecentModels(Schema())
    assert large.load(paths[0]) is not large.load(paths[0])
