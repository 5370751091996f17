"""A line of the configuration: its symbols over as many connections as the venue's limit asks for."""

from collections.abc import Callable

from msgspec.structs import replace

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.line import Line
from hft_engine.feed.sharding import spread
from hft_engine.feed.venues import venue_of

MakeLine = Callable[[str, FeedConfig], Line]


class Group:
    """``lines`` are its connections now, one at least; the first has the group's name, the others a number behind it.

    ``config``: its symbols those in force. ``make(name, config)`` makes a line that is not started.
    """

    def __init__(self, name: str, config: FeedConfig, make: MakeLine) -> None:
        self.name = name
        self.config = config
        self._make = make
        self._venue = venue_of(config)
        self._limit = self._venue.pairs_max
        self._parts = spread(config.symbols, [], self._limit)
        self._lines: dict[int, Line] = {}  # by part
        for i, symbols in enumerate(self._parts):
            self._lines[i] = self._line(i, symbols)

    @property
    def lines(self) -> list[Line]:
        return list(self._lines.values())

    @property
    def symbols(self) -> tuple[str, ...]:
        """What is subscribed to, or will be as soon as there are connections."""
        return self.config.symbols

    def problem(self, symbols: tuple[str, ...]) -> str | None:
        """Why the venue cannot have these symbols, or None."""
        return self._venue.problem(replace(self.config, symbols=symbols))

    def connections_for(self, symbols: tuple[str, ...]) -> int:
        """How many connections these symbols would take."""
        return len(spread(symbols, self._parts, self._limit))

    def change(self, symbols: tuple[str, ...]) -> list[Line]:
        """From now on subscribe to exactly these symbols. Returns lines that are over: stopped, to be counted."""
        self.config = replace(self.config, symbols=symbols)
        before, self._parts = self._parts, spread(symbols, self._parts, self._limit)
        over = []
        for i, part in enumerate(self._parts):
            line = self._lines.get(i)
            if line is None and part:
                self._lines[i] = line = self._line(i, part)
                line.start()
            elif line is not None and not part and i > 0:
                line.stop()
                over.append(self._lines.pop(i))
            elif line is not None and part != before[i]:
                line.change(part)
        return over

    def _line(self, i: int, symbols: tuple[str, ...]) -> Line:
        name = self.name if i == 0 else f"{self.name}.{i + 1}"
        return self._make(name, replace(self.config, symbols=symbols))
