"""A simulated venue with its websocket and its REST side, in a loop of its own: ``serve`` blocks, ``RunningVenue``
is a thread.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AsyncExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.history import History
from hft_engine.feed.simulator.scenario import CALM, Fault, Halt, Scenario, StreamStep, load_scenario
from hft_engine.feed.simulator.session import VenueCounts
from hft_engine.feed.simulator.source import Source, open_source
from hft_engine.feed.simulator.tape import Tape, is_capture
from hft_engine.feed.simulator.truth import Truth
from hft_engine.feed.simulator.vendors import VENDORS, Vendor
from hft_engine.feed.simulator.venue import PUMP_TICKS_MAX, Venue, VenueError

if TYPE_CHECKING:  # of an extra
    from hft_engine.feed.simulator.rest.front import RestServer

PUMP_EVERY_S = 0.001
LOOPBACK = "127.0.0.1"


class Address(NamedTuple):
    """Where clients find the venue; empty: it has no such side."""

    url: str
    rest_url: str = ""


def make_venue(
    config: SimulatorConfig,
    vendor: str = "polygon",
    scenario: Scenario | None = None,
    *,
    source: Source | Tape | None = None,
    rest: bool = False,
    truth_file: IO[bytes] | None = None,
    watched: bool = False,
) -> Venue:
    """``scenario`` None: that of the configuration. ``rest``: it keeps a history to answer from; ``watched``: its
    truth is kept even without a scenario.

    Raises RecordingError, ScenarioError, VenueError.
    """
    if scenario is None:
        scenario = load_scenario(config.scenario) if config.scenario else CALM
    kind = VENDORS[vendor]
    if kind.venue.path is None and not rest:
        raise VenueError(f"simulator: {vendor} is REST and nothing else; it cannot be without it")
    source = source or _open(config, kind)
    if isinstance(source, Tape) and any(isinstance(step, StreamStep | Halt) for step in scenario.steps):
        raise VenueError(
            f"simulator: {config.source} is a raw capture, whose frames are sent as they are; take the steps on ticks "
            "(mute, loss, lag, halt, ...) out of the scenario, or name a recording of ticks"
        )
    truth = Truth(source.symbols, truth_file) if watched or truth_file or scenario.steps else None
    history = History(source.symbols) if rest else None
    return kind.venue(config, source, scenario, history=history, truth=truth)


def _open(config: SimulatorConfig, vendor: Vendor) -> Source | Tape:
    if is_capture(config.source):
        return Tape(Path(config.source), config.speed)
    return open_source(config, time.time_ns(), vendor.market)


def serve(
    venue: Venue,
    host: str = LOOPBACK,
    port: int | None = None,
    rest_port: int = 0,
    *,
    on_ready: Callable[[Address], None] = lambda address: None,
    stop: threading.Event | None = None,
) -> VenueCounts:
    """Serve until ``stop`` is set; returns what was counted.

    ``port`` None: that of the configuration. ``on_ready`` is called once clients can connect. Raises VenueError
    (port in use, extra ``web`` missing).
    """
    port = venue.config.port if port is None else port
    rest = _rest_of(venue) if venue.history is not None else None
    return asyncio.run(_run(venue, rest, host, (port, rest_port), on_ready, stop or threading.Event()))


def _rest_of(venue: Venue) -> "RestServer":
    try:
        from hft_engine.feed.simulator.rest.front import RestServer, application

        return RestServer(application(venue, venue.rest_side()))
    except ImportError as error:
        raise VenueError(
            f"the simulator's REST side needs {error.name}: pip install 'hft-engine[web]', or do without it (--no-rest)"
        ) from error


async def _run(
    venue: Venue,
    rest: "RestServer | None",
    host: str,
    ports: tuple[int, int],
    on_ready: Callable[[Address], None],
    stop: threading.Event,
) -> VenueCounts:
    async with AsyncExitStack() as started:
        started.push_async_callback(venue.close)
        url, rest_url = address_of(venue, host, await venue.start(host, ports[0])), ""
        if rest is not None:
            started.push_async_callback(rest.close)
            rest_url = f"http://{host}:{await rest.start(host, ports[1])}"
        on_ready(Address(url, rest_url))
        while not stop.is_set():
            due = venue.pump(time.time_ns())
            await asyncio.sleep(0 if due >= PUMP_TICKS_MAX else PUMP_EVERY_S)
    return venue.counts


def address_of(venue: Venue, host: str, port: int) -> str:
    """Of the websocket, empty where there is none."""
    return f"ws://{host}:{port}{venue.path}" if venue.path is not None else ""


class RunningVenue:
    """A venue on a thread of this process, for notebooks and tests: ``with RunningVenue(config) as running: ...``

    Inside the block ``port``, ``url``, ``rest_url`` hold, and ``counts``, ``truth``, ``history`` of the venue; after
    it the thread is gone. Arguments and errors: as ``make_venue`` and ``serve``.
    """

    def __init__(
        self,
        config: SimulatorConfig,
        vendor: str = "polygon",
        scenario: Scenario | None = None,
        *,
        source: Source | Tape | None = None,
        rest: bool = False,
    ) -> None:
        self.port = config.port
        self.url = self.rest_url = ""
        self.venue = make_venue(config, vendor, scenario, source=source, rest=rest, watched=True)
        self.counts = self.venue.counts
        self.history = self.venue.history
        self.symbols = self.venue.source.symbols
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._serve, name="simulated venue")

    @property
    def truth(self) -> Truth:
        assert self.venue.truth is not None
        return self.venue.truth

    def inflict(self, step: Fault, begins: bool = True) -> None:
        """Begins (or ends) a step of a scenario now; returns when it is done."""
        assert self._loop is not None
        done: Future[None] = Future()

        def strike() -> None:
            self.venue.inflict(step, begins)
            done.set_result(None)

        self._loop.call_soon_threadsafe(strike)
        done.result(timeout=10)

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
            serve(self.venue, port=self.port, on_ready=self._listening, stop=self._stop)
        except VenueError as error:
            self._failure = error
            self._ready.set()

    def _listening(self, address: Address) -> None:
        self._loop = asyncio.get_running_loop()
        self.url, self.rest_url = address
        self.port = urlsplit(self.url or self.rest_url).port or 0
        self._ready.set()
