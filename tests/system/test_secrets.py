"""A planted key, and a search for it in everything that an engine leaves or shows."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from support.blabbing import blabbing
from support.engine import START_TIMEOUT_S, Engine, hft, settings
from support.refusal import assert_nothing_left, processes_of
from support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SECRET = "sk/planted+4711 e1f9c2"  # an address writes it in another way
TOKEN = "tok/planted+0815 77ab"  # in the address
FORMS = tuple(form for each in (SECRET, TOKEN) for form in (each, quote(each, safe=""), quote(each)))
VIEWS = (
    ["status", "--json"],
    ["status"],
    ["errors", "--json"],
    ["lat", "--json"],
    ["config"],
    ["tail", "events", "--no-follow"],
)


@pytest.fixture(autouse=True)
def no_engine_left(run_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("POLYGON_API_KEY", SECRET)
    monkeypatch.setenv("LOG_LEVEL", "")
    yield
    assert_nothing_left(run_root)


def files_with_it(*folders: Path) -> list[Path]:
    found = []
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if any(form.encode() in content for form in FORMS):
            found.append(path)
    return found


@pytest.mark.expects_errors("feed: ", "gap of", "connection lost")
def test_a_venue_that_repeats_the_key_everywhere_does_not_get_it_into_anything(
    tmp_path: Path, run_root: Path
) -> None:
    with blabbing() as venue:
        file = tmp_path / "config" / "engine.yaml"
        file.parent.mkdir()
        file.write_text(f"feed: {{url: '{venue.url}?token={quote(TOKEN, safe='')}'}}")
        options = ["--config", str(file), *settings(tmp_path, "engine.log_level=DEBUG")]
        started = hft("start", "--detach", *options, timeout_s=START_TIMEOUT_S)
        assert started.returncode == 0, started.stdout + started.stderr
        try:
            engine = Engine(tmp_path, options)
            wait_for(lambda: venue.goodbyes >= 2, "it has said everything twice", 90)
            wait_for(lambda: engine.status()["counters"]["feed"]["quarantined"] >= 8, "kept")
            wait_for(lambda: engine.status()["counters"]["persistence"]["ticks"] > 0, "stored")
            shown = [hft(*view, *options) for view in VIEWS]
            processes = processes_of(run_root)
            assert len(processes) >= 7
            assert not [p for p in processes if any(form in word for form in FORMS for word in p.cmdline())]
            assert files_with_it(run_root) == []
        finally:
            stopped = hft("stop", *options)
    assert stopped.returncode == 0
    for answer in (started, stopped, *shown):
        assert not [form for form in FORMS if form in answer.stdout + answer.stderr]
    assert files_with_it(tmp_path) == [file]
    lines = [
        line
        for path in (tmp_path / "data" / "quarantine").iterdir()
        for line in path.read_text().splitlines()
    ]
    kept = [json.loads(line) for line in lines]
    text = json.dumps(kept) + "".join(
        base64.b64decode(frame["frame_base64"]).decode(errors="replace")
        for frame in kept
        if "frame_base64" in frame
    )
    assert "no JSON, and *** *** *** in it" in text and text.count("***") > 8
    assert not [form for form in FORMS if form in text]
    assert "*** is used elsewhere" in (tmp_path / "logs" / "feed.log").read_text()


@pytest.mark.parametrize(
    "override",
    [
        f"feed.api_key={SECRET}",
        f"feed.lines.b.api_key={SECRET}",
        f"feed.lines={{b: {{api_key: '{SECRET}'}}}}",
        f"feed.url=wss://feed.example/ws?token={quote(SECRET, safe='')}",
        f"feed.lines.b.rest_url=https://user:{quote(SECRET, safe='')}@feed.example",
        f"publisher.curve_secret_key={SECRET}",
    ],
)
@pytest.mark.parametrize("command", [["start"], ["start", "--demo", "--detach"], ["status"], ["config"]])
def test_a_key_on_the_command_line_is_refused_with_where_it_belongs(
    tmp_path: Path, override: str, command: list[str]
) -> None:
    answer = hft(*command, *settings(tmp_path, override), timeout_s=60)
    assert answer.returncode == 2
    assert not [form for form in FORMS if form in answer.stdout + answer.stderr]
    assert "***" in answer.stderr and "configuration file" in answer.stderr
    assert ("POLYGON_API_KEY" in answer.stderr) == override.startswith("feed.")
    assert not (tmp_path / "logs").exists()
