"""Who gets which event: subscriptions turned into a table by tick kind and instrument."""

from collections.abc import Iterable, Sequence

import numpy as np

from hft_engine.feed.simulator.encode import CHANNELS
from hft_engine.feed.simulator.session import Session

KINDS = {channel: int(kind) for kind, channel in CHANNELS.items()}
EVERY_SYMBOL = "*"


class Routes:
    """``wanted`` (bool, kind x instrument): somebody subscribed to it; ``ever``: somebody once did. Rebuilt when a
    subscription changes.
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        self._ids = {symbol: i for i, symbol in enumerate(symbols)}
        self.wanted = np.zeros((max(KINDS.values()) + 1, len(symbols)), bool)
        self.ever = self.wanted.copy()
        self._receivers: dict[tuple[int, int], tuple[Session, ...]] = {}

    def rebuild(self, sessions: Iterable[Session]) -> None:
        self.wanted[:] = False
        receivers: dict[tuple[int, int], list[Session]] = {}
        for session in sessions:
            for key in self._keys(session.pairs):
                receivers.setdefault(key, []).append(session)
                self.wanted[key] = True
        self.ever |= self.wanted
        self._receivers = {key: tuple(found) for key, found in receivers.items()}

    def _keys(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[int, int]]:
        """(kind, instrument id) of each pair; a symbol nobody trades has none."""
        keys: set[tuple[int, int]] = set()
        for channel, symbol in pairs:
            ids = self._ids.values() if symbol == EVERY_SYMBOL else self._id(symbol)
            keys.update((KINDS[channel], i) for i in ids)
        return keys

    def _id(self, symbol: str) -> list[int]:
        return [self._ids[symbol]] if symbol in self._ids else []

    def select(self, ticks: np.ndarray) -> np.ndarray:
        """The ticks that somebody wants."""
        return ticks[self.wanted[ticks["kind"], ticks["instrument_id"]]]

    def unheard(self, ticks: np.ndarray) -> np.ndarray:
        """The ticks that somebody once wanted, and nobody now."""
        at = ticks["kind"], ticks["instrument_id"]
        return ticks[self.ever[at] & ~self.wanted[at]]

    def receivers(self, kind: int, instrument_id: int) -> tuple[Session, ...]:
        return self._receivers.get((kind, instrument_id), ())
