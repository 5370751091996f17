"""What `hft replay` shows: a progress bar while it runs, then what came out, or whether it is what live put out."""

import datetime
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from hft_engine.comparison import Difference
from hft_engine.config.errors import ConfigError
from hft_engine.config.schema import Config
from hft_engine.persistence.journal import is_journal
from hft_engine.recorded_session import RecordedSession, SessionError
from hft_engine.replay import Part, ReplayResult, replay
from hft_engine.verify import Verdict, verify

EXIT_DIFFERENT = 1


@contextmanager
def progress_bar(what: str) -> Iterator[tuple[Callable[[int], None], Callable[[str], None]]]:
    """(call with permille, say a line above the bar); on stderr, gone at the end."""
    with Progress(
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(what, total=1000)
        yield lambda permille: bar.update(task, completed=permille), bar.console.print


def run(
    config: Config, paths: Sequence[str], speed: float, database: Path | None, as_json: bool, part: Part
) -> None:
    """Replay and print. Raises what ``replay`` raises."""
    with progress_bar("replaying") as (progress, say):
        result = replay(config, paths, speed, database, progress=progress, say=say, part=part)
    print(orjson.dumps(_fields(result)).decode() if as_json else _text(result))


def run_verify(session: Path, layout: str, speed: float, end_ns: int, force: bool, as_json: bool) -> int:
    """Replay, compare and print; the exit code. Raises what ``verify`` raises."""
    with progress_bar("verifying") as (progress, say):
        verdict = verify(session, layout, speed, end_ns, force, progress, say)
    print(orjson.dumps(msgspec.to_builtins(verdict)).decode() if as_json else verdict_text(verdict))
    return 0 if verdict.identical else EXIT_DIFFERENT


def part_of(begin: str | None, end: str | None, symbols: str) -> Part:
    """Raises ConfigError for a time that is none."""
    names = tuple(name.strip() for name in symbols.split(",") if name.strip())
    part = Part(begin_ns=_time_ns("--from", begin), end_ns=_time_ns("--to", end), symbols=names)
    if part.end_ns and part.end_ns <= part.begin_ns:
        raise ConfigError(["--to must be later than --from"])
    return part


def existing(paths: Sequence[str], find: Callable[[str], Path]) -> tuple[str, ...]:
    """``paths``, a single one that is no file taken as the name of a session."""
    if len(paths) == 1 and not Path(paths[0]).exists():
        try:
            return (str(find(paths[0])),)
        except SessionError:
            return tuple(paths)  # the replay says that there is no such file
    return tuple(paths)


def own_config(config_path: Path | None, paths: Sequence[str], overrides: Sequence[str]) -> Config | None:
    """The configuration that a session was recorded with; None where another was asked for or none recorded."""
    if config_path is not None or len(paths) != 1 or not is_journal(Path(paths[0])):
        return None
    try:
        return RecordedSession(Path(paths[0]), verify=False).config(overrides)
    except SessionError:
        return None


def verdict_text(verdict: Verdict) -> str:
    """What a person reads: the answer first."""
    lines = [_answer(verdict)]
    if verdict.difference is not None:
        lines += _difference_lines(verdict.difference)
    for each in verdict.unstable:
        lines.append(
            f"feature {each.feature} is not the same from one replay to the next, from about its record "
            f"{each.record:,} on: it reads a clock or unseeded randomness"
        )
    again, happened = _counted(verdict.repeated) or "nothing", _counted(verdict.happened) or "nothing"
    lines.append(f"made again at the same record: {again}; in the ticks already: {happened}")
    lines += [f"note: {note}" for note in verdict.notes]
    return "\n".join(lines)


def _answer(verdict: Verdict) -> str:
    word = "IDENTICAL" if verdict.identical else "DIFFERENT" if verdict.difference else "NOT DETERMINISTIC"
    return (
        f"{word}: {verdict.ticks:,} ticks, {verdict.signals:,} signals, signal hash {verdict.signal_hash}, "
        f"layout {verdict.layout}, {verdict.seconds:.2f} s"
    )


def _difference_lines(found: Difference) -> list[str]:
    return [
        f"first at signal {found.sequence:,}, field {found.field}: live {found.live}, replay {found.replayed}",
        f"  {found.symbol}, {utc(found.ts_venue_ns)}, caused by tick {found.source_sequence:,}",
        f"  look among ticks {found.suspect_from:,} to {found.suspect_to:,} of {found.symbol}: "
        "up to its signal before, live and replay agree",
    ]


def _counted(kinds: dict[str, int]) -> str:
    names = {kind: kind.replace("_", " ") for kind in kinds}
    return ", ".join(f"{count} {names[kind]}{'s' if count > 1 else ''}" for kind, count in kinds.items())


def utc(ts_ns: int) -> str:
    """2024-08-08T13:30:00.123456789Z"""
    seconds, rest = divmod(ts_ns, 1_000_000_000)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _time_ns(option: str, text: str | None) -> int:
    if not text:
        return 0
    if text.isdigit():
        return int(text)
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            [f"{option} {text!r}: write it 2024-08-08T13:30:00 (UTC), or ns since 1970"]
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * 1_000_000_000 + moment.microsecond * 1_000


def _fields(result: ReplayResult) -> dict[str, object]:
    return {**msgspec.structs.asdict(result), "ticks_per_s": round(result.ticks_per_s)}


def _text(result: ReplayResult) -> str:
    return "\n".join(
        (
            f"ticks        {result.ticks:>12,}",
            f"bars         {result.bars:>12,}",
            f"signals      {result.signals:>12,}",
            f"signal hash  {result.signal_hash}",
            f"time         {result.seconds:>12.2f} s   {result.ticks_per_s:,.0f} ticks/s, layout {result.layout}",
        )
    )
