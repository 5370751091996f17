"""`hft top`: the status, live, in a terminal."""

import contextlib
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from hft_engine.views.panels import overview
from hft_engine.views.run import RunView
from hft_engine.views.status import snapshot
from hft_engine.views.tail import messages, signal_line

REFRESH_S = 0.5
SIGNALS_SHOWN = 8


def watch(run_dir: Path, console: Console | None = None, refreshes: int | None = None) -> None:
    """Show a run until q, Ctrl-C, its end, or ``refreshes`` pictures. Raises RunError."""
    run = RunView(run_dir)
    console = console or Console()
    shown = 0
    with (
        contextlib.suppress(KeyboardInterrupt),
        _keys(),
        Live(picture(run), console=console, screen=console.is_terminal, auto_refresh=False) as live,
    ):
        while refreshes is None or shown < refreshes:
            live.update(picture(run), refresh=True)
            shown += 1
            if not run.alive or _pressed_q():
                break
    if not run.alive:
        console.print("the engine has ended")


def picture(run: RunView) -> Group:
    """One picture of the run as it is now."""
    latest = messages(run, run.rings["signals"].last(SIGNALS_SHOWN))
    lines = Text("\n".join(signal_line(message) for message in reversed(latest)) or "none yet", no_wrap=True)
    return overview(snapshot(run), Panel(lines, title="latest signals", title_align="left"))


def _pressed_q() -> bool:
    """Waits REFRESH_S for a key."""
    if not sys.stdin.isatty():
        time.sleep(REFRESH_S)
        return False
    return bool(select.select([sys.stdin], [], [], REFRESH_S)[0]) and sys.stdin.read(1).lower() == "q"


@contextlib.contextmanager
def _keys() -> Iterator[None]:
    """Single keys without Enter, the terminal put back as it was."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
