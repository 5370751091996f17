"""Starting the engine for a person: in the foreground, or in the background until it is live."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hft_engine import engine, preflight
from hft_engine.background import Notifier, inherited_overrides, launch
from hft_engine.config.redact import redacted_url
from hft_engine.config.schema import Config
from hft_engine.feed.states import FEED_STATES
from hft_engine.preflight import can_learn
from hft_engine.runtime import kernelcache
from hft_engine.runtime.forkserver import ForkServer
from hft_engine.runtime.rundir import DataLock
from hft_engine.shm.counters import Stats
from hft_engine.topology import PRELOAD

__all__ = ["can_learn", "detached", "foreground", "inherited_overrides", "warm"]

Say = Callable[[str], None]
CORES_FOR_DEDICATED = 6  # a core for each hot process and two for the rest
LOSSES_TELLING = 3  # attempts that failed, two of them at once, before the starter stops waiting for the feed


def foreground(
    config: Config,
    say: Say,
    resume: str | None = None,
    on_ready: Callable[[engine.Run], None] = lambda run: None,
    on_end: Callable[[engine.Run], None] = lambda run: None,
) -> int:
    """Run until stopped. Returns the exit code. ``resume``: go on with this session, "" for the last one.

    ``on_ready``: once it runs; ``on_end``: when its actors have stopped and its shared memory is still there.
    """
    notifier = Notifier()
    for number in (signal.SIGTERM, signal.SIGHUP):  # until the supervisor listens: leave, but clean up
        signal.signal(number, lambda n, frame: sys.exit(128 + n))

    def tell(text: str) -> None:
        say(text)
        notifier.line(f"say {text}")

    def ready(run: engine.Run) -> None:
        _ready(run, notifier, say)
        on_ready(run)

    try:
        preflight.check(config)
        return engine.run(
            config,
            on_ready=ready,
            finished=lambda run: _watch_live(run, notifier),
            on_end=on_end,
            say=tell,
            resume=resume,
        )
    except Exception as error:
        notifier.line(f"say error: {error}")
        raise
    finally:
        notifier.close()


def _ready(run: engine.Run, notifier: Notifier, say: Say) -> None:
    notifier.line(f"ready {run.directory.run_id}")
    say(f"engine {run.directory.run_id} is running, layout {run.topology.layout}")
    _say_commands(("live view", "top"), ("signals", "tail signals"), say=say)
    say("  stop        Ctrl-C")


def _say_commands(*commands: tuple[str, str], say: Say) -> None:
    hft = "hft" if shutil.which("hft") else os.path.relpath(Path(sys.executable).with_name("hft"))
    for name, command in commands:
        say(f"  {name:<11} {hft} {command}")


def _watch_live(run: engine.Run, notifier: Notifier) -> bool:
    if notifier.active:
        counters = Stats.attach(run.directory.path / "feed.stats", writable=False).counters()
        if FEED_STATES[counters.get("state", 0)] == "live":
            notifier.line("live")
            notifier.close()
        elif counters.get("losses", 0) >= LOSSES_TELLING:
            notifier.line("trying")
            notifier.close()
    return False


def detached(config: Config, arguments: Sequence[str], overrides: Sequence[str], say: Say) -> int:
    """Start in the background; returns when the feed is live (0), not live yet (0, saying so), or it failed.

    All else that can be wrong before anything runs is looked at, and said, by the process that is started.
    """
    log_dir = Path(config.engine.log_dir)
    preflight.check_folders(config)
    lock = DataLock(Path(config.engine.data_dir))  # refuse a second start at once, in so many words
    lock.release()
    started = time.monotonic()
    output = log_dir / "engine.out"
    code, state = launch(arguments, overrides, output, say)
    seconds = time.monotonic() - started
    if state == "ended":
        if not code:
            say(f"error: the engine was stopped before it was live; see {log_dir / 'trading_agent.log'}")
        return code or 1
    say(f"engine is running, feed {'live' if state == 'live' else 'not live yet'} ({seconds:.1f} s)")
    say(f"  logs        tail -f {log_dir / 'trading_agent.log'}")
    _say_commands(
        ("live view", "top"), ("signals", "tail signals"), ("status", "status"), ("stop", "stop"), say=say
    )
    if config.engine.layout == "dedicated" and (os.cpu_count() or 1) < CORES_FOR_DEDICATED:
        say(f"  tip         {os.cpu_count()} cores: --layout compact has less latency (docs/performance.md)")
    if state != "live":
        say(f"  the feed keeps trying to reach {_venue(config)}; why it fails: {log_dir / 'feed.log'}")
    return 0


def _venue(config: Config) -> str:
    if config.simulator is not None:
        return "the demo venue"
    return redacted_url(config.feed.url) if config.feed.url else config.feed.venue


def warm(say: Say) -> int:
    """Fill the kernel cache. Returns the exit code."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(kernelcache.use())}
    started = time.monotonic()
    server = ForkServer(PRELOAD, environment)
    try:
        for step in server.warming():
            say(f"  {step.module} ({step.index + 1}/{step.total})")
    finally:
        server.close()
    say(f"kernels ready after {time.monotonic() - started:.1f} s in {kernelcache.use()}")
    return 0
