"""Session events survive what ends a writer, and nothing else passes for one."""

import logging
from pathlib import Path

import pytest

from hft_engine.config.schema import Config
from hft_engine.instruments import InstrumentTable
from hft_engine.runtime import faultpoints
from hft_engine.runtime.actor import ActorContext
from hft_engine.runtime.session_events import EventLog, event_path, of_kinds, read_events, read_session
from hft_engine.shm.counters import Stats


def context(directory: Path | None, role: str = "signals") -> ActorContext:
    return ActorContext(
        role=role,
        config=Config(),
        log=logging.getLogger("test"),
        instruments=InstrumentTable.private(1),
        stats=Stats.private(),
        rings={},
        feature_schema=None,  # type: ignore[arg-type]
        run_id="test",
        run_dir=Path("unused"),
        data_dir=Path("unused"),
        log_dir=Path("unused"),
        session_dir=directory,
    )


def test_what_was_recorded_is_read_back_in_order(tmp_path):
    ctx = context(tmp_path / "session")
    assert ctx.record("config_change", 5, {"signals.cooldown_ms": 7})
    assert ctx.record("lap", 9, {"first": 9, "end": 12})
    events = ctx.recorded()
    assert [(e.role, e.kind, e.sequence) for e in events] == [
        ("signals", "config_change", 5),
        ("signals", "lap", 9),
    ]
    assert events[1].data == {"first": 9, "end": 12}
    assert [e.kind for e in of_kinds(events, "lap")] == ["lap"]


def test_a_session_is_the_events_of_all_roles_by_sequence(tmp_path):
    context(tmp_path, "signals").record("config_change", 7)
    context(tmp_path, "inference").record("model_swap", 3)
    events, damages = read_session(tmp_path)
    assert [(e.role, e.sequence) for e in events] == [("inference", 3), ("signals", 7)]
    assert damages == []


def test_without_a_session_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert context(None).record("lap", 1)
    assert context(None).recorded() == []
    assert list(tmp_path.iterdir()) == []


def test_a_line_cut_short_at_any_byte_is_ignored_and_the_next_life_writes_on(tmp_path):
    log = EventLog(tmp_path, "feed")
    log.record("reconnect", 1)
    whole = log.path.stat().st_size
    log.record("reconnect", 2, {"losses": 3})
    raw = log.path.read_bytes()
    log.close()
    for length in range(whole, len(raw)):
        event_path(tmp_path, "feed").write_bytes(raw[:length])
        later = EventLog(tmp_path, "feed")
        later.record("reconnect", 3)
        later.close()
        events, damages = read_events(tmp_path, "feed")
        assert [e.sequence for e in events] == [1, 3], length
        assert [d.offset for d in damages] == ([whole] if length > whole else []), length


def test_a_flipped_bit_is_no_event(tmp_path):
    log = EventLog(tmp_path, "feed")
    log.record("reconnect", 1, {"losses": 3})
    log.close()
    raw = bytearray(log.path.read_bytes())
    for at in range(len(raw)):
        bad = bytearray(raw)
        bad[at] ^= 1
        log.path.write_bytes(bad)
        events, damages = read_events(tmp_path, "feed")
        assert events == [] and damages, at


@pytest.fixture
def full_disk():
    faultpoints.arm("events.append:error")
    yield
    faultpoints.arm("")


def test_what_cannot_be_written_is_told_and_answered_with_false(tmp_path, full_disk):
    told = []
    ctx = context(tmp_path)
    ctx.emit = lambda kind, text: told.append((kind, text))
    assert not ctx.record("config_change", 5)
    assert told[0][0] == "unrecorded" and "No space" in told[0][1]
    assert ctx.recorded() == []
