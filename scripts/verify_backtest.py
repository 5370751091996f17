"""Plays recorded files live through the simulated venue, then backtests the same ticks, and compares row by row.

    python scripts/verify_backtest.py PATH... [--layout compact] [--speed 0] [--config FILE] [--set KEY=VALUE]...
                                              [--keep DIR] [--kills N]

Live: a whole engine of processes, a real websocket, a strategy that trades on paper, a journal and a database. Then
``hft backtest`` twice: of the session's journal, and of the files themselves. Signals, orders and fills must be the
same three times, in every column but those that say when the machine did its work.

``--speed``: 0 plays as fast as the venue can encode and the feed reads; else so many times real time. A reader of a
ring that was lapped, a tick that the feed rejected, a reconnect: the run is then no proof, and is said to be none.

Prints a table, then one JSON object as the last line. Exit code 0: all the same; 1: they differ; 2: it could not be
run.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hft_engine.feed.recorded import RecordingError, open_recording
from hft_engine.instruments import InstrumentTable
from hft_engine.runtime.rundir import SHM, RunError
from hft_engine.views.status import collect

START_TIMEOUT_S, PLAY_TIMEOUT_S, BACKTEST_TIMEOUT_S = 180.0, 600.0, 600.0
POLL_S = 0.2
COLUMNS = {
    "signals": "sequence, source_sequence, symbol, side, rule, strength, price, value, probability, model_id, "
    "ts_venue_ns, ts_expiry_ns, chain_hash",
    "orders": "sequence, source_sequence, symbol, order_id, side, kind, status, reason, quantity, filled, limit_price, "
    "price, ts_venue_ns, ts_arrival_ns, ts_expiry_ns, signal_sequence",
    "fills": "sequence, source_sequence, symbol, order_id, side, liquidity, price, quantity, fee, realised, position, "
    "cash, ts_venue_ns, signal_sequence, chain_hash",
    "bars": "sequence, source_sequence, symbol, kind, ts_start_ns, ts_end_ns, open, high, low, close, volume, vwap, "
    "trade_count, late_count, flags",
}
Rows = list[tuple[Any, ...]]


class NoProofError(Exception):
    """The live run lost something, or could not be run; the text says what."""


class Live:
    """An engine in the foreground of a process of its own, its files in ``folder``."""

    def __init__(self, folder: Path, options: Sequence[str]) -> None:
        self.folder = folder
        # A short name in shared memory: sockets lie below it.
        self._run_root = Path(tempfile.mkdtemp(prefix="hft-v-", dir=SHM if os.access(SHM, os.W_OK) else None))
        self._log = (folder / "engine.out").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hft_engine", "start", *options],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HFT_RUN_ROOT": str(self._run_root)},
        )

    def status(self) -> dict[str, Any] | None:
        """None while it is only starting. Raises NoProofError when it has ended."""
        if self._process.poll() is not None:
            tail = (self.folder / "engine.out").read_text(errors="replace")[-2_000:]
            raise NoProofError(f"the engine ended with code {self._process.returncode}:\n{tail}")
        found = list(self._run_root.glob("*/*/run.json"))
        try:
            return collect(found[0].parent) if found else None
        except (RunError, KeyError):
            return None

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)
        self._log.close()
        shutil.rmtree(self._run_root, ignore_errors=True)


@contextlib.contextmanager
def scratch(keep: str | None) -> Iterator[Path]:
    """``keep``, or a folder that is removed afterwards."""
    if keep is not None:
        Path(keep).mkdir(parents=True, exist_ok=True)
        yield Path(keep).resolve()
        return
    with tempfile.TemporaryDirectory(prefix="hft-verify-") as folder:
        yield Path(folder)


def settings(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """Options of the live run and of both backtests."""
    options = ["--config", arguments.config] if arguments.config else []
    for override in (
        f"engine.data_dir={folder / 'data'}",
        f"engine.log_dir={folder / 'logs'}",
        "execution.equity_every_ms=60000",
        "feed.health.ticks=false",  # health is judged by the clock, which says nothing of a day played in a minute
        *arguments.overrides,
    ):
        options += ["--set", override]
    return options


def play(arguments: argparse.Namespace, folder: Path, symbols: Sequence[str], ticks: int) -> dict[str, float]:
    """The live run until its last tick has been dealt with. Raises NoProofError."""
    sources = ",".join(str(Path(path).resolve()) for path in arguments.paths)
    options = settings(arguments, folder)
    for override in (
        f"engine.layout={arguments.layout}",
        f"simulator.source={sources}",
        f"simulator.speed={arguments.speed}",
        f"feed.symbols=[{','.join(symbols)}]",
        "feed.channels=[T,Q]",  # no bars of the venue: the files have none
        "feed.quiet_after_ms=60000",
        "feed.dead_after_ms=120000",
        "feed.reconnect.cap_ms=180000",
        "feed.reconnect.stable_reset_ms=240000",
    ):
        options += ["--set", override]
    live = Live(folder, options)
    try:
        return _until_done(live, ticks, arguments.kills)
    finally:
        live.stop()


def _until_done(live: Live, ticks: int, kills: int) -> dict[str, float]:
    """Waits until every tick is on the ring and every reader is through; kills execution on the way, at even shares of
    the ticks. Returns figures of the run.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    first_s = 0.0
    killed: list[int] = []
    while True:
        if time.monotonic() > deadline:
            raise NoProofError(f"the live run was not done in time: {_progress(live.status(), ticks)}")
        state = live.status()
        if state is not None and _published(state, "ticks"):
            if not first_s:
                first_s = time.monotonic()
                deadline = first_s + PLAY_TIMEOUT_S
            if len(killed) < kills and _published(state, "ticks") > ticks * (len(killed) + 1) // (kills + 1):
                _kill(state, killed)
            elif _published(state, "ticks") >= ticks and not _lag(state):
                _require_no_loss(state, ticks)
                return {
                    "live_ticks_per_s": round(ticks / (time.monotonic() - first_s)),
                    "kills": len(killed),
                }
        time.sleep(POLL_S)


def _kill(state: dict[str, Any], killed: list[int]) -> None:
    """SIGKILL to the process that trades, unless it is the one that was killed last."""
    pid = next(int(actor["pid"]) for actor in state["actors"] if actor["role"] == "execution")
    if pid and pid not in killed:
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)


def _published(state: dict[str, Any], name: str) -> int:
    return int(next((ring["published"] for ring in state["rings"] if ring["name"] == name), 0))


def _lag(state: dict[str, Any]) -> int:
    return sum(int(reader["lag"]) for ring in state["rings"] for reader in ring["readers"])


def _progress(state: dict[str, Any] | None, ticks: int) -> str:
    return "it never ran" if state is None else f"{_published(state, 'ticks'):,} of {ticks:,} ticks came"


def _require_no_loss(state: dict[str, Any], ticks: int) -> None:
    lapped = [
        f"{reader['role']} on {ring['name']}: {reader['lapped']:,}"
        for ring in state["rings"]
        for reader in ring["readers"]
        if reader["lapped"]
    ]
    feed = state["feed"]
    if lapped or feed["rejected"] or feed["reconnects"] or _published(state, "ticks") != ticks:
        raise NoProofError(
            f"the live run lost something: lapped {lapped or 'nobody'}, {feed['rejected']} rejected, "
            f"{feed['reconnects']} reconnects, {_progress(state, ticks)}; play it slower (--speed)"
        )


def backtest(paths: Sequence[str], options: Sequence[str], database: Path) -> dict[str, Any]:
    """One ``hft backtest`` in a process of its own. Raises NoProofError."""
    command = [sys.executable, "-m", "hft_engine", "backtest", "--json", "--db", str(database)]
    done = subprocess.run(
        [*command, *options, *paths], capture_output=True, text=True, timeout=BACKTEST_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise NoProofError(f"hft backtest failed: {done.stderr.strip()[-2_000:]}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def rows(database: Path, table: str) -> Rows:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(f"SELECT {COLUMNS[table]} FROM {table} ORDER BY sequence").fetchall()
    finally:
        connection.close()


def first_difference(table: str, one: Rows, other: Rows) -> str:
    """Where two tables part; "" where they do not."""
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            names = COLUMNS[table].split(", ")
            named = next((n, a, b) for n, a, b in zip(names, mine, theirs, strict=True) if a != b)
            return f"{table} {mine[0]}: {named[0]} is {named[1]!r} and {named[2]!r}"
    return "" if len(one) == len(other) else f"{table}: {len(one):,} and {len(other):,} rows"


def compare(databases: dict[str, Path]) -> dict[str, Any]:
    """Rows of each table, and the first difference of every other database to the live one."""
    live = databases["live"]
    found: dict[str, Any] = {"rows": {}, "differences": []}
    for table in COLUMNS:
        expected = rows(live, table)
        found["rows"][table] = len(expected)
        for name, database in databases.items():
            difference = first_difference(table, expected, rows(database, table))
            if difference:
                found["differences"].append(f"live and {name}: {difference}")
    return found


def in_order_of_arrival(paths: Sequence[str]) -> list[str]:
    """By their first tick: a live feed gives instruments their ids in that order, a recording in that of its files."""

    def first_ns(path: str) -> int:
        return int(next(iter(open_recording(path, InstrumentTable.private(1_000))))["ts_recv_ns"][0])

    return sorted(paths, key=first_ns)


def verify(arguments: argparse.Namespace) -> dict[str, Any]:
    """Live, both backtests, the comparison. Raises NoProofError."""
    table = InstrumentTable.private(1_000)
    arguments.paths = in_order_of_arrival(arguments.paths)
    recording = open_recording(arguments.paths, table)
    with scratch(arguments.keep) as folder:
        _say(
            f"live: {recording.count:,} ticks of {', '.join(table.symbols())}, layout {arguments.layout} ..."
        )
        figures = play(arguments, folder, table.symbols(), recording.count)
        options = settings(arguments, folder)
        (session,) = (folder / "data" / "journal").iterdir()
        databases = {"live": folder / "data" / "market_data.db"}
        for name, paths in (("journal", [str(session)]), ("files", arguments.paths)):
            _say(f"backtest of the {name} ...")
            databases[name] = folder / f"{name}.db"
            databases[name].unlink(missing_ok=True)
            report = backtest(paths, options, databases[name])
            figures[f"{name}_ticks_per_s"] = round(report["ticks_per_s"])
        found = compare(databases)
    same = not found["differences"]
    return {
        "same": same,
        "ticks": recording.count,
        **found,
        "signal_hash": report["signal_hash"],
        "fill_hash": report["fill_hash"],
        "layout": arguments.layout,
        **figures,
    }


def show(found: dict[str, Any]) -> None:
    table = Table("compared", "rows", "live, journal, files")
    for name, count in found["rows"].items():
        parted = [text for text in found["differences"] if f": {name}" in text]
        table.add_row(name, f"{count:,}", "[red]DIFFERENT[/red]" if parted else "same")
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    for text in found["differences"]:
        console.print(text)
    console.print(
        f"{found['ticks']:,} ticks; live {found['live_ticks_per_s']:,} ticks/s in layout {found['layout']}, "
        f"backtest of the journal {found['journal_ticks_per_s']:,}, of the files {found['files_ticks_per_s']:,} ticks/s"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="recorded files, merged by time")
    parser.add_argument("--layout", choices=("compact", "dedicated"), default="compact")
    parser.add_argument(
        "--speed", type=float, default=0.0, help="times real time; 0 (default): as fast as it goes"
    )
    parser.add_argument(
        "--kills", type=int, default=0, help="kill -9 the process that trades so often on the way"
    )
    parser.add_argument("--config", help="configuration file")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--keep", metavar="DIR", help="keep journal, databases and logs there")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    try:
        found = verify(_arguments(argv))
    except (NoProofError, RecordingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(found)
    print(json.dumps(found))
    return 0 if found["same"] else 1


if __name__ == "__main__":
    sys.exit(main())
