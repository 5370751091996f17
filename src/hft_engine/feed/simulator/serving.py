"""The simulated venue as a program of its own: ``serve`` blocks until it is told to stop."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
import msgspec

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.recorded import RecordingError
from hft_engine.feed.simulator.options import HEALTHY, VenueOptions
from hft_engine.feed.simulator.polygon import PUMP_TICKS_MAX, PolygonVenue, VenueError
from hft_engine.feed.simulator.session import VenueCounts
from hft_engine.feed.simulator.source import Source, open_source

PUMP_EVERY_S = 0.001
LOOPBACK = "127.0.0.1"


def serve(
    config: SimulatorConfig,
    host: str = LOOPBACK,
    port: int | None = None,
    *,
    on_ready: Callable[[int], None] = lambda port: None,
    stop: threading.Event | None = None,
    options: VenueOptions = HEALTHY,
    source: Source | None = None,
) -> VenueCounts:
    """Serve until ``stop`` is set; returns what was counted.

    ``port`` None: that of the configuration. ``on_ready`` is called with the port once clients can connect.
    Raises RecordingError (before listening) and VenueError (port in use).
    """
    source = source or open_source(config, time.time_ns())
    venue = PolygonVenue(config, source, options)
    return asyncio.run(
        _run(venue, host, config.port if port is None else port, on_ready, stop or threading.Event())
    )


async def _run(
    venue: PolygonVenue, host: str, port: int, on_ready: Callable[[int], None], stop: threading.Event
) -> VenueCounts:
    on_ready(await venue.start(host, port))
    try:
        while not stop.is_set():
            due = venue.pump(time.time_ns())
            await asyncio.sleep(0 if due >= PUMP_TICKS_MAX else PUMP_EVERY_S)
    finally:
        await venue.close()
    return venue.counts


class RunningVenue:
    """A venue on a thread of this process, for notebooks and tests: ``with RunningVenue(config) as venue: ...``

    Inside the block ``port``, ``url`` and ``counts`` hold; after it the thread is gone. Errors: as ``serve``.
    """

    def __init__(
        self, config: SimulatorConfig, *, options: VenueOptions = HEALTHY, source: Source | None = None
    ) -> None:
        self.port = config.port
        self._venue = PolygonVenue(config, source or open_source(config, time.time_ns()), options)
        self.counts = self._venue.counts
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="simulated venue")

    @property
    def url(self) -> str:
        return describe_address(LOOPBACK, self.port)

    def __enter__(self) -> "RunningVenue":
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _serve(self) -> None:
        try:
            asyncio.run(_run(self._venue, LOOPBACK, self.port, self._listening, self._stop))
        except VenueError as error:
            self._failure = error
            self._ready.set()

    def _listening(self, port: int) -> None:
        self.port = port
        self._ready.set()


def describe_address(host: str, port: int) -> str:
    return f"ws://{host}:{port}/stocks"


_DEFAULTS = SimulatorConfig()


@click.command(
    name="sim", help="Serve a simulated Polygon stocks websocket on this machine until interrupted."
)
@click.argument("venue", type=click.Choice(["polygon"]), default="polygon")
@click.option("--host", default=LOOPBACK, show_default=True)
@click.option("--port", default=_DEFAULTS.port, show_default=True, help="0 = any free one")
@click.option(
    "--source",
    default=_DEFAULTS.source,
    show_default=True,
    help='"synthetic" or recorded files, comma between',
)
@click.option(
    "--speed",
    default=_DEFAULTS.speed,
    show_default=True,
    help="of a recording: 1 = real time, 0 = full speed",
)
@click.option("--seed", default=_DEFAULTS.seed, show_default=True)
@click.option("--instruments", default=_DEFAULTS.instruments, show_default=True)
@click.option("--ticks-per-s", default=_DEFAULTS.ticks_per_s, show_default=True)
@click.option("--api-key", default=_DEFAULTS.api_key, show_default=True)
@click.option("--events-per-frame-max", default=_DEFAULTS.events_per_frame_max, show_default=True)
def command(venue: str, host: str, **settings: object) -> None:
    try:
        config = msgspec.convert(settings, SimulatorConfig)
        _serve_until_signal(config, host)
    except (msgspec.ValidationError, RecordingError, VenueError) as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _stopping_at_signal(stop: threading.Event) -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _serve_until_signal(config: SimulatorConfig, host: str) -> None:
    stop = threading.Event()
    source = open_source(config, time.time_ns())
    click.echo(f"source: {source.description}")

    def announce(port: int) -> None:
        click.echo(f"serving {describe_address(host, port)}, key {config.api_key!r}; Ctrl-C stops")

    with _stopping_at_signal(stop):
        counts = serve(config, host, source=source, stop=stop, on_ready=announce)
    click.echo(
        f"stopped: {counts.connections} connections, {counts.frames} frames, {counts.events} events, "
        f"{counts.auth_failures} refused keys, {counts.slow_consumer_kills} slow readers dropped"
    )


def main(argv: list[str] | None = None) -> int:
    """``hft sim``. Returns the exit code."""
    try:
        command.main(args=argv, prog_name="hft sim", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    return 0
