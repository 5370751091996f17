"""Spoilt frames by the batch, down every way to the ring: every event in Python, the decoder alone, the scanner first,
and off a socket."""

import random
from collections.abc import Sequence

from support.decoders import DifferenceError, Line, Pair, StreamDifferenceError
from support.framing import cut, frame
from support.spoiling import Spoiler
from support.venue_frames import lessons

BATCH = 1_000
SCANNED_SLOTS = (
    128  # few, because all of them are compared; a frame of more than 64 events is not the scanner's
)
HISTORY_SLOTS = 16_384
CUTS = (1, 7, 150, 1_000, 8_000, 60_000)
DIFFERENCES_MAX = 20


class Fuzz:
    """``frames`` and ``ticks`` so far, ``taken`` by the scanner, ``packed`` by the decoder's compiled half;
    ``differences``, each with its frame.

    Every batch begins anew, and depends on ``seed`` and its number only.
    """

    def __init__(self, venue_frames: Sequence[bytes], seed: object) -> None:
        self._venue_frames, self._lessons, self._seed = venue_frames, lessons(venue_frames), seed
        self.batches = self.frames = self.taken = self.packed = self.ticks = 0
        self.differences: list[DifferenceError] = []

    @property
    def full(self) -> bool:
        """Enough differences have been found."""
        return len(self.differences) >= DIFFERENCES_MAX

    def batch(self) -> None:
        """The next BATCH frames."""
        spoiler = Spoiler(self._venue_frames, f"{self._seed}/{self.batches}")
        frames = [spoiler.frame() for _ in range(BATCH)]
        pair = Pair(SCANNED_SLOTS, HISTORY_SLOTS).teach(*self._lessons)
        pair.packed = 0
        try:
            for text in frames:
                self.taken += pair.take(text)
            self._stream(frames, pair)
        except DifferenceError as difference:
            self.differences.append(difference)
        self.ticks += pair.each.ring.published
        self.packed += pair.packed
        self.frames += BATCH
        self.batches += 1

    def _stream(self, frames: Sequence[bytes], pair: Pair) -> None:
        """The frames off a socket, however cut; the decoder has had them."""
        chance = random.Random(f"{self._seed}/{self.batches}/cuts")
        stream = b"".join(_sent(text, chance) for text in (*self._lessons, *frames))
        line = Line(HISTORY_SLOTS)
        try:
            for piece in cut(stream, chance, CUTS):
                line.receive(piece)
            pair.compare_stream(line)
        except StreamDifferenceError as difference:
            raise StreamDifferenceError(f"{difference.what} (batch {self.batches})") from None
        finally:
            line.close()

    def smallest(self) -> DifferenceError:
        """The shortest of the frames that made a difference, made shorter still as long as it does."""
        of_frames = [found for found in self.differences if not isinstance(found, StreamDifferenceError)]
        shortest = min(of_frames or self.differences, key=lambda difference: len(difference.frame))
        step = len(shortest.frame) // 2
        while step:
            shorter = self._without(shortest, step)
            shortest = shorter or shortest
            step = step if shorter else step // 2
        return shortest

    def _without(self, found: DifferenceError, step: int) -> DifferenceError | None:
        """The first difference that is left when ``step`` bytes of its frame are taken out."""
        for start in range(0, len(found.frame), step):
            try:
                self._fresh().take(found.frame[:start] + found.frame[start + step :])
            except DifferenceError as shorter:
                return shorter
        return None

    def _fresh(self) -> Pair:
        return Pair(SCANNED_SLOTS).teach(*self._lessons)


def _sent(text: bytes, chance: random.Random) -> bytes:
    """The text as a server may send it: mostly whole, now and then in fragments with a ping between."""
    way = chance.random()
    if way < 0.97 or len(text) < 2:
        return frame(text) if way > 0.01 else frame(b"are you there", 9) + frame(text)
    at = 1 + int(chance.random() * (len(text) - 1))
    return frame(text[:at], 1, final=False) + frame(b"in between", 9) + frame(text[at:], 0)
