"""What the README, the documents and the examples promise is there."""

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from hft_engine.cli import main
from hft_engine.config.schema import Config
from hft_engine.topology import ROLES, build

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", EXAMPLES / "README.md", *(ROOT / "docs").rglob("*.md")]
)
RUNNABLE = ["02_own_indicator.py", "03_replay_a_file.py", "04_own_strategy.py", "realtime_ml_example.py"]
ARGUMENTS = {"realtime_ml_example.py": ["--demo", "--interval", "0.5", "--rounds", "3"]}
NEED_AN_ENGINE = ["01_watch_signals.py"]
EXAMPLE_TIMEOUT_S = (
    110  # the first one may have to compile every kernel; `scripts/test.sh` has them compiled before
)


def run_example(name: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(EXAMPLES / name), *ARGUMENTS.get(name, [])]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=EXAMPLE_TIMEOUT_S, check=False
    )


@cache
def ran(name: str) -> "subprocess.CompletedProcess[str]":
    """One run of an example for several tests to look at."""
    return run_example(name)


def links(document: Path) -> list[str]:
    """Targets of a document's links and pictures inside the repository, with their anchors."""
    found = re.findall(r"\]\(([^)\s]+)\)", _prose(document.read_text()))
    return [target for target in found if not target.startswith(("http://", "https://", "mailto:"))]


def _prose(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors(document: Path) -> set[str]:
    """Of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _prose(document.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shell_lines(document: Path) -> Iterator[str]:
    """Commands of a document's ```bash blocks, without comments."""
    for block in re.findall(r"```bash\n(.*?)```", document.read_text(), flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if command := re.sub(r"(^|\s)#.*", "", line).strip():
                yield command


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that ``hft <words>`` means, and what is left of the words."""
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"hft has no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def options_of(command: click.Command) -> set[str]:
    return {"--help", "-h", "--version"} | {name for p in command.params for name in p.opts}


@pytest.mark.parametrize("name", RUNNABLE)
def test_example_runs_and_says_something(name: str) -> None:
    done = ran(name)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 5
    assert not done.stderr


def test_replay_example_prints_the_same_signals_again() -> None:
    first, second = ran("03_replay_a_file.py"), run_example("03_replay_a_file.py")
    assert first.stdout == second.stdout
    assert re.search(r"^[1-9]\d* signals, hash [0-9a-f]{16}$", first.stdout, flags=re.MULTILINE)


def test_example_that_needs_an_engine_says_so_where_there_is_none() -> None:
    done = run_example("01_watch_signals.py")
    assert done.returncode == 1
    assert done.stderr.strip() == "error: no engine is running; start one: hft start"


def test_every_example_is_tested_and_listed() -> None:
    names = sorted(path.name for path in EXAMPLES.glob("*.py"))
    assert names == sorted(RUNNABLE + NEED_AN_ENGINE)
    listed = (EXAMPLES / "README.md").read_text()
    assert all(f"`{name}`" in listed for name in names)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in links(document):
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        assert file.exists(), f"{document.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_exist_with_their_options(document: Path) -> None:
    for line in shell_lines(document):
        program, *words = line.split()
        if program.startswith(("scripts/", ".venv/bin/python")):
            file = words[0] if program.endswith("python") else program
            assert file == "-c" or (ROOT / file).exists(), line
        elif program in ("hft", ".venv/bin/hft"):
            command, rest = command_of(words)
            if command.name == "sim":  # it parses its own options
                continue
            used = {word.partition("=")[0] for word in rest if word.startswith("-")}
            assert used <= options_of(command), line


def test_readme_shows_every_first_step() -> None:
    lines = list(shell_lines(ROOT / "README.md"))
    for wanted in (
        "scripts/start_realtime_trading.sh --demo",
        "scripts/stop_realtime_trading.sh",
        "scripts/test.sh",
    ):
        assert wanted in lines


def test_architecture_names_every_role_and_every_ring() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    assert all(f"| `{role}` |" in text for role in ROLES)
    for ring in build(Config()).rings:
        row = re.search(rf"^\| `{ring.name}` \| `(\w+)` \| \d+ \| ([\d,]+) \|", text, flags=re.MULTILINE)
        assert row is not None, f"ring {ring.name} has no row"
        assert row[1] == ring.dtype
        assert int(row[2].replace(",", "")) == ring.capacity


def test_architecture_rows_agree_with_the_topology() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for role in ROLES.values():
        row = re.search(rf"^\| `{role.name}` \| [^|]+ \| ([^|]+) \| ([^|]+) \|", text, flags=re.MULTILINE)
        assert row is not None, f"role {role.name} has no row"
        assert tuple(re.findall(r"`(\w+)`", row[1])) == role.reads
        assert tuple(re.findall(r"`(\w+)`", row[2])) == role.writes


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_files_exist(document: Path) -> None:
    bases = (ROOT / "src/hft_engine", ROOT, document.parent)
    for name in re.findall(r"`([\w/]*[\w.]+\.(?:py|sh|yaml|md))`", document.read_text()):
        assert any((base / name).exists() for base in bases), name
