"""The feed: drives its lines and counts what they do. It never waits, and nobody can make it wait."""

import time
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from msgspec.structs import replace

from hft_engine.config.lines import LINES_MAX, MAIN, line_configs, mirrored
from hft_engine.config.schema import FeedConfig
from hft_engine.feed import decode, duty, subscriptions, wire
from hft_engine.feed.arbiter import Arbiter, Source
from hft_engine.feed.group import Group, MakeLine
from hft_engine.feed.health import monitor, watch
from hft_engine.feed.health.watch import HealthWatch
from hft_engine.feed.line import COUNTED, FRAMES_MAX, Line
from hft_engine.feed.line_rows import LineRows
from hft_engine.feed.line_table import read_lines
from hft_engine.feed.quarantine import Quarantine
from hft_engine.feed.stage import LineStage
from hft_engine.feed.states import FeedState, best, worst
from hft_engine.feed.venues import UnknownVenueError
from hft_engine.runtime.actor import ActorContext, BaseActor, ControlError, FatalError
from hft_engine.runtime.chain import NativeCall
from hft_engine.runtime.limits import TURN_NS
from hft_engine.runtime.messages import Subscribe, Unsubscribe

__all__ = ["FRAMES_MAX", "FeedActor", "warm"]

SYNC_NS = 10_000_000  # counters are at most this stale, or as old as a compiled turn
DIALING_TURN_NS = 5_000_000
_PRESENT = ("state", "acks_missing", "last_frame_mono_ns", *watch.PRESENT)
_OF_LINES = slice(len(_PRESENT), len(_PRESENT) + len(COUNTED))


def warm() -> None:
    """Compile (or load from the cache) the feed's kernels, with the types of a live run."""
    decode.warm()
    duty.warm()
    wire.warm()
    monitor.warm()


class FeedActor(BaseActor):
    """Writer of the ``ticks`` ring. Counter ``state`` indexes FEED_STATES, ``last_frame_mono_ns`` is a time,
    ``lost_by_all`` are sequences that none of several lines with the same ticks brought. The table of its stats has a
    row for each line (``feed.line_table``).
    """

    role = "feed"
    counters = (*_PRESENT, *COUNTED, "lost_by_all", "quarantined", "quarantine_dropped", *watch.COUNTED)
    histograms = ("feed", "venue_to_socket")
    turn_ns = DIALING_TURN_NS  # of the first turn, before ``tend``: it begins with dialling

    def on_start(self, ctx: ActorContext) -> None:
        self._ctx = ctx
        self._feed = feed = ctx.config.feed
        self._counters = ctx.counter_array()
        self._base = (
            self._counters.copy()
        )  # what an earlier life of this role, and lines that are over, counted
        self._base[: len(_PRESENT)] = 0
        self._synced = 0  # messages that the counters know of
        self._sync_due_ns = 0
        self._shown_state = int(FeedState.STOPPED)  # as the counters show it
        path = ctx.data_dir / "quarantine" / f"{ctx.run_id}.jsonl"
        self._quarantine = Quarantine(path, feed.quarantine_bytes_max)
        self._ticks = ctx.ring("ticks")
        earlier = read_lines(ctx.stats.table)
        self._last_data_ns = {row["name"].decode(): int(row["last_frame_mono_ns"]) for row in earlier}
        if len(earlier) == 1:  # the counter is younger than the row
            self._last_data_ns[MAIN] = int(self._counters[self.counters.index("last_frame_mono_ns")])
        self._rows = LineRows(ctx.stats.table, feed, earlier)
        self._arbiters = self._made_arbiters()
        try:
            self._groups = dict(self._made_groups())
        except UnknownVenueError as error:
            raise FatalError(f"the feed cannot work: {error}") from None
        self._take_up_lines()
        if len(self._lines) > LINES_MAX:
            raise FatalError(f"the feed cannot work: {_too_many(len(self._lines))}")
        self._health = HealthWatch(ctx, self._ticks, [line.venue_id for line in self._lines])
        self._stage = LineStage().bind(self._lines)
        for line in self._lines:
            self._drive(line, line.start)

    def do_work(self) -> int:
        before = self._messages
        self._stage.bind(self._lines).pump()
        self.tend()
        return self._messages - before

    def native(self) -> NativeCall:
        return self._stage.bind(self._lines).call

    def glance(self) -> None:
        self._health.observe(time.monotonic_ns())

    def tend(self) -> None:
        more = False
        for line in self._lines:
            self._drive(line, line.tend)
            more |= line.more
        self.more = more
        # What a line that is not live waits for - a thread that dials, a time - no descriptor tells.
        self.turn_ns = TURN_NS if all(line.is_live for line in self._lines) else DIALING_TURN_NS
        now_ns = time.monotonic_ns()
        self._health.tend(self._lines, now_ns)
        for line in self._lines:
            if line.has_shed():
                self._health.missed(self._lines, line, now_ns)
        self._ctx.let_through()
        if now_ns >= self._sync_due_ns:
            self._sync(now_ns)

    def on_control(self, message: object) -> object:
        """``Subscribe``, ``Unsubscribe``: the reply names the symbols in force from the next connection's tick on."""
        match message:
            case Subscribe(symbols, line):
                group = self._group(line)
                return self._subscribe(
                    group, subscriptions.with_added(group.symbols, symbols, self._ctx.instruments)
                )
            case Unsubscribe(symbols, line):
                group = self._group(line)
                return self._subscribe(group, subscriptions.without(group.symbols, symbols))
        return super().on_control(message)

    def on_stop(self) -> None:
        for line in self._lines:
            line.stop()
        self._health.stop()
        self._sync(time.monotonic_ns(), at_once=True)
        self._stage.close()

    def wait_fd(self) -> int | None:
        return self._stage.bind(self._lines).fd

    # ---- lines

    @property
    def lines(self) -> list[Line]:
        """All there are now."""
        return list(self._lines)

    def _made_arbiters(self) -> dict[str, Arbiter]:
        """Between lines that bring the same ticks, by the line that the others mirror."""
        models = Counter(mirrored(self._feed, name) for name in line_configs(self._feed))
        contiguous = self._feed.sequence == "contiguous"
        capacity = self._ctx.instruments.capacity
        return {name: Arbiter(capacity, contiguous) for name, count in models.items() if count > 1}

    def _made_groups(self) -> Iterator[tuple[str, Group]]:
        recorded = self._ctx.recorded()
        for name, config in line_configs(self._feed).items():
            model = mirrored(self._feed, name)
            symbols = subscriptions.in_force(config.symbols, recorded, model)
            arbiter = self._arbiters.get(model)
            yield name, Group(name, replace(config, symbols=symbols), self._line_maker(arbiter))

    def _line_maker(self, arbiter: Arbiter | None) -> MakeLine:
        place = arbiter.place() if arbiter is not None else 0

        def make(name: str, config: FeedConfig) -> Line:
            source = Source(arbiter, place) if arbiter is not None else None
            return Line(
                name,
                config,
                self._ctx,
                self._quarantine,
                source,
                self._last_data_ns.pop(name, 0),
            )

        return make

    def _take_up_lines(self) -> None:
        self._lines = [line for group in self._groups.values() for line in group.lines]

    def _drive(self, line: Line, step: Callable[[], None]) -> None:
        """A line that has failed for good ends the feed, unless another brings the same ticks."""
        try:
            step()
        except FatalError as error:
            self._sync(time.monotonic_ns(), at_once=True)  # what is told of the end includes its state
            if not self._stands_in(line):
                raise
            self._ctx.event("feed", f"{error}; the feed goes on without this line", fault=True)

    def _stands_in(self, failed: Line) -> bool:
        name = failed.name.partition(".")[0]
        model = mirrored(self._feed, name)
        return any(
            all(line.session.state is not FeedState.FAILED for line in group.lines)
            for other, group in self._groups.items()
            if other != name and mirrored(self._feed, other) == model
        )

    @property
    def _state(self) -> FeedState:
        """Of the whole: all lines are needed, but of those that bring the same ticks one is enough."""
        by_model: dict[str, list[FeedState]] = {}
        for name, group in self._groups.items():
            state = worst(line.session.state for line in group.lines)
            by_model.setdefault(mirrored(self._feed, name), []).append(state)
        return worst(best(states) for states in by_model.values())

    # ---- subscriptions

    def _group(self, name: str) -> Group:
        name = name or MAIN
        if name not in self._groups:
            raise ControlError(f"no line is called {name!r}; there are {', '.join(self._groups)}")
        model = mirrored(self._feed, name)
        if model != name:
            raise ControlError(f"{name} has the symbols of {model}: change those")
        return self._groups[name]

    def _subscribe(self, group: Group, symbols: tuple[str, ...]) -> dict[str, object]:
        alike = [
            each for name, each in self._groups.items() if mirrored(self._feed, name) == group.name
        ]  # with its mirrors
        connections = len(self._lines) + sum(
            max(0, each.connections_for(symbols) - len(each.lines)) for each in alike
        )
        if connections > LINES_MAX:
            raise ControlError(_too_many(connections))
        for problem in (each.problem(symbols) for each in alike):
            if problem:
                raise ControlError(problem)
        sequence, before = self._ticks.published, self._symbols
        if not self._ctx.record("subscription", sequence, {"symbols": symbols, "line": group.name}):
            raise ControlError("the change cannot be recorded, so it was not made; is the disk full?")
        for each in alike:
            for over in each.change(symbols):
                self._base[_OF_LINES] += np.array(over.counts(), np.int64)
        self._take_up_lines()
        self._health.subscribed(before, self._symbols)
        what = "" if group.name == MAIN else f"{group.name}, "
        self._ctx.event("subscription", f"{what}from tick {sequence} on: {', '.join(symbols) or 'nothing'}")
        return {"symbols": list(symbols), "sequence": sequence, "line": group.name}

    @property
    def _symbols(self) -> list[str]:
        """Of all lines."""
        return [symbol for group in self._groups.values() for symbol in group.symbols]

    # ---- counters

    @property
    def _messages(self) -> int:
        return sum(line.messages for line in self._lines)

    def _sync(self, now_ns: int, at_once: bool = False) -> None:
        """Counters to shared memory, in the order of ``counters``, where something has changed."""
        messages = self._messages
        changed = self._health.dirty or any(line.dirty for line in self._lines)
        if at_once or changed or messages != self._synced:
            lines = self._lines
            if at_once or changed:
                self._shown_state = int(self._state)
            missing = sum(line.session.acks_missing for line in lines)
            last_ns = max(line.last_frame_ns for line in lines)
            present = (self._shown_state, missing, last_ns, *self._health.present())
            counted = map(sum, zip(*(line.counts() for line in lines), strict=True))
            lost = sum(arbiter.lost for arbiter in self._arbiters.values())
            quarantine = self._quarantine
            rest = (lost, quarantine.kept, quarantine.dropped, *self._health.counted())
            now = (*present, *counted, *rest)
            self._ctx.let_through()
            self._counters[:] = self._base + np.array(now, np.int64)
            self._synced = messages
            self._health.dirty = False
            for line in lines:
                line.dirty = False
        self._sync_due_ns = now_ns + SYNC_NS
        self._ctx.let_through()
        self._rows.write(self._lines, now_ns, at_once)


def _too_many(connections: int) -> str:
    return f"these symbols need {connections} connections, and a feed has room for {LINES_MAX}; name fewer"
