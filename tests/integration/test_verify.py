"""A session is proven, or the first thing that differs is named; and what would prove nothing is refused."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hft_engine.explain import explain, recompute
from hft_engine.indicators.features import feature_schema
from hft_engine.inference.model import load_model, read_metadata, write_model
from hft_engine.inference.model_set import load_set
from hft_engine.persistence import provenance
from hft_engine.persistence.journal import JournalError, JournalReader
from hft_engine.recorded_session import RecordedSession, SessionError
from hft_engine.runtime.checkpoint import InForce
from hft_engine.runtime.session_events import EventLog
from hft_engine.verify import VerifyRefusedError, verify
from hft_engine.views.replay import verdict_text
from support.engine import ROOT, hft
from support.sessions import golden_config, make_session, recorded_ticks, write_session

TICKS = 24_000
CHANGED_AT, LAPPED = 8_000, (12_000, 12_200)
CLOCK = """
import numpy as np
from hft_engine.indicators.extension import indicator

@indicator(name="steady")
def steady(state, tick, features):
    return features[0]

@indicator(name="restless")
def restless(state, tick, features):
    return {value}
"""


def happened(session: Path) -> None:
    """A configuration change and a lap, as a live run records them."""
    signals = EventLog(session, "signals")
    changes = {"signals.cooldown_ms": 10, "signals.rules.tick_rsi_low.enter": 25.0}
    signals.record("config_change", CHANGED_AT, {"changes": changes})
    signals.close()
    indicators = EventLog(session, "indicators")
    first, end = LAPPED
    indicators.record("lap", first, {"ring": "ticks", "from": first, "to": end})
    indicators.close()


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_session(tmp_path_factory.mktemp("data"), count=TICKS, happened=happened)


def copy(session: Path, folder: Path, ticks: np.ndarray, missing: tuple[tuple[int, int], ...] = ()) -> Path:
    """The same session with other ticks: a journal whose checksums are in order."""
    _, table = recorded_ticks(1)
    recorded = RecordedSession(session)
    again = write_session(folder, golden_config(), ticks, table, recorded.signals, missing=missing)
    happened(again)
    return again


def test_a_session_with_changes_and_laps_is_identical(session: Path) -> None:
    verdict = verify(session)
    assert verdict.identical and verdict.difference is None
    assert verdict.repeated == {"config_change": 1, "lap": 1}
    assert (verdict.ticks, verdict.signals) == (TICKS, len(RecordedSession(session).signals))
    assert verdict.signals > 100
    assert verdict_text(verdict).startswith(f"IDENTICAL: {TICKS:,} ticks")


def test_the_events_matter(session: Path, tmp_path: Path) -> None:
    ticks, table = recorded_ticks(TICKS)
    bare = write_session(tmp_path, golden_config(), ticks, table, RecordedSession(session).signals)
    verdict = verify(bare)
    assert not verdict.identical and verdict.difference is not None
    assert verdict.difference.source_sequence >= CHANGED_AT
    assert verdict.unstable == ()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_one_flipped_bit_in_a_tick_is_located(session: Path, tmp_path: Path, share: float) -> None:
    signals = RecordedSession(session).signals
    victim = signals[int(share * len(signals))]
    ticks, _ = recorded_ticks(TICKS)
    at = int(victim["source_sequence"])
    ticks.view(np.uint64).reshape(TICKS, -1)[at, 1] ^= np.uint64(1 << 20)  # of ts_venue_ns: a millisecond
    found = verify(copy(session, tmp_path, ticks)).difference
    assert found is not None
    assert found.suspect_from <= at <= found.suspect_to
    assert (found.sequence, found.field) == (int(victim["sequence"]), "ts_venue_ns")
    assert found.live.split()[0] == str(int(victim["ts_venue_ns"]))
    assert found.replayed != found.live


def test_one_flipped_bit_on_the_disk_is_named_with_its_place(session: Path, tmp_path: Path) -> None:
    again = copy(session, tmp_path, recorded_ticks(TICKS)[0])
    (segment,) = again.glob("*.hftj")
    raw = bytearray(segment.read_bytes())
    raw[len(raw) // 2] ^= 4
    segment.write_bytes(raw)
    with pytest.raises(JournalError, match=rf"{segment.name}.*byte \d+"):
        verify(again)
    assert hft("replay", str(again), "--verify").returncode == 2


@pytest.mark.parametrize("value", ["np.random.random()", "features[0] + 1e-9 * np.random.random()"])
def test_an_indicator_that_is_not_a_function_of_its_ticks_is_named(tmp_path: Path, value: str) -> None:
    (tmp_path / "own.py").write_text(CLOCK.format(value=value))
    names = [f"{tmp_path / 'own.py'}:steady", f"{tmp_path / 'own.py'}:restless"]
    config = golden_config("inference.model=", f"indicators.extensions=[{','.join(names)}]")
    verdict = verify(make_session(tmp_path, config, 1_000))
    assert [each.feature for each in verdict.unstable] == ["restless"]
    assert not verdict.identical
    assert "restless is not the same from one replay to the next" in verdict_text(verdict)


def test_a_rule_on_a_clock_differs_from_live_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(CLOCK.format(value="np.random.random()"))
    rule = {
        "name": "dice",
        "feature": "restless",
        "side": "buy",
        "when": "above",
        "enter": 0.9,
        "release": 0.5,
        "full": 1.0,
    }
    config = golden_config(
        "inference.model=",
        f"indicators.extensions=[{tmp_path / 'own.py'}:restless]",
        f"signals.rules={json.dumps([rule])}",
    )
    verdict = verify(make_session(tmp_path, config, 1_000))
    assert verdict.difference is not None
    assert [each.feature for each in verdict.unstable] == ["restless"]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"cpu_class": "x86_64 other"}, "CPU class was .*, is x86_64 other"),
        ({"libraries": {"numpy": "0.1"}}, "numpy was .*, is 0.1"),
        ({"libc": "musl"}, "C library was .*, is musl"),
    ],
)
def test_another_machine_is_refused_and_force_goes_on(session, monkeypatch, what, words) -> None:
    here = provenance.machine()
    libraries = here.libraries | what.get("libraries", {})
    other = msgspec.structs.replace(here, **(what | {"libraries": libraries}))
    monkeypatch.setattr(provenance, "machine", lambda: other)
    with pytest.raises(VerifyRefusedError, match=words):
        verify(session)
    forced = verify(session, force=True)
    assert forced.identical and forced.notes


def test_other_code_is_refused(session, monkeypatch) -> None:
    other = msgspec.structs.replace(provenance.code(), kernel_hash="0")
    monkeypatch.setattr(provenance, "code", lambda: other)
    with pytest.raises(VerifyRefusedError, match="other code made it"):
        verify(session)


def test_a_journal_with_a_hole_proves_nothing(session, tmp_path) -> None:
    again = copy(session, tmp_path, recorded_ticks(TICKS)[0], missing=((12_050, 12_100),))
    with pytest.raises(VerifyRefusedError, match="ticks 12,050 to 12,099 are not in the journal"):
        verify(again)
    # those very ticks the live run's indicators did not see either: the rest is in its place
    assert verify(again, force=True).identical


def test_a_session_that_was_cut_early_is_proven_up_to_there(session: Path) -> None:
    recorded = RecordedSession(session)
    middle = int(recorded.tick(CHANGED_AT + 6_000)["ts_recv_ns"][0])
    verdict = verify(session, end_ns=middle)
    assert verdict.identical and 0 < verdict.signals < len(recorded.signals)


def test_every_signal_is_recomputed_to_the_same_bytes_in_one_pass(session: Path) -> None:
    recorded = RecordedSession(session, verify=False)
    again = recompute(recorded, recorded.signals["sequence"].tolist())
    assert all(each.same for each in again)
    assert all(each.prediction["source_sequence"] == each.live["source_sequence"] for each in again)


def test_a_signal_is_explained_by_what_was_in_force(session: Path) -> None:
    recorded = RecordedSession(session, verify=False)
    signal = recorded.signals[-1]
    found = explain(recorded, int(signal["sequence"]), compare=True)
    assert found.recomputed == "same bytes"
    assert found.tick["sequence"] == found.ticks[1] == int(signal["source_sequence"])
    assert found.changes["signals.cooldown_ms"] == 10
    rule = found.rule
    if rule["feature"] in found.features:
        assert found.features[rule["feature"]] == float(signal["value"])
    assert f"{int(signal['chain_hash']):016x}" == found.chain_hash
    first = explain(recorded, 0, compare=False)
    assert first.changes == {} and first.recomputed == "" and first.since == -1


def test_a_signal_of_other_ticks_is_not_the_same(session: Path, tmp_path: Path) -> None:
    ticks, _ = recorded_ticks(TICKS)
    victim = RecordedSession(session).signals[50]
    ticks["ts_venue_ns"][int(victim["source_sequence"])] += 1
    (again,) = recompute(RecordedSession(copy(session, tmp_path, ticks)), [50])
    assert not again.same and again.difference.startswith("ts_venue_ns was")


def test_what_is_not_there_is_told(session: Path, tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="no signal 999999 in its journal; it has 0 to"):
        recompute(RecordedSession(session), [999_999])
    answer = hft("explain", "nothing:1", "--set", f"engine.data_dir={session.parents[1]}")
    assert answer.returncode == 2 and "no session 'nothing'" in answer.stderr


def test_the_command_answers_with_text_json_and_exit_code(session: Path) -> None:
    answer = hft("replay", str(session), "--verify", "--json", "--layout", "compact", timeout_s=170)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout.splitlines()[-1])["identical"] is True
    options = ("--set", f"engine.data_dir={session.parents[1]}")
    shown = hft("explain", "7", "--recompute", *options)
    assert shown.returncode == 0 and "recomputed to the same bytes" in shown.stdout
    many = hft("explain", "--random", "50", *options)
    assert "50 of 50 signals recomputed to the same bytes" in many.stdout


def test_a_part_of_a_session_keeps_its_sequences(session: Path) -> None:
    stamps = np.concatenate([chunk["ts_recv_ns"] for chunk in JournalReader(session)])
    begin, end = int(stamps[1_000]), int(stamps[4_000])
    answer = hft("replay", str(session), "--from", str(begin), "--to", str(end), "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["ticks"] == int(((stamps >= begin) & (stamps < end)).sum())
    refused = hft("replay", str(session), "--symbols", "NOBODY")
    assert refused.returncode == 2 and "has no ticks of NOBODY" in refused.stderr


def test_a_session_of_several_models_is_proven_and_each_signal_names_its_set(tmp_path: Path) -> None:
    demo = ROOT / "models/demo/direction.txt"
    about = read_metadata(demo)

    def written(name: str, version: str, cut: int) -> Path:
        lines = demo.read_text().splitlines(keepends=True)
        at = [i for i, line in enumerate(lines) if line.startswith("leaf_value=")][cut]
        lines[at] = lines[at].replace("1", "2")  # another model of the same size
        path = tmp_path / f"{name}-{version}.txt"
        write_model(path, "".join(lines), msgspec.structs.replace(about, name=name, version=version))
        return path

    paths = [written("one", "1", 0), written("two", "1", 1)]
    config = golden_config(
        "inference.model=",
        f"inference.models=[{','.join(map(str, paths))}]",
        "inference.ensemble={outputs: [one, not two]}",
    )
    schema = feature_schema(config.indicators)
    before = load_set(config.inference, schema)
    replaced = written("two", "2", 2)
    after = before.with_model(load_model(replaced, schema))

    def swapped(session: Path) -> None:
        log = EventLog(session, "inference")
        swap = {**after.about()[1], "path": str(replaced), "model_id": after.model_id}
        log.record("model_swap", 10_000, {**swap, "models": after.about(), "outputs": list(after.names)})
        log.close()
        told = [{**each, "path": str(path)} for each, path in zip(before.about(), paths, strict=True)]
        InForce(session, "inference").write({"model_id": before.model_id, "models": told})

    recorded = RecordedSession(make_session(tmp_path / "data", config, TICKS, swapped))
    late = recorded.signals["source_sequence"] >= 10_000
    assert 0 < late.sum() < len(late)
    assert set(recorded.signals["model_id"][~late]) == {before.model_id}
    assert set(recorded.signals["model_id"][late]) == {after.model_id}
    assert verify(recorded.path).identical
    found = explain(recorded, int(recorded.signals["sequence"][-1]), compare=True)
    assert found.recomputed == "same bytes" and found.model_id == after.model_id
    assert tuple(found.outputs) == ("one", "two", "ensemble")
    assert [model.partition(",")[0] for model in found.models] == ["one 1", "two 2"]
    assert found.models[0].endswith("since tick 0") and found.models[1].endswith("since tick 10000")
