"""Frames as the venue sends them: recorded ones, and ones of the simulated market."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.encode import Encoder
from hft_engine.feed.simulator.generator import SyntheticMarket
from hft_engine.records import join_ticks

DATA = Path(__file__).resolve().parents[1] / "data" / "polygon"
START_NS = 1_700_000_000_000_000_000
MARKET_INSTRUMENTS, MARKET_BLOCKS, MARKET_EVENTS_MAX = 24, 4, 6
MARKET_TICKS, EACH_KIND = 400, 40
Fields = list[tuple[bytes, bytes]]  # of an event: key in quotation marks, value as it stands


def recorded_frames() -> list[bytes]:
    """The frames below tests/data/polygon: documented, observed, and what the scripted sessions receive."""
    frames: list[object] = []
    for name in ("documented-examples.jsonl", "observed-frames.jsonl"):
        frames += [json.loads(line)["frame"] for line in (DATA / name).read_text().splitlines()]
    for script in json.loads((DATA / "session-scripts.json").read_text()):
        frames += [step[1] for step in script["steps"] if step[0] == "recv"]
    texts = [
        frame if isinstance(frame, str) else json.dumps(frame, separators=(",", ":")) for frame in frames
    ]
    return [text.encode() for text in texts]


def market_frames(seed: int = 3) -> list[bytes]:
    """Frames of 1 to MARKET_EVENTS_MAX events, of every kind that the simulated market has."""
    settings = SimulatorConfig(instruments=MARKET_INSTRUMENTS, ticks_per_s=5_000.0, seed=seed)
    market = SyntheticMarket(settings, START_NS)
    ticks = join_ticks(tuple(market.block() for _ in range(MARKET_BLOCKS)))
    of_kind = [np.flatnonzero(ticks["kind"] == kind)[:EACH_KIND] for kind in np.unique(ticks["kind"])]
    chosen = np.unique(np.concatenate([np.arange(MARKET_TICKS), *of_kind]))
    events = Encoder(market.symbols).encode(ticks[chosen])
    chance, frames = random.Random(seed), []
    while events:
        count = chance.randint(1, MARKET_EVENTS_MAX)
        frames.append(b"[" + b",".join(events[:count]) + b"]")
        events = events[count:]
    return frames


def lessons(frames: Sequence[bytes]) -> list[bytes]:
    """As few of the frames as name every symbol among them."""
    met: set[object] = set()
    chosen = []
    for frame in frames:
        events = parsed(frame)
        named = {value for event in events for key, value in event if key in (b'"sym"', b'"T"')}
        if not named <= met:
            chosen.append(frame)
        met |= named
    return chosen


def parsed(frame: bytes) -> list[Fields]:
    """The events of a frame, values as they stand."""
    found = msgspec.json.decode(frame, type=list[dict[str, msgspec.Raw]] | dict[str, msgspec.Raw])
    events = found if isinstance(found, list) else [found]
    return [[(b'"%s"' % key.encode(), bytes(value)) for key, value in event.items()] for event in events]


def joined(events: Sequence[Fields]) -> bytes:
    """The frame of such events."""
    texts = [b",".join([key + b":" + value for key, value in event]) for event in events]
    return b"[" + b",".join([b"{%s}" % text for text in texts]) + b"]"
