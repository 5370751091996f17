"""The contenders of ``backtest``: environments for those that need other packages, and each in its own process."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks import machine

WORKER = Path(__file__).with_name("backtest_worker.py")
INSTALL_TIMEOUT_S = 900.0
STOP_TIMEOUT_S = 10.0
LINES_SHOWN = 5  # of what a contender said before it failed


class ContenderError(RuntimeError):
    """A contender cannot take part; the text says why and what helps."""


@dataclass(frozen=True)
class Environment:
    """A peer's packages, which may contradict ours, in a virtual environment under the cache directory."""

    name: str
    requirement: str

    @property
    def folder(self) -> Path:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return base / "hft_engine" / "peers" / self.name

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def _made_of(self) -> Path:
        return self.folder / "made_of"  # written last: without it the environment is incomplete

    def is_ready(self) -> bool:
        return self._made_of.is_file() and self._made_of.read_text() == self.requirement

    def prepare(self, interpreter: str) -> None:
        """Make it afresh. Raises ContenderError with what pip said."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._do([interpreter, "-m", "venv", str(self.folder)])
        self._do([str(self.python), "-m", "pip", "install", "--quiet", self.requirement])
        self._made_of.write_text(self.requirement)

    def _do(self, command: list[str]) -> None:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ContenderError(f"{self.name}: {error}") from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-LINES_SHOWN:]
            raise ContenderError(f"{self.name}: {' '.join(command[1:])} failed: {' | '.join(said)}")


NAUTILUS = Environment("nautilus_trader", "nautilus_trader>=1.200,<2")
HFTBACKTEST = Environment("hftbacktest", "hftbacktest>=2.4,<3")
BACKTESTING = Environment("backtesting", "backtesting>=0.6.5,<0.7")
ENVIRONMENTS = (NAUTILUS, HFTBACKTEST, BACKTESTING)


@dataclass(frozen=True)
class Contender:
    """``key``: in names of figures. ``from_first``: its EMAs start at the first price, not as a mean."""

    title: str
    key: str
    module: str
    variant: str = ""
    environment: Environment | None = None
    from_first: bool = False


OURS = Contender("hft_engine", "", "benchmarks.load.backtest_ours", "none")
OURS_COMPACT = Contender(
    "hft_engine, two processes", "compact", "benchmarks.load.backtest_ours", "none compact"
)
OURS_MODEL = Contender("hft_engine, model on every tick", "model", "benchmarks.load.backtest_ours", "model")
OURS_TRADING = Contender(
    "hft_engine, follows on paper", "trading", "benchmarks.load.backtest_ours", "trading"
)
# The first to run compiles what is not in the kernel cache: not the one whose memory is a figure.
OF_OURS = (OURS_COMPACT, OURS, OURS_TRADING, OURS_MODEL)
NAUTILUS_TRADER = Contender("nautilus_trader", "nautilus", "backtest_nautilus", "", NAUTILUS, from_first=True)
HFT_FEED = Contender("hftbacktest, each event", "hftbacktest", "backtest_hftbacktest", "feed", HFTBACKTEST)
HFT_100MS = Contender(
    "hftbacktest, every 100 ms", "hftbacktest_100ms", "backtest_hftbacktest", "100ms", HFTBACKTEST
)
BACKTESTING_PY = Contender(
    "backtesting.py", "backtesting_py", "backtest_backtestingpy", "", BACKTESTING, from_first=True
)
BARE = Contender("bare numba loop", "bare_loop", "benchmarks.load.backtest_bare")
OTHERS = (NAUTILUS_TRADER, HFT_FEED, HFT_100MS, BACKTESTING_PY, BARE)


@dataclass
class Worker:
    """A contender's process, loaded and warm; ``replay`` is one measured run. Raises ContenderError."""

    contender: Contender
    ticks: Path
    rule: Mapping[str, float]
    about: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> "Worker":
        command = self._command()
        self._said = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            cwd=machine.ROOT,
        )
        try:
            self.about = self._answer()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def replay(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return self._answer()

    def _command(self) -> list[str]:
        contender = self.contender
        arguments = [contender.module, contender.variant, str(self.ticks), json.dumps(dict(self.rule))]
        if contender.environment is None:
            return [sys.executable, "-m", "benchmarks.load.backtest_worker", *arguments]
        if not contender.environment.is_ready():
            raise ContenderError(
                f"{contender.title}: no environment in {contender.environment.folder}; "
                "make it: python -m benchmarks.load.backtest --prepare"
            )
        return [str(contender.environment.python), "-P", str(WORKER), *arguments]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._said.seek(0)
            said = self._said.read().strip().splitlines()[-LINES_SHOWN:]
            raise ContenderError(f"{self.contender.title}: its process ended: {' | '.join(said)}")
        return dict(json.loads(line))

    def _stop(self) -> None:
        try:
            self._process.communicate(timeout=STOP_TIMEOUT_S)  # closes its input: it ends by itself
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._said.close()
