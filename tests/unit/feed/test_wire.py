"""From a socket to the ring in compiled code: the decoder's very rows, whatever comes between, however it is cut."""

import json
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from raw_venue import frame

from hft_engine.feed.decode import FrameDecoder
from hft_engine.feed.duty import TickStage
from hft_engine.feed.frames import READ_BYTES, FrameError, FrameReader, Opcode, StreamWord
from hft_engine.feed.scanner import Scanner
from hft_engine.feed.wire import READS_MAX, Wire
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TICK_DTYPE
from hft_engine.runtime.chain import Chain
from hft_engine.shm.doorbell import new_bells
from hft_engine.shm.histogram import new_counts
from hft_engine.shm.ring import Ring
from support.stamps import without_publish_stamps

LIMIT = 100_000
WAIT_S = 5.0


class Side:
    """The engine's end of a socket: compiled code reads, the decoder takes what that leaves."""

    def __init__(self, scans: bool = True) -> None:
        self.ring = Ring.private("ticks", TICK_DTYPE, 4096)
        self.decoder = FrameDecoder(InstrumentTable.private(64), 1, LIMIT)
        self.stage = TickStage(self.ring, self.decoder.rows, new_counts())
        self.scanner = Scanner(self.ring, self.decoder, 1, new_counts())
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.frames = FrameReader(LIMIT)
        self.frames.words[StreamWord.FD] = self.ours.fileno()
        self.wire = Wire(self.scanner, self.frames, encrypted=False, scans=scans)
        self.controls: list[bytes] = []

    def take_turn(self) -> None:
        """What the actor does in a cycle, stamps left out."""
        self.wire.pump()
        while self.wire.blocked and not self.frames.words[StreamWord.ERROR]:
            message = self.frames.next()
            if message is not None and message[0] < Opcode.CLOSE:
                self.stage.publish(self.decoder.decode(message[1], 0, 0), 0)
                self.scanner.learn()
            elif message is not None:
                self.controls.append(message[1])
            self.wire.unblock()

    def rows(self) -> np.ndarray:
        rows = self.ring.slots[: self.ring.published].copy()
        for stamp in ("ts_recv_ns", "ts_mono_ns"):
            rows[stamp] = 0
        return without_publish_stamps(rows)

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def side() -> Iterator[Side]:
    made = Side()
    yield made
    made.close()


def trade(number: int, symbol: str = "AAPL") -> dict[str, object]:
    return {
        "ev": "T",
        "sym": symbol,
        "p": 100.25 + number,
        "s": 7,
        "t": 1651684192462,
        "q": number + 1,
        "i": "1",
    }


def plain(*numbers: int) -> bytes:
    return json.dumps([trade(n) for n in numbers], separators=(",", ":")).encode()


def odd(rng: random.Random, number: int) -> bytes:
    """One message, or a control frame, that compiled code must leave to Python."""
    spaced = json.dumps([trade(number)]).encode()
    cut = rng.randrange(1, len(spaced))
    return rng.choice(
        [
            frame(spaced),
            frame(b"ping", 9),
            frame(spaced[:cut], 1, final=False) + frame(b"in between", 10) + frame(spaced[cut:], 0),
            frame(b"[" + b" " * 70_000 + spaced[1:]),
            frame(b"not json"),
        ]
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("scans", [True, False])
def test_any_stream_however_cut_gives_the_decoders_rows(seed: int, scans: bool) -> None:
    rng = random.Random(seed)
    parts = [frame(plain(0, 1))]
    for number in range(2, 60):
        parts.append(odd(rng, 1000 * number) if rng.random() < 0.2 else frame(plain(number, number + 100)))
    stream = b"".join(parts)
    expected = Side()
    reader = FrameReader(LIMIT)
    for part in parts:  # through the decoder alone
        for start in range(0, len(part), 60_000):
            piece = part[start : start + 60_000]
            reader.space()[: len(piece)] = piece
            reader.filled(len(piece))
        while (message := reader.next()) is not None:
            if message[0] < Opcode.CLOSE:
                expected.stage.publish(expected.decoder.decode(message[1], 0, 0), 0)
    side = Side(scans)
    at = 0
    while at < len(stream):
        step = rng.choice([1, 3, 50, 500, 70_000])
        side.theirs.sendall(stream[at : at + step])
        at += step
        side.take_turn()
        side.take_turn()  # the first after a short read does not look at the socket again
        side.take_turn()
    assert side.rows().tobytes() == expected.rows().tobytes()
    assert side.frames.pending_bytes == 0
    assert (side.scanner.messages > 0) == scans
    side.close()
    expected.close()


def test_stamps_are_those_of_the_read(side: Side) -> None:
    side.theirs.sendall(frame(plain(1)))
    side.take_turn()
    before, utc = time.monotonic_ns(), time.time_ns()
    side.theirs.sendall(frame(plain(2)) + frame(plain(3)))
    side.take_turn(), side.take_turn()
    rows = side.ring.slots[1:3]
    assert before < rows["ts_mono_ns"][0] == rows["ts_mono_ns"][1] < time.monotonic_ns()
    assert utc < rows["ts_recv_ns"][0] < time.time_ns()
    assert side.scanner.last_mono_ns == rows["ts_mono_ns"][0]


def test_one_turn_takes_more_than_one_read_brings(side: Side) -> None:
    side.theirs.sendall(frame(plain(0)))
    side.take_turn()  # now the symbol is known
    sent = b"".join(frame(plain(*range(10 * i + 1, 10 * i + 11))) for i in range(120))
    assert READ_BYTES < len(sent) < READS_MAX * READ_BYTES
    side.theirs.sendall(sent)
    assert side.wire.pump() == 0  # the read before had taken all there was
    assert side.wire.pump() == 120
    assert side.ring.published == 1_201


def test_the_end_of_the_stream_is_told(side: Side) -> None:
    side.theirs.sendall(frame(plain(1)))
    side.theirs.close()
    for _ in range(4):
        side.take_turn()
    assert side.frames.words[StreamWord.ERROR] == -1
    assert side.wire.blocked


def test_a_reset_is_told_with_its_number() -> None:
    side = Side()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    side.frames.words[StreamWord.FD] = ours.fileno()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    deadline = time.monotonic() + WAIT_S
    while not side.wire.blocked and time.monotonic() < deadline:
        side.wire.pump()
    assert side.frames.words[StreamWord.ERROR] == 104  # ECONNRESET
    ours.close()
    side.close()


def test_a_message_over_the_limit_is_left_to_python_and_refused(side: Side) -> None:
    side.theirs.sendall(frame(b"x" * (LIMIT + 1))[:60])
    side.wire.pump()
    assert side.wire.blocked
    with pytest.raises(FrameError, match=r"feed\.frame_bytes_max"):
        side.frames.next()


def test_a_chain_sleeps_on_the_socket_and_comes_back_for_python(side: Side) -> None:
    side.theirs.sendall(frame(json.dumps([trade(0)]).encode()))
    side.take_turn()  # now the symbol is known
    chain = Chain([side.wire.call], [], new_bells(), 0, "park")
    chain.turn(0)  # compiled
    sent_ns = []

    def send() -> None:
        time.sleep(0.05)
        sent_ns.append(time.monotonic_ns())
        side.theirs.sendall(frame(plain(1)) + frame(b"", 9))

    sender = threading.Thread(target=send)
    sender.start()
    cycles, _, _, work = chain.turn(int(WAIT_S * 1e9))  # ends early: a ping is Python's
    assert time.monotonic_ns() - sent_ns[0] < 1e9
    assert (work, side.wire.blocked) == (1, True)
    assert cycles < 100  # it slept, it did not spin
    sender.join()
    side.take_turn()
    assert side.controls == [b""]
    assert chain.turn(1_000_000)[3] == 0
