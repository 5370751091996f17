"""The configurations that are shipped can be loaded, and their venues have no objection."""

from pathlib import Path

import pytest

from hft_engine.config.load import key_variables, load_config
from hft_engine.feed.venues import venue_names, venue_of

FOLDER = Path(__file__).parents[3] / "config"
OTHERS = {"collector_config"}  # not of the engine: tests/unit/api/test_collector.py
CONFIGS = sorted(path for path in FOLDER.glob("*.yaml") if path.stem not in OTHERS)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_configuration_is_sound(path: Path) -> None:
    keys = dict.fromkeys((name for venue in venue_names() for name in key_variables(venue)), "a-key")
    config = load_config(path, env=keys, dotenv_path=None)
    if config.simulator is None:
        assert venue_of(config.feed).problem(config.feed) is None


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_without_its_key_it_says_which_variable_to_set(path: Path) -> None:
    config = load_config(path, env={}, dotenv_path=None)
    problem = venue_of(config.feed).problem(config.feed)
    if config.simulator is None and config.feed.venue != "generic":
        assert problem is not None and key_variables(config.feed.venue)[0] in problem


def test_every_venue_has_one() -> None:
    used = {load_config(path, env={}, dotenv_path=None).feed.venue for path in CONFIGS}
    assert used >= set(venue_names())
