"""Venues are found by name, also those that another package brings."""

import sys
from pathlib import Path

import pytest

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.dialing import DIALERS
from hft_engine.feed.venues import UnknownVenueError, venue_names, venue_of
from hft_engine.feed.venues.fieldmap import shipped_maps
from hft_engine.instruments import InstrumentTable

VENUES = [FeedConfig(venue=name, map="binance") for name in venue_names()]
MAPS = [FeedConfig(venue="generic", map=name) for name in shipped_maps()]

THEIRS = """
from hft_engine.feed.venues.polygon import Polygon

class Theirs(Polygon):
    name = "theirs"
    venue_id = 1_000
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package, as ``pip`` leaves it, with a sound venue and one that cannot be loaded."""
    (tmp_path / "their_feed.py").write_text(THEIRS)
    info = tmp_path / "their_feed-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their_feed\nVersion: 1.0\n")
    points = "[hft_engine.venues]\ntheirs = their_feed:Theirs\nspoilt = their_feed:Missing\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("their_feed", None)


@pytest.mark.parametrize("config", VENUES + MAPS, ids=lambda config: f"{config.venue}-{config.map}")
def test_every_venue_of_ours_is_whole(config: FeedConfig) -> None:
    venue = venue_of(config)
    assert venue.name == config.venue and 0 < venue.venue_id < 1_000
    assert venue.transport in DIALERS
    assert venue.url(config).partition("://")[0] in ("ws", "wss", "http", "https")
    decoder = venue.decoder(InstrumentTable.private(4), config)
    assert decoder.decode(b"\xff no message of anybody's", 1, 2) == 0
    assert decoder.frames_rejected + decoder.ignored_events + decoder.unknown_events == 1


def test_ids_of_venues_differ() -> None:
    ids = [venue_of(config).venue_id for config in (*VENUES[:-1], *MAPS)]
    assert len(set(ids)) == len(ids)


def test_another_packages_venue_is_found_by_its_entry_point(package: Path) -> None:
    assert venue_of(FeedConfig(venue="theirs")).venue_id == 1_000
    assert "theirs" in venue_names()


def test_a_venue_that_cannot_be_loaded_names_its_package(package: Path) -> None:
    with pytest.raises(UnknownVenueError, match=r"spoilt.*their_feed:Missing"):
        venue_of(FeedConfig(venue="spoilt"))


def test_an_unknown_venue_names_those_there_are() -> None:
    with pytest.raises(UnknownVenueError, match=r"'nasdaq'; known: polygon, polygon-options"):
        venue_of(FeedConfig(venue="nasdaq"))
