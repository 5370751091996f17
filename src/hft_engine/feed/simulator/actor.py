"""The simulated venue as an actor, for ``--demo``: a turn of its event loop per duty cycle, no thread."""

import asyncio
import time

from hft_engine.feed.recorded import RecordingError
from hft_engine.feed.simulator.scenario import ScenarioError
from hft_engine.feed.simulator.serving import LOOPBACK, address_of, make_venue
from hft_engine.feed.simulator.venue import Venue, VenueError
from hft_engine.runtime.actor import ActorContext, BaseActor, FatalError

STEP_TICKS_MAX = 128  # some 0.5 ms of encoding


class SimulatorActor(BaseActor):
    """Serves ``config.simulator`` on loopback. Port in use, an unreadable recording or scenario: FatalError."""

    role = "simulator"
    counters = (
        "connections",
        "frames",
        "events",
        "auth_failures",
        "slow_consumer_kills",
        "bad_requests",
    )

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._venue: Venue | None = None

    def on_start(self, ctx: ActorContext) -> None:
        config = ctx.config.simulator
        if config is None:
            raise FatalError("the simulator was started without a configuration; add a section 'simulator'")
        # Counters outlive a restart, the venue's own counts do not.
        self._counters = [(name, counter := ctx.counter(name), counter.value) for name in self.counters]
        self._loop = asyncio.new_event_loop()
        try:
            self._venue = make_venue(config)
            port = self._loop.run_until_complete(self._venue.start(LOOPBACK, config.port))
        except (RecordingError, ScenarioError, VenueError) as error:
            self._close_loop()
            raise FatalError(str(error)) from error
        ctx.log.info(
            "serving %s: %s", address_of(self._venue, LOOPBACK, port), self._venue.source.description
        )

    def do_work(self) -> int:
        """Hands out what is due, then lets the event loop do what it can without waiting."""
        assert self._venue is not None and self._loop is not None
        due = self._venue.pump(time.time_ns(), STEP_TICKS_MAX)
        self._loop.call_soon(self._loop.stop)
        self._loop.run_forever()
        for name, counter, before in self._counters:
            counter.set(before + getattr(self._venue.counts, name))
        return due

    def on_stop(self) -> None:
        if self._loop is None:
            return
        if self._venue is not None:
            self._loop.run_until_complete(self._venue.close())
        self._close_loop()

    def _close_loop(self) -> None:
        assert self._loop is not None
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
        self._loop = self._venue = None
