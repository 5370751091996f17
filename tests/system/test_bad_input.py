"""Bad input on the real command with real processes: one message that names cause and remedy, and nothing lost.

What can be refused before anything starts is refused then; the rest degrades, is counted and shows in the status.
"""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.engine import ROOT, START_TIMEOUT_S, Engine, demo, hft, settings
from support.journals import write_journal
from support.memory import small_file_system
from support.refusal import assert_nothing_left, assert_refused, processes_of
from support.venue import venue
from support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

MODEL = ROOT / "models" / "demo" / "direction.txt"
SECRET = "sk-planted-4711-e1f9c2"
QUICK_S = 60  # for what is refused before a kernel is compiled or a process started


@pytest.fixture(autouse=True)
def no_engine_left(run_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in ("POLYGON_API_KEY", "MASSIVE_API_KEY", "LOG_LEVEL"):
        monkeypatch.setenv(variable, "")  # empty: not set, whatever a .env says
    yield
    assert_nothing_left(run_root)


@contextmanager
def started(*options: str) -> Iterator[tuple[Engine, str]]:
    """``hft start --detach`` against a venue that the options name; the engine, and what the start printed."""
    answer = hft("start", "--detach", *options, timeout_s=START_TIMEOUT_S)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    try:
        yield Engine(Path(), list(options)), answer.stdout
    finally:
        assert hft("stop", *options).returncode == 0


# ---- refused before anything starts ------------------------------------------------------------------------


def file_of(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text)
    return path


def rule_on(feature: str) -> str:
    rule = f"name: r, feature: {feature}, side: buy, when: above, enter: 1.0, release: 0.5, full: 2.0"
    return f"signals.rules=[{{{rule}}}]"


RAISES = "raise RuntimeError('my library is missing')\n"
Case = Callable[[Path], list[str]]
BEFORE_START: dict[str, tuple[Case, tuple[str, ...]]] = {
    "unknown_key": (lambda d: ["--set", "engine.nmae=x"], ("engine.nmae", "did you mean name")),
    "wrong_type": (
        lambda d: ["--set", "engine.instruments_max=many"],
        ("engine.instruments_max", "whole number", "'many'"),
    ),
    "unknown_key_in_a_file": (
        lambda d: ["--config", str(file_of(d, "mine.yaml", "feed:\n  symbol: [A]\n"))],
        ("mine.yaml:2", "feed.symbol", "did you mean symbols"),
    ),
    "file_is_not_yaml": (
        lambda d: ["--config", str(file_of(d, "mine.yaml", "feed: [\n"))],
        ("mine.yaml", "is not YAML"),
    ),
    "missing_file": (lambda d: ["--config", str(d / "none.yaml")], ("none.yaml", "no such file", "--config")),
    "ring_capacity": (lambda d: ["--set", "rings.ticks=1000"], ("rings.ticks", "power of two", "1024")),
    "rule_on_unknown_feature": (
        lambda d: ["--set", rule_on("bar_rsii")],
        ("signals.rules[0].feature", "'bar_rsii'", "bar_rsi"),
    ),
    "extension_missing": (
        lambda d: ["--set", f"indicators.extensions={d}/none.py:f"],
        ("indicators.extensions", "none.py", "No such file"),
    ),
    "extension_raises": (
        lambda d: ["--set", f"indicators.extensions={file_of(d, 'mine.py', RAISES)}:f"],
        ("indicators.extensions", "mine.py", "my library is missing"),
    ),
    "data_dir_under_a_file": (
        lambda d: ["--set", f"engine.data_dir={file_of(d, 'file', '')}/data"],
        ("engine.data_dir", "Not a directory", "set it elsewhere"),
    ),
    "log_dir_under_a_file": (
        lambda d: ["--set", f"engine.log_dir={file_of(d, 'file', '')}/logs"],
        ("engine.log_dir", "Not a directory", "set it elsewhere"),
    ),
    "run_root_too_long": (
        lambda d: ["--set", f"engine.run_root={d}/{'x' * 100}"],
        ("engine.run_root", "too long", "shorter"),
    ),
    "recording_of_the_venue_missing": (
        lambda d: ["--set", f"simulator.source={d}/none.jsonl.gz"],
        ("simulator.source", "none.jsonl.gz", "no such file"),
    ),
    "model_missing": (
        lambda d: ["--set", f"inference.model={d}/none.txt"],
        ("none.txt", "No such file", "inference.model"),
    ),
    "model_of_another_feature_schema": (
        lambda d: ["--set", "indicators.rsi=9"],
        ("direction.txt", "another feature schema", "train it again"),
    ),
}


@pytest.mark.parametrize("name", BEFORE_START)
def test_start_is_refused_naming_cause_and_remedy(tmp_path: Path, run_root: Path, name: str) -> None:
    options, parts = BEFORE_START[name]
    arguments = [*settings(tmp_path), *options(tmp_path)]
    assert_refused(hft("start", "--demo", "--detach", *arguments, timeout_s=QUICK_S), *parts)
    assert not list(run_root.iterdir())


def test_foreground_start_says_the_same(tmp_path: Path) -> None:
    options = settings(tmp_path, f"indicators.extensions={tmp_path}/none.py:f")
    answer = hft("start", "--demo", *options, timeout_s=QUICK_S)
    assert_refused(answer, "indicators.extensions", "none.py", "No such file")


def test_start_without_a_key_names_the_variable_and_the_demo(tmp_path: Path) -> None:
    answer = hft("start", "--detach", *settings(tmp_path), timeout_s=QUICK_S)
    assert_refused(answer, "feed.api_key", "POLYGON_API_KEY", "hft start --demo")


def test_port_in_use_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = settings(tmp_path, f"simulator.port={port}")
        answer = hft("start", "--demo", "--detach", *options, timeout_s=QUICK_S)
    assert_refused(answer, f"simulator.port {port}", "in use", "0 for any free one")


def test_read_only_data_folder_is_named(tmp_path: Path) -> None:
    with small_file_system(1, "ro") as folder:
        answer = hft("start", "--demo", "--detach", *settings(tmp_path), "--set", f"engine.data_dir={folder}")
        assert_refused(answer, f"engine.data_dir {folder}", "not writable")


def test_shared_memory_too_small_for_the_rings_is_told_with_the_sizes(tmp_path: Path) -> None:
    with small_file_system(4) as root:
        options = settings(tmp_path, f"engine.run_root={root}")
        answer = hft("start", "--demo", "--detach", *options, timeout_s=QUICK_S)
        assert_refused(answer, "cannot reserve 33.6 MB", "rings.*", "engine.run_root")
        assert not list(root.iterdir())


@pytest.mark.expects_errors("is not an SQLite database")
def test_database_that_is_none_is_left_alone_and_named(tmp_path: Path) -> None:
    database = tmp_path / "data" / "market_data.db"
    database.parent.mkdir()
    database.write_bytes(b"my thesis " * 5_000)
    answer = hft("start", "--demo", "--detach", *settings(tmp_path), timeout_s=START_TIMEOUT_S)
    assert_refused(answer, str(database), "not an SQLite database", "persistence.sqlite_file")
    assert database.read_bytes() == b"my thesis " * 5_000


# ---- the venue ---------------------------------------------------------------------------------------------


@pytest.mark.expects_errors("does not accept the API key")
def test_wrong_key_stops_the_start_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYGON_API_KEY", SECRET)
    with venue("another-key") as url:
        options = settings(tmp_path, f"feed.url={url}")
        answer = hft("start", "--detach", *options, timeout_s=START_TIMEOUT_S)
    assert_refused(answer, "does not accept the API key", "POLYGON_API_KEY")
    assert files_with(SECRET, tmp_path) == []


@pytest.mark.expects_errors("connection lost: cannot connect")
def test_unreachable_venue_is_told_tried_again_and_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYGON_API_KEY", SECRET)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: refused, and nobody else's
        url = f"ws://127.0.0.1:{closed.getsockname()[1]}/stocks"
        with started(*settings(tmp_path, f"feed.url={url}")) as (engine, told):
            assert "feed not live yet" in told
            assert url in told
            status = engine.status()
            assert status["state"] == "running"
            assert status["feed"]["state"] in ("backoff", "connecting")
            assert status["counters"]["feed"]["losses"] >= 2
    assert "connection lost" in (tmp_path / "logs" / "feed.log").read_text()


def files_with(secret: str, *folders: Path) -> list[Path]:
    found = []
    for path in (path for folder in folders for path in folder.rglob("*")):
        if path.is_file() and secret.encode() in path.read_bytes():
            found.append(path)
    return found


def test_key_is_in_no_file_no_output_and_no_command_line(
    tmp_path: Path, run_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYGON_API_KEY", SECRET)
    with venue(SECRET) as url:
        options = settings(tmp_path, f"feed.url={url}", "engine.log_level=DEBUG")
        with started(*options) as (engine, told):
            assert "feed live" in told
            wait_for(lambda: engine.status()["counters"]["persistence"]["ticks"] > 0, "ticks stored")
            views = [hft(*command, *options) for command in (["status", "--json"], ["config"])]
            assert all(view.returncode == 0 for view in views)
            processes = processes_of(run_root)
            assert len(processes) >= 7
            assert not [p for p in processes if any(SECRET in word for word in p.cmdline())]
            assert files_with(SECRET, run_root) == []
    assert files_with(SECRET, tmp_path) == []
    assert SECRET not in told + "".join(view.stdout + view.stderr for view in views)
    assert list((tmp_path / "data" / "journal").rglob("*.hftj"))


@pytest.mark.expects_errors("the table holds 10 instruments")
def test_more_symbols_than_the_table_holds_are_counted_and_told(tmp_path: Path) -> None:
    with demo(tmp_path, "engine.instruments_max=10") as engine:
        wait_for(lambda: engine.status()["feed"]["rejected"] > 0, "events beyond the table")
        status = engine.status()
        assert status["rings"][0]["published"] > 0
        assert status["feed"]["state"] == "live"
        assert all(actor["restarts"] == 0 for actor in status["actors"])
    log = (tmp_path / "logs" / "trading_agent.log").read_text()
    assert "the table holds 10 instruments; raise engine.instruments_max" in log
    assert log.count("raise engine.instruments_max") == 1


# ---- models ------------------------------------------------------------------------------------------------


def copy_of_model(directory: Path, name: str, change: Callable[[bytes], bytes] = lambda data: data) -> Path:
    path = directory / f"{name}.txt"
    path.write_bytes(change(MODEL.read_bytes()))
    shutil.copy(f"{MODEL}.meta.json", f"{path}.meta.json")
    return path


def bad_models(directory: Path) -> dict[str, tuple[Path, str]]:
    """Name -> file, and what must be said of it."""
    cut = copy_of_model(directory, "cut", lambda data: data[: len(data) // 2])
    noise = copy_of_model(directory, "noise", lambda data: bytes(range(256)) * 50)
    flipped = copy_of_model(directory, "flipped", lambda data: data.replace(b"leaf_value=0", b"leaf_value=1"))
    empty = copy_of_model(directory, "empty", lambda data: b"")
    alone = copy_of_model(directory, "alone")
    Path(f"{alone}.meta.json").unlink()
    other = copy_of_model(directory, "other")
    about = json.loads(Path(f"{other}.meta.json").read_text())
    about["feature_schema_hash"] = "0" * 64
    Path(f"{other}.meta.json").write_text(json.dumps(about))
    torn = copy_of_model(directory, "torn")
    Path(f"{torn}.meta.json").write_text('{"name": ')
    return {
        "missing": (directory / "none.txt", "No such file"),
        "folder": (directory, "Is a directory"),
        "cut": (cut, "cut.txt"),
        "noise": (noise, "noise.txt"),
        "empty": (empty, "empty.txt"),
        "flipped": (flipped, "is not the one its metadata describes"),
        "no_metadata": (alone, "no readable metadata"),
        "torn_metadata": (torn, "torn.txt.meta.json"),
        "schema": (other, "another feature schema"),
    }


def test_bad_model_is_refused_and_the_one_in_use_stays(tmp_path: Path) -> None:
    with demo(tmp_path) as engine:
        for name, (path, told) in bad_models(tmp_path).items():
            answer = hft("model", "swap", str(path), *engine.options)
            assert_refused(answer, told, "the model in use stays")
            assert str(path) in answer.stderr, name
        counters = engine.status()["counters"]["inference"]
        assert counters["swaps_refused"] == len(bad_models(tmp_path))
        assert counters["swaps"] == 0
        good = hft("model", "swap", str(MODEL), *engine.options)
        assert good.returncode == 0, good.stderr
        assert all(actor["restarts"] == 0 for actor in engine.status()["actors"])
        engine.wait_for_signals(more_than=engine.status()["signals"]["published"])


@pytest.mark.parametrize("name", ["cut", "noise", "no_metadata"])
def test_start_with_a_bad_model_is_refused(tmp_path: Path, name: str) -> None:
    path, told = bad_models(tmp_path)[name]
    options = settings(tmp_path, f"inference.model={path}")
    assert_refused(hft("start", "--demo", "--detach", *options, timeout_s=QUICK_S), str(path), told)


# ---- journals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["inline", "dedicated"])
def test_replay_of_a_missing_file_is_refused(tmp_path: Path, layout: str) -> None:
    options = settings(tmp_path, f"engine.layout={layout}")
    answer = hft("replay", str(tmp_path / "none.hftj"), *options, timeout_s=QUICK_S)
    assert_refused(answer, "none.hftj", "no such journal", "hft journal ls")


def test_replay_of_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path, "notes.csv", "hello\n")
    answer = hft("replay", str(path), *settings(tmp_path), timeout_s=START_TIMEOUT_S)
    assert_refused(answer, "notes.csv")


def damaged_journal(directory: Path) -> tuple[Path, int]:
    """The segment, and the byte in its middle that is wrong."""
    segment = write_journal(directory)
    data = bytearray(segment.read_bytes())
    middle = len(data) // 2
    data[middle] ^= 0xFF
    segment.write_bytes(data)
    return segment, middle


def test_corrupt_journal_is_refused_by_a_replay_in_processes(tmp_path: Path) -> None:
    segment, _ = damaged_journal(tmp_path)
    arguments = ["replay", str(segment.parent), "--layout", "dedicated", *settings(tmp_path)]
    answer = hft(*arguments, timeout_s=START_TIMEOUT_S)
    assert_refused(answer, str(segment), "damaged at byte", f"hft journal cut {segment} --at ")


def test_corrupt_journal_is_refused_with_the_command_that_repairs_it(tmp_path: Path) -> None:
    segment, middle = damaged_journal(tmp_path)
    data = segment.read_bytes()
    checked = hft("journal", "check", str(segment.parent))
    assert checked.returncode == 1
    assert "damaged" in checked.stdout
    arguments = ["replay", str(segment.parent), "--json", *settings(tmp_path)]
    refused = hft(*arguments, timeout_s=START_TIMEOUT_S)
    assert_refused(refused, str(segment), "damaged at byte", "hft journal cut")
    command = shlex.split(refused.stderr[refused.stderr.index("hft journal cut") :])
    assert 0 < int(command[-1]) <= middle
    assert shlex.join(command) in checked.stdout
    repaired = hft(*command[1:])
    assert repaired.returncode == 0, repaired.stderr
    assert segment.stat().st_size == int(command[-1])
    assert hft("journal", "check", str(segment.parent)).returncode == 0
    replayed = hft(*arguments, timeout_s=START_TIMEOUT_S)
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["ticks"] > 2_000
    kept = next(path for path in segment.parent.iterdir() if ".cut-" in path.name)
    assert segment.read_bytes() + kept.read_bytes() == data


def test_commands_on_what_is_no_journal_are_refused(tmp_path: Path) -> None:
    notes = file_of(tmp_path, "00000000.hftj", "hello, this is no journal at all\n")
    assert_refused(
        hft("journal", "check", str(tmp_path / "none")),
        "none",
        "no such file, and no such session",
        "hft journal ls",
    )
    assert_refused(hft("journal", "check", str(notes)), str(notes), "is not a journal segment")
    segment = write_journal(tmp_path)
    assert_refused(hft("journal", "cut", str(segment), "--at", "77"), "byte 77", "hft journal check")


def journal_failed(engine: Engine) -> bool:
    return bool(engine.status()["counters"]["persistence"]["journal_failed"])


def test_disk_that_is_full_from_the_start_does_not_stop_the_engine(tmp_path: Path) -> None:
    with small_file_system(1) as folder:
        (folder / "others").write_bytes(bytes(1 << 20))
        folders = (f"engine.data_dir={folder}/data", f"engine.log_dir={folder}/logs")
        with demo(tmp_path, *folders) as engine:
            assert journal_failed(engine)
            wait_for(lambda: engine.status()["counters"]["persistence"]["unjournaled_ticks"] > 0, "counted")
            assert all(a["state"] == "running" and a["restarts"] == 0 for a in engine.status()["actors"])


def test_full_disk_ends_the_journal_not_the_engine(tmp_path: Path) -> None:
    with small_file_system(2) as folder:
        options = (f"engine.data_dir={folder}", "simulator.ticks_per_s=10000")
        with demo(tmp_path, *options) as engine:
            wait_for(lambda: journal_failed(engine), "the disk full", 60)
            status = engine.status()
            assert status["counters"]["persistence"]["unjournaled_ticks"] > 0
            assert all(a["state"] == "running" and a["restarts"] == 0 for a in status["actors"])
            engine.wait_for_signals(more_than=status["signals"]["published"])
        log = (tmp_path / "logs" / "trading_agent.log").read_text()
        assert "No space left on device: journalling stopped at sequence" in log
        (session,) = (folder / "journal").iterdir()
        checked = hft("journal", "check", str(session))
        assert checked.returncode == 0, checked.stdout
        written = int(checked.stdout.split(": ")[1].split(" ticks")[0].replace(",", ""))
        replayed = hft("replay", str(session), "--json", *settings(tmp_path), timeout_s=START_TIMEOUT_S)
        assert replayed.returncode == 0, replayed.stderr
        assert json.loads(replayed.stdout)["ticks"] == written > 1_000


# ---- a start that does not get to its end ------------------------------------------------------------------


@contextmanager
def starting(run_root: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """``hft start`` from when its run directory is complete; it leads a process group, as in a terminal."""
    command = [sys.executable, "-m", "hft_engine", "start", "--demo", *arguments]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_heed_ctrl_c,  # noqa: PLW1509 - no thread runs here
    )
    try:
        wait_for(lambda: list(run_root.glob("*/*/run.json")), "the start of an engine", 60)
        yield process
    finally:
        process.kill()
        process.communicate()


def _heed_ctrl_c() -> None:
    # A shell starts background jobs with SIGINT ignored, and children inherit that: as in a terminal, please.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def nothing_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start takes a minute, as the first one on a machine does."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kernels"))


def test_stop_while_kernels_compile(tmp_path: Path, run_root: Path, nothing_compiled: None) -> None:
    options = settings(tmp_path)
    with starting(run_root, "--detach", *options) as starter:
        stopped = hft("stop", *options, timeout_s=40)
        assert stopped.returncode == 0, stopped.stderr
        assert "stopped hft-" in stopped.stdout
        out, err = starter.communicate(timeout=40)
        assert starter.returncode != 0
        assert "stopped before" in err, out + err
        assert_nothing_left(run_root)


@pytest.mark.parametrize("detach", [[], ["--detach"]], ids=["foreground", "detached"])
def test_interrupted_start_leaves_nothing(
    tmp_path: Path, run_root: Path, nothing_compiled: None, detach: list[str]
) -> None:
    with starting(run_root, *detach, *settings(tmp_path)) as starter:
        os.killpg(starter.pid, signal.SIGINT)
        out, err = starter.communicate(timeout=40)
        assert "Traceback" not in out + err
        assert_nothing_left(run_root)


def test_start_after_a_start_that_was_killed(tmp_path: Path, run_root: Path) -> None:
    with starting(run_root, *settings(tmp_path)) as starter:
        starter.kill()
        wait_for(lambda: not processes_of(run_root), "all of it gone with its supervisor", 40)
    with demo(tmp_path) as engine:
        assert engine.status()["state"] == "running"
        engine.run_dir()  # the only one: that of the killed start was removed
