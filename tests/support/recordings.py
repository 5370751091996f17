"""Raw websocket recordings of others, frame by frame as they came: (receive time, UTC ns; frame)."""

import gzip
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

NS = 1_000_000_000


class Frame(NamedTuple):
    ts_recv_ns: int
    text: bytes


def _lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        yield from file


def hftbacktest_frames(path: Path) -> Iterator[Frame]:
    """Lines of ``<ns> <frame>``."""
    for line in _lines(path):
        received, _, text = line.strip().partition(b" ")
        yield Frame(int(received), text)


def cryptofeed_frames(path: Path) -> Iterator[Frame]:
    """What came in: ``<s>: <frame>``. Lines of what was sent or connected start with an address."""
    for line in _lines(path):
        received, mark, text = line.strip().partition(b": ")
        if mark and not line.startswith(b"wss:"):
            yield Frame(int(Decimal(received.decode()) * NS), text)


def line_count(path: Path) -> int:
    return sum(1 for _ in _lines(path))
