"""From a socket to the ring in compiled code: the decoder's very rows, whatever comes between, however it is cut."""

import json
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from hft_engine.feed.frames import READ_BYTES, FrameError, FrameReader, Opcode, StreamWord
from hft_engine.feed.wire import READS_MAX, Wire
from hft_engine.runtime.chain import Chain
from hft_engine.shm.doorbell import new_bells
from support.decoders import FRAME_BYTES_MAX, SOCKET_STAMPS, Line
from support.framing import frame

WAIT_S = 20.0


@pytest.fixture
def side() -> Iterator[Line]:
    made = Line()
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
    expected = Line()
    reader = FrameReader(FRAME_BYTES_MAX)
    for part in parts:  # through the decoder alone
        for start in range(0, len(part), 60_000):
            piece = part[start : start + 60_000]
            reader.space()[: len(piece)] = piece
            reader.filled(len(piece))
        while (message := reader.next()) is not None:
            if message[0] < Opcode.CLOSE:
                expected.decode(message[1])
    side = Line(scans=scans)
    at = 0
    while at < len(stream):
        step = rng.choice([1, 3, 50, 500, 70_000])
        side.theirs.sendall(stream[at : at + step])
        at += step
        side.take_turn()
        side.take_turn()  # the first after a short read does not look at the socket again
        side.take_turn()
    published = expected.ring.published
    assert side.ring.published == published
    assert side.rows(0, published, SOCKET_STAMPS) == expected.rows(0, published, SOCKET_STAMPS)
    assert side.frames.pending_bytes == 0
    assert (side.scanner.messages > 0) == scans
    side.close()
    expected.close()


def test_stamps_are_those_of_the_read(side: Line) -> None:
    side.theirs.sendall(frame(plain(1)))
    side.take_turn()
    before, utc = time.monotonic_ns(), time.time_ns()
    side.theirs.sendall(frame(plain(2)) + frame(plain(3)))
    side.take_turn(), side.take_turn()
    rows = side.ring.slots[1:3]
    assert before < rows["ts_mono_ns"][0] == rows["ts_mono_ns"][1] < time.monotonic_ns()
    assert utc < rows["ts_recv_ns"][0] < time.time_ns()
    assert side.scanner.last_mono_ns == rows["ts_mono_ns"][0]


def test_one_turn_takes_more_than_one_read_brings(side: Line) -> None:
    side.theirs.sendall(frame(plain(0)))
    side.take_turn()  # now the symbol is known
    sent = b"".join(frame(plain(*range(10 * i + 1, 10 * i + 11))) for i in range(120))
    assert READ_BYTES < len(sent) < READS_MAX * READ_BYTES
    side.theirs.sendall(sent)
    assert side.wire.pump() == 0  # the read before had taken all there was
    assert side.wire.pump() == 120
    assert side.ring.published == 1_201


BACKLOG_READS = 3
STATUS = b'[{"ev":"status","status":"success","message":"subscribed to: T.AAPL"}]'


def backlog() -> list[bytes]:
    """Messages for more than BACKLOG_READS reads, a venue's word and a ping among the last of them."""
    text = plain(*range(10))
    count = BACKLOG_READS * READ_BYTES // len(frame(text)) + 20
    return [frame(text)] * (count - 10) + [frame(STATUS), frame(b"beat", 9)] + [frame(text)] * 10


def test_a_socket_that_is_not_found_empty_is_emptied_and_what_waited_is_counted() -> None:
    side = Line(shed_after_ns=1)
    side.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    side.receive(frame(plain(0)))  # now the symbol is known
    messages = backlog()
    side.receive(b"".join(messages))
    assert side.scanner is not None
    market = 10 * (len(messages) - 2)
    taken = side.ring.published - 1 + side.scanner.duplicates
    assert side.scanner.left_out > 10 * READ_BYTES // len(messages[0]), "a whole read of them"
    assert taken + side.scanner.left_out == market, "each is on the ring or counted"
    assert side.decoder.statuses and side.controls == [b"beat"], "what is no market data is heeded"
    assert not side.wire.sheds
    side.receive(frame(plain(77)))
    assert side.ring.slots[side.ring.published - 1 & 4095]["price"] == 177.25, "then all is as before"
    side.close()


def test_nothing_is_left_out_unless_asked_for() -> None:
    side = Line()
    side.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    side.receive(b"".join(backlog()))
    assert side.scanner is not None
    assert side.scanner.left_out == 0
    side.close()


@pytest.mark.parametrize(
    "text",
    [
        STATUS,
        b'[{"ev":"T","sym":"AAPL"},{"ev":"status","status":"success"}]',
        b'[{"ev":"T","sym":"AAPL","x":{"ev":"T"}},{"ev":"LULD","T":"AAPL"}]',
        b'{"T":"t"}',
        b"[]",
        b"",
    ],
)
def test_only_market_data_are_left_out(text: bytes) -> None:
    side = Line(shed_after_ns=1)
    side.frames.words[StreamWord.SHEDS] = 1
    stream = frame(text)
    side.frames.space()[: len(stream)] = stream
    side.frames.filled(len(stream))
    side.wire.unblock()
    assert side.wire.blocked or not text, "Python takes it"
    assert side.scanner is not None and side.scanner.left_out == 0
    side.close()


def test_an_encrypted_stream_sheds_until_python_finds_it_empty() -> None:
    side = Line()
    assert side.scanner is not None
    wire = Wire(side.scanner, side.frames, encrypted=True, scans=True, shed_after_ns=50)
    side.decode(plain(0))
    for number, read_ns in ((1, 100), (2, 150), (3, 151), (4, 152)):
        stream = frame(plain(number))
        side.frames.space()[: len(stream)] = stream
        side.frames.filled(len(stream))
        side.frames.words[StreamWord.TS_MONO_NS] = read_ns
        wire.look_behind(empty=number == 4)
        wire.unblock()
    assert side.ring.slots["price"][: side.ring.published].tolist() == [100.25, 101.25, 102.25, 104.25]
    assert side.scanner.left_out == 1
    side.close()


def test_the_end_of_the_stream_is_told(side: Line) -> None:
    side.theirs.sendall(frame(plain(1)))
    side.theirs.close()
    for _ in range(4):
        side.take_turn()
    assert side.frames.words[StreamWord.ERROR] == -1
    assert side.wire.blocked


def test_a_reset_is_told_with_its_number() -> None:
    side = Line()
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


def test_a_message_over_the_limit_is_left_to_python_and_refused(side: Line) -> None:
    side.theirs.sendall(frame(b"x" * (FRAME_BYTES_MAX + 1))[:60])
    side.wire.pump()
    assert side.wire.blocked
    with pytest.raises(FrameError, match=r"feed\.frame_bytes_max"):
        side.frames.next()


def test_a_chain_sleeps_on_the_socket_and_comes_back_for_python(side: Line) -> None:
    side.theirs.sendall(frame(json.dumps([trade(0)]).encode()))
    side.take_turn()  # now the symbol is known
    chain = Chain([side.wire.call], [], new_bells(), 0, "park")
    chain.turn(0)  # compiled

    def send() -> None:
        time.sleep(0.05)
        side.theirs.sendall(frame(plain(1)) + frame(b"", 9))

    sender = threading.Thread(target=send)
    sender.start()
    cycles, _, _, work = chain.turn(int(WAIT_S * 1e9))
    # Woken by the socket, and back early as a ping is Python's: at the end of its time it would not have looked again.
    assert (work, side.wire.blocked) == (2, True)  # the message, and what Python is asked for
    assert cycles < 100  # it slept, it did not spin
    sender.join()
    side.take_turn()
    assert side.controls == [b""]
    assert chain.turn(1_000_000)[3] == 0
