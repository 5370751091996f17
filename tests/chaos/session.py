"""An engine against a venue that is nobody's child but ours: what the venue sends is the same whoever is killed."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

from hft_engine.runtime import run_record, rundir
from hft_engine.runtime.run_record import RunRecord
from hft_engine.views.run import RunView
from support.engine import ROOT, START_TIMEOUT_S, hft
from support.refusal import processes_of
from support.venue import venue
from support.waiting import wait_for

API_KEY = "chaos"
CHANNELS = ["T", "Q", "AM", "LULD"]  # all that the venue numbers, and its bars
RULES = [
    {"name": "up", "feature": "tick_return_1", "side": "buy", "when": "above",
     "enter": 1e-4, "release": -1e-7, "full": 1e-2},
    {"name": "heavy", "feature": "quote_imbalance", "side": "buy", "when": "above",
     "enter": 0.5, "release": 0.0, "full": 0.95},
    {"name": "light", "feature": "quote_imbalance", "side": "sell", "when": "below",
     "enter": -0.5, "release": 0.0, "full": -0.95},
    {"name": "model_up", "feature": "probability", "side": "buy", "when": "above",
     "enter": 0.55, "release": 0.52, "full": 0.75},
    {"name": "low", "feature": "bar_rsi", "side": "buy", "when": "below",
     "enter": 30.0, "release": 45.0, "full": 5.0},
]  # fmt: skip


def configuration(url: str, directory: Path) -> dict[str, Any]:
    """The demo's, without its venue; rules that fire some hundred times a second, of windows long and short."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    config.pop("learning")  # what is proven here is what every engine has
    config.pop("simulator")
    config["engine"] |= {"data_dir": str(directory / "data"), "log_dir": str(directory / "logs")}
    config["feed"] |= {"url": url, "api_key": API_KEY, "channels": CHANNELS, "symbols": ["*"]}
    config["inference"]["model"] = str(ROOT / "models" / "demo" / "direction.txt")
    config["signals"] |= {"rules": RULES, "cooldown_ms": 20, "strength_min": 0.5}
    config["supervisor"] = {"restarts_max": 1_000_000}
    return config


class Session:
    """A running engine. ``say`` commands with ``command``; look with ``view``."""

    def __init__(self, directory: Path, config: Path) -> None:
        self.directory = directory
        self.options = ["--config", str(config)]

    @property
    def data_dir(self) -> Path:
        return self.directory / "data"

    def command(self, *arguments: str, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
        return hft(*arguments, *self.options, timeout_s=timeout_s)

    def start(self, *flags: str) -> None:
        started = self.command("start", "--detach", *flags, timeout_s=START_TIMEOUT_S)
        assert started.returncode == 0, started.stdout + started.stderr

    def stop(self) -> None:
        answer = self.command("stop")
        assert answer.returncode == 0, answer.stdout + answer.stderr

    def run_dir(self) -> Path:
        return rundir.find_run(os.environ["HFT_RUN_ROOT"], None, self.data_dir)

    def view(self) -> RunView:
        return RunView(self.run_dir())

    def record(self) -> RunRecord:
        """Of the newest run that has ended."""
        return run_record.read(run_record.recorded(self.data_dir)[-1])

    def errors(self) -> list[dict[str, Any]]:
        answer = self.command("errors", "--json")
        assert answer.returncode == 0, answer.stderr
        found: list[dict[str, Any]] = json.loads(answer.stdout)["errors"]
        return found

    def processes(self) -> list[psutil.Process]:
        supervisor = psutil.Process(self.view().manifest.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def kill_everything(self) -> None:
        """Whatever is left of an engine of this root."""
        for process in processes_of(Path(os.environ["HFT_RUN_ROOT"])):
            with suppress(psutil.Error):
                process.kill()


@contextmanager
def private_root() -> Iterator[Path]:
    """A run root of our own in memory, and a folder for data; both gone afterwards, unless HFT_CHAOS_KEEP is set."""
    shm = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="hft-c-", dir=shm if os.access(shm, os.W_OK) else None))
    before = os.environ.get("HFT_RUN_ROOT")
    os.environ["HFT_RUN_ROOT"] = str(root)
    data = Path(tempfile.mkdtemp(prefix="hft-chaos-"))
    heeded = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a trial that is ended ends its engine
    try:
        yield data
    finally:
        signal.signal(signal.SIGTERM, heeded)
        if before is None:
            del os.environ["HFT_RUN_ROOT"]
        else:
            os.environ["HFT_RUN_ROOT"] = before
        subprocess.run(["rm", "-rf", str(root)], check=False)
        if os.environ.get("HFT_CHAOS_KEEP"):
            print(f"kept: {data}")
        else:
            subprocess.run(["rm", "-rf", str(data)], check=False)


def prepare(directory: Path, url: str, **sections: dict[str, Any]) -> Session:
    """An engine's configuration in ``directory``; ``sections`` are laid over it."""
    config = configuration(url, directory)
    for name, section in sections.items():
        config[name] = {**config.get(name, {}), **section}
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "engine.yaml"
    path.write_text(yaml.safe_dump(config))
    return Session(directory, path)


@contextmanager
def running(made: Session) -> Iterator[Session]:
    """Started in the background, live; stopped in the end where it still runs, and nothing of it is left."""
    try:
        made.start()
        yield made
        if rundir.live_runs(os.environ["HFT_RUN_ROOT"]):
            made.stop()
    finally:
        made.kill_everything()


@contextmanager
def session(
    directory: Path, ticks_per_s: float, seed: int = 7, **sections: dict[str, Any]
) -> Iterator[Session]:
    """A venue and an engine that is live; stopped in the end."""
    market = venue(API_KEY, "--ticks-per-s", str(ticks_per_s), "--seed", str(seed))
    with market as url, running(prepare(directory, url, **sections)) as made:
        yield made


def wait_for_ticks(view: RunView, count: int, timeout_s: float = 60) -> None:
    """``count`` more ticks than there are."""
    end = view.rings["ticks"].published + count
    wait_for(lambda: view.rings["ticks"].published >= end, f"{count} more ticks", timeout_s)
