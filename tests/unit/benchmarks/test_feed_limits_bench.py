import socket
import threading
import time

import msgspec
import numpy as np
from benchmarks.load.feed_limits_load import FIRST_NUMBER, Flow, Frames, offer

from hft_engine.feed.frames import FrameReader
from hft_engine.shm.histogram import new_counts

FLOW = Flow(events=50, events_per_s=1_000, seconds=2.5)


def received(ours: socket.socket) -> list[bytes]:
    reader, found = FrameReader(1 << 16), []
    while (count := ours.recv_into(reader.space())) > 0:
        reader.filled(count)
        while (message := reader.next()) is not None:
            found.append(message[1])
    return found


def test_the_load_is_a_market_that_goes_on_however_often_its_frames_go_round() -> None:
    frames = Frames(FLOW)
    ours, theirs = socket.socketpair()
    got: list[bytes] = []
    with ours, theirs:
        reader = threading.Thread(target=lambda: got.extend(received(ours)))
        reader.start()
        load = frames.text, frames.offsets, frames.events, frames.places, frames.values
        sent = offer(
            theirs.fileno(), *load, FLOW.frames, 0, 0.0, time.monotonic_ns() + 30 * 10**9, new_counts()
        )
        theirs.shutdown(socket.SHUT_RDWR)
        reader.join()
    assert sent == len(got) == FLOW.frames == 50
    events = [event for frame in got for event in msgspec.json.decode(frame)]
    assert [event["q"] for event in events] == [FIRST_NUMBER + i for i in range(2_500)]
    stamps = np.array([event["t"] for event in events])
    assert np.array_equal(stamps - stamps[0], np.arange(2_500))
    assert {event["ev"] for event in events} == {"T", "Q"}


def test_an_offer_ends_when_its_time_is_up() -> None:
    frames = Frames(FLOW)
    load = frames.text, frames.offsets, frames.events, frames.places, frames.values
    assert offer(-1, *load, FLOW.frames, 0, 0.0, 0, new_counts()) == 0
