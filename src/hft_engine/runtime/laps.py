"""What a reader missed, written down: a lap of a stateful actor is an input like any other."""

from hft_engine.runtime.actor import ActorContext
from hft_engine.shm.ring import Ring


class LapRecord:
    """``tend`` between duty cycles: each new lap of ``reader`` on ``ring`` becomes a session event ``lap``.

    Its sequence is the first record missed, as a sequence of that ring; ``data`` names the ring and [from, to).
    Laps of an earlier life that it did not come to write down are written now.
    """

    def __init__(self, ctx: ActorContext, ring: Ring, reader: int) -> None:
        self._ctx, self._ring, self._reader = ctx, ring, reader

    def tend(self) -> None:
        if self._ring.lapped(self._reader):
            count, laps = self._ring.untold_laps(self._reader)
            if count:
                self._tell(count, laps)

    def _tell(self, count: int, laps: list[tuple[int, int]]) -> None:
        if count > len(laps):
            self._ctx.event(
                "laps_unknown", f"{count - len(laps)} laps came too fast to be recorded one by one"
            )
        for first, end in laps:
            self._ctx.record("lap", first, {"ring": self._ring.name, "from": first, "to": end})
        self._ring.tell_laps(self._reader, count)
