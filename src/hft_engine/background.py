"""Starting the engine in the background: the starter follows it until it is live, then lets it go.

The engine writes lines to a pipe whose descriptor is in HFT_READY_FD: ``say …``, ``ready <run>``, and ``live`` or
``trying``. When the pipe closes before that, the engine ended, and its exit code is the starter's. Overrides of the
configuration go to it as its standard input, never in its arguments: anybody may read those as long as it runs.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from hft_engine.runtime import linux

READY_FD = "HFT_READY_FD"
STOP_TIMEOUT_S = 15.0  # after the starter was interrupted
NEWLINE = "\x1e"  # of a text, in its one line in the pipe
LIVE_TIMEOUT_S = 15.0  # after "ready": a feed that is not live by then is reported, not waited for


class Notifier:
    """The engine's end of the pipe; does nothing when it was not started in the background."""

    def __init__(self) -> None:
        fd = os.environ.pop(READY_FD, "")
        self._fd = int(fd) if fd else -1
        if self._fd >= 0:
            os.set_inheritable(self._fd, False)

    @property
    def active(self) -> bool:
        return self._fd >= 0

    def line(self, text: str) -> None:
        if self._fd >= 0:
            try:
                os.write(self._fd, (text.replace("\n", NEWLINE) + "\n").encode())
            except BrokenPipeError:
                self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def inherited_overrides() -> list[str]:
    """Of the starter, where this process was started by one. Call it before a Notifier is made."""
    return list(json.load(sys.stdin)) if os.environ.get(READY_FD) else []


def launch(
    arguments: Sequence[str], overrides: Sequence[str], output: Path, say: Callable[[str], None]
) -> tuple[int, str]:
    """Start ``python -m hft_engine <arguments>`` detached; returns (exit code, state): 0 and "live", 0 and
    "ready" when the feed is not live yet, or the code with which it ended and "ended".

    Interrupted (Ctrl-C), it stops what it started before it raises.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    read_fd, write_fd = os.pipe()
    os.set_inheritable(write_fd, True)
    with output.open("wb") as log, _file_in_memory(json.dumps(list(overrides)).encode()) as given:
        process = subprocess.Popen(
            [sys.executable, "-m", "hft_engine", *arguments],
            stdin=given,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[write_fd],
            env={**os.environ, READY_FD: str(write_fd)},
            start_new_session=True,
        )
    os.close(write_fd)
    try:
        return _follow(process, read_fd, say)
    except KeyboardInterrupt:
        say("interrupted: stopping what was started")
        _stop(process)
        raise
    finally:
        os.close(read_fd)


def _file_in_memory(content: bytes) -> BinaryIO:
    file = os.fdopen(os.memfd_create("hft-overrides"), "w+b")
    file.write(content)
    file.seek(0)  # flushes
    return file


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _follow(process: "subprocess.Popen[bytes]", fd: int, say: Callable[[str], None]) -> tuple[int, str]:
    deadline = _Deadline()
    for line in _lines(fd, deadline):
        if line == "live":
            return 0, "live"
        if line == "trying":
            return 0, "ready"
        if line.startswith("say "):
            say(line[4:].replace(NEWLINE, "\n"))
        if line.startswith("ready"):
            deadline.start(LIVE_TIMEOUT_S)
    if deadline.left_s() == 0.0 and process.poll() is None:
        return 0, "ready"
    return process.wait(10.0), "ended"


class _Deadline:
    """None until it is started."""

    def __init__(self) -> None:
        self._at: float | None = None

    def start(self, timeout_s: float) -> None:
        self._at = time.monotonic() + timeout_s

    def left_s(self) -> float | None:
        return None if self._at is None else max(0.0, self._at - time.monotonic())


def _lines(fd: int, deadline: _Deadline) -> Iterator[str]:
    """Lines until the pipe closes or the deadline, once there is one, passes."""
    pending = b""
    while True:
        if not linux.readable(fd, deadline.left_s()):
            return
        data = os.read(fd, 65536)
        if not data:
            return
        *whole, pending = (pending + data).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
