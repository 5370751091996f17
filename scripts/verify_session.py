"""Records a live session in which everything changes, and proves again and again that a replay of it is the same.

    python scripts/verify_session.py [--runs 10] [--ticks-per-s 2000] [--reconnects 3] [--layout dedicated]

The session: an engine in processes of its own against the simulated venue, through a proxy that cuts the connection
``--reconnects`` times; one change of the configuration, one of the subscription, one swap of the model, one actor
killed. Then ``--runs`` times ``hft replay --verify``, each in a process of its own, over all layouts, at full and at
limited speed, each with another PYTHONHASHSEED.

Prints a table, then one JSON object as the last line. Exit code 0: every run says IDENTICAL; 1: one does not; 2: the
session could not be recorded.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from hft_engine.feed.simulator.symbols import market_symbols

ROOT = Path(__file__).resolve().parents[1]
LAYOUTS = ("inline", "compact", "dedicated")
SPEEDS = (0.0, 0.0, 8.0)  # by run, along with the layout
INSTRUMENTS = 20
LATER = 5  # of them subscribed to only while it runs
WAIT_S = 60.0
RUN_TIMEOUT_S = 600
SIGNALS_BETWEEN = 30  # from one change to the next


class CourseError(Exception):
    """The session did not take the course it should; the text says where."""


class Cutter:
    """A TCP proxy on loopback whose connections can be cut."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection, as a network does: without a word."""
        ends, self._open = self._open, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                venue = socket.create_connection(("127.0.0.1", self._upstream))
            except OSError:
                return
            self._open += [client, venue]
            for source, target in ((client, venue), (venue, client)):
                threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise CourseError(f"not within {WAIT_S:.0f} s: {what}")
        time.sleep(0.05)


@contextlib.contextmanager
def venue(ticks_per_s: float) -> Iterator[int]:
    """The port of a simulated venue of its own."""
    command = [sys.executable, "-m", "hft_engine", "sim", "polygon", "--instruments", str(INSTRUMENTS)]
    command += ["--ticks-per-s", str(ticks_per_s)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = next((m for line in process.stdout if (m := re.search(r"ws://[\w.]+:(\d+)", line))), None)
            if found is None:
                raise CourseError("the simulated venue did not start")
            yield int(found.group(1))
        finally:
            process.terminate()
            process.communicate(timeout=10)


class Engine:
    """A live engine with its files in ``folder``, driven by the commands a person uses."""

    def __init__(self, folder: Path, port: int, layout: str) -> None:
        self.folder = folder
        self.config = folder / "session.yaml"
        self.config.write_text(yaml.safe_dump(_config(folder, port, layout)))

    def hft(self, *arguments: str) -> str:
        command = [
            sys.executable,
            "-m",
            "hft_engine",
            arguments[0],
            "--config",
            str(self.config),
            *arguments[1:],
        ]
        if arguments[0] == "model":
            command[3:] = ["model", "swap", "--config", str(self.config), *arguments[2:]]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
        )
        if done.returncode:
            raise CourseError(f"hft {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def status(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.hft("status", "--json"))
        return state

    def more_signals(self) -> None:
        before = self.status()["signals"]["published"]
        wait_for(
            lambda: self.status()["signals"]["published"] >= before + SIGNALS_BETWEEN,
            f"{SIGNALS_BETWEEN} more signals",
        )

    def has_reconnected(self, times: int) -> bool:
        files = (self.folder / "data" / "journal").glob("*/events-feed.jsonl")
        return sum(file.read_text().count('"kind":"reconnect"') for file in files) == times

    def kill(self, role: str) -> None:
        def life() -> tuple[int, str]:
            found = next(actor for actor in self.status()["actors"] if actor["role"] == role)
            return found["pid"], found["state"]

        dead = life()[0]
        os.kill(dead, signal.SIGKILL)
        wait_for(lambda: life()[0] != dead and life()[1] == "running", f"{role} restarted")

    @property
    def session(self) -> Path:
        (found,) = (self.folder / "data" / "journal").iterdir()
        return found


def _config(folder: Path, port: int, layout: str) -> dict[str, Any]:
    """The demo's configuration against a venue of its own, its rules near enough to fire often."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    config.pop("learning")  # swaps are made here by hand
    del config["simulator"]
    config["engine"] |= {
        "layout": layout,
        "run_root": str(folder / "run"),
        "data_dir": str(folder / "data"),
        "log_dir": str(folder / "logs"),
    }
    config["feed"] |= {
        "url": f"ws://127.0.0.1:{port}/stocks",
        "api_key": "demo",
        "symbols": list(market_symbols(INSTRUMENTS))[:-LATER],
        "reconnect": {"initial_ms": 50},  # the first retry is at once
    }
    config["signals"]["cooldown_ms"] = 100
    return config


def record(folder: Path, layout: str, ticks_per_s: float, reconnects: int) -> Path:
    """Live a session through all its changes. Returns its folder. Raises CourseError."""
    with venue(ticks_per_s) as port:
        cutter = Cutter(port)
        engine = Engine(folder, cutter.port, layout)
        (folder / "run").mkdir()
        engine.hft("start", "--detach")
        try:
            _course(engine, cutter, reconnects)
        finally:
            engine.hft("stop")
            cutter.close()
    return engine.session


def _course(engine: Engine, cutter: Cutter, reconnects: int) -> None:
    changes: list[Callable[[], object]] = [
        lambda: engine.hft("set", "signals.cooldown_ms=50", "signals.rules.tick_low.enter=28"),
        lambda: engine.hft("subscribe", *list(market_symbols(INSTRUMENTS))[-LATER:]),
        lambda: engine.hft("model", "swap", "models/demo/direction.txt"),
        lambda: engine.kill("signals"),
    ]
    for step in range(max(reconnects, len(changes))):
        engine.more_signals()
        if step < len(changes):
            changes[step]()
        if step < reconnects:
            cutter.cut()
            wait_for(partial(engine.has_reconnected, step + 1), f"reconnect {step + 1}")
    engine.more_signals()


def verify(session: Path, run: int) -> dict[str, Any]:
    """One ``hft replay --verify`` in a process of its own: what it printed, and how it was run."""
    layout, speed = LAYOUTS[run % len(LAYOUTS)], SPEEDS[run // len(LAYOUTS) % len(SPEEDS)]
    command = [sys.executable, "-m", "hft_engine", "replay", str(session), "--verify", "--json"]
    command += [
        "--layout",
        layout,
        "--speed",
        str(speed),
        "--set",
        f"engine.run_root={session.parents[2] / 'run'}",
    ]
    environment = {**os.environ, "PYTHONHASHSEED": str(run), "HFT_RUN_ROOT": str(session.parents[2] / "run")}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False, env=environment
    )
    told: dict[str, Any] = {
        "speed": speed,
        "hash_seed": run,
        "layout": layout,
        "exit": done.returncode,
        "identical": False,
    }
    if done.stdout.strip():
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told | answer
    return told | {"error": done.stderr.strip()}


def show(runs: Sequence[dict[str, Any]]) -> bool:
    """Print table and JSON. Returns whether every run says IDENTICAL."""
    table = Table("run", "layout", "speed", "hash seed", "ticks", "signals", "signal hash", "")
    for number, run in enumerate(runs, 1):
        answer = (
            "IDENTICAL"
            if run["identical"]
            else f"exit {run['exit']}: {run.get('error') or run.get('difference')}"
        )
        speed = f"{run['speed']:g}x" if run["speed"] else "full"
        cells = [run["layout"], speed, run["hash_seed"], run.get("ticks", ""), run.get("signals", "")]
        table.add_row(str(number), *map(str, cells), run.get("signal_hash", ""), answer)
    identical = sum(run["identical"] for run in runs)
    same = len({run.get("signal_hash") for run in runs}) == 1
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    first = runs[0]
    told = {name: first.get(name) for name in ("ticks", "signals", "signal_hash", "repeated", "happened")}
    print(json.dumps({"runs": len(runs), "identical": identical, **told}))
    return identical == len(runs) and same


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--reconnects", type=int, default=3)
    parser.add_argument("--ticks-per-s", type=float, default=2_000.0)
    parser.add_argument("--layout", choices=LAYOUTS, default="dedicated", help="of the live session")
    parser.add_argument("--folder", type=Path, help="where the session is kept; default: a temporary folder")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _arguments(argv)
    with contextlib.ExitStack() as stack:
        folder = arguments.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="hft-session-"))
        )
        folder.mkdir(parents=True, exist_ok=True)
        try:
            session = record(folder, arguments.layout, arguments.ticks_per_s, arguments.reconnects)
        except CourseError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        runs = []
        for run in range(arguments.runs):
            print(f"run {run + 1} of {arguments.runs} ...", file=sys.stderr, flush=True)
            runs.append(verify(session, run))
        return 0 if show(runs) else 1


if __name__ == "__main__":
    sys.exit(main())
