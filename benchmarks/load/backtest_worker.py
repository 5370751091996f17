"""One contender of ``backtest`` in a process of its own: loads, warms up, then replays whenever it is asked to.

Run as a script with a peer's own interpreter, so the standard library and numpy are all that may be imported here.
A contender's module has a class ``Contender(variant, ticks, rule)`` with ``version`` and ``run() -> Replayed``.
Answers are JSON lines on what was standard output; whatever a contender prints goes to standard error.
"""

import gc
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

RUN_S_MIN = 0.2  # a replay that takes less is repeated, so that one timer tick does not make the figure


class Replayed(NamedTuple):
    """What one replay did; ``seconds`` without making or loading anything."""

    ticks: int
    crosses: int
    seconds: float


def timed(replay: Callable[[], Any]) -> float:
    """Seconds that ``replay`` takes."""
    started = time.perf_counter()
    replay()
    return time.perf_counter() - started


def memory_mb(what: str) -> float:
    """``VmRSS`` (now) or ``VmHWM`` (the peak) of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {what}")


def repeated(run: Callable[[], Any]) -> dict[str, float]:
    """Replays for RUN_S_MIN at least: ticks and seconds in all, ticks and crosses of the last replay."""
    gc.collect()
    ticks, seconds = 0, 0.0
    while seconds < RUN_S_MIN:
        done = Replayed(*run())
        ticks, seconds = ticks + done.ticks, seconds + done.seconds
    return {
        "rate": ticks / seconds,
        "ticks": done.ticks,
        "crosses": done.crosses,
        "peak_mb": memory_mb("VmHWM"),
    }


def serve(module: str, variant: str, file: str, rule: dict[str, float], answers: TextIO) -> None:
    """Make the contender, say what that took, then one run for each line that comes."""
    instants = [time.perf_counter()]
    made = importlib.import_module(module)
    instants.append(time.perf_counter())
    with np.load(file) as archive:
        ticks = {name: archive[name] for name in archive.files}
    contender = made.Contender(variant, ticks, rule)
    instants.append(time.perf_counter())
    first = Replayed(*contender.run())
    instants.append(time.perf_counter())
    import_s, load_s, first_s = np.diff(instants).tolist()
    _say(
        answers,
        {
            "version": contender.version,
            "python": platform.python_version(),
            "import_s": import_s,
            "load_s": load_s,
            "first_s": first_s,
            "crosses": first.crosses,
        },
    )
    for _ in sys.stdin:
        _say(answers, repeated(contender.run))


def _say(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def main() -> int:
    module, variant, file, rule = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path.append(str(Path(__file__).resolve().parent))  # last: no file here hides an installed package
    serve(module, variant, file, json.loads(rule), answers)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
