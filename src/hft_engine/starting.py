"""Starting the engine for a person: in the foreground, or in the background until it is live."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hft_engine import engine
from hft_engine.background import Notifier, launch
from hft_engine.config.schema import Config
from hft_engine.feed.states import FEED_STATES
from hft_engine.runtime import kernelcache
from hft_engine.runtime.forkserver import ForkServer
from hft_engine.runtime.rundir import DataLock
from hft_engine.shm.counters import Stats
from hft_engine.topology import PRELOAD

Say = Callable[[str], None]


def foreground(config: Config, say: Say) -> int:
    """Run until stopped. Returns the exit code."""
    notifier = Notifier()

    def tell(text: str) -> None:
        say(text)
        notifier.line(f"say {text}")

    try:
        return engine.run(
            config,
            on_ready=lambda run: _ready(run, notifier, say),
            finished=lambda run: _watch_live(run, notifier),
            say=tell,
        )
    except Exception as error:
        tell(f"error: {error}") if notifier.active else None
        raise
    finally:
        notifier.close()


def _ready(run: engine.Run, notifier: Notifier, say: Say) -> None:
    notifier.line(f"ready {run.directory.run_id}")
    say(f"engine {run.directory.run_id} is running, layout {run.topology.layout}")
    say("  hft top           live view\n  hft tail signals  signals as they happen\n  Ctrl-C            stop")


def _watch_live(run: engine.Run, notifier: Notifier) -> bool:
    if notifier.active:
        stats = Stats.attach(run.directory.path / "feed.stats", writable=False)
        if FEED_STATES[stats.counters().get("state", 0)] == "live":
            notifier.line("live")
            notifier.close()
    return False


def detached(config: Config, arguments: Sequence[str], say: Say) -> int:
    """Start in the background; returns when the feed is live (0), not live yet (0, saying so), or it failed."""
    log_dir = Path(config.engine.log_dir)
    lock = DataLock(Path(config.engine.data_dir))  # refuse a second start at once, in so many words
    lock.release()
    started = time.monotonic()
    output = log_dir / "engine.out"
    code, state = launch(arguments, output, say)
    seconds = time.monotonic() - started
    if state == "ended":
        if not code:
            say(f"the engine ended at once; see {output}")
        return code or 1
    say(f"engine is running, feed {'live' if state == 'live' else 'not live yet'} ({seconds:.1f} s)")
    say(f"  logs        tail -f {log_dir / 'trading_agent.log'}")
    say(
        "  live view   hft top\n  signals     hft tail signals\n  status      hft status\n  stop        hft stop"
    )
    if state != "live":
        say(f"  the feed keeps trying; see {log_dir / 'feed.log'}")
    return 0


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
