import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft_engine.feed.frames import READ_BYTES, FrameError, FrameReader, Opcode
from support.framing import frame
from support.streams import feed

LIMIT = 70_000


def _all(reader: FrameReader) -> list[tuple[int, bytes]]:
    messages = []
    while (message := reader.next()) is not None:
        messages.append(message)
    return messages


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, LIMIT])
def test_every_length_encoding_is_read(size: int) -> None:
    reader = FrameReader(LIMIT)
    payload = b"x" * size
    feed(reader, frame(payload))
    assert _all(reader) == [(Opcode.TEXT, payload)]
    assert reader.pending_bytes == 0


MESSAGES = st.lists(
    st.one_of(
        st.tuples(st.just(1), st.binary(max_size=300)),
        st.tuples(st.just(2), st.binary(max_size=300)),
        st.tuples(st.sampled_from([9, 10]), st.binary(max_size=125)),
    ),
    max_size=20,
)


@given(MESSAGES, st.lists(st.integers(1, 50), min_size=1, max_size=50), st.data())
def test_messages_survive_any_cut_and_any_fragmentation(
    messages: list[tuple[int, bytes]], cuts: list[int], data: st.DataObject
) -> None:
    wire = b""
    for opcode, payload in messages:
        split = data.draw(st.integers(0, len(payload))) if opcode < 8 else 0
        if split:
            wire += frame(payload[:split], opcode, final=False) + frame(payload[split:], 0)
        else:
            wire += frame(payload, opcode)
    reader = FrameReader(LIMIT)
    found = []
    position = turn = 0
    while position < len(wire):
        step = cuts[turn % len(cuts)]
        feed(reader, wire[position : position + step])
        found += _all(reader)
        position += step
        turn += 1
    assert found == messages
    assert reader.pending_bytes == 0


def test_ping_between_fragments_is_handed_over_at_once() -> None:
    reader = FrameReader(LIMIT)
    feed(reader, frame(b"ab", 1, final=False) + frame(b"p", 9) + frame(b"cd", 0))
    assert _all(reader) == [(Opcode.PING, b"p"), (Opcode.TEXT, b"abcd")]


@pytest.mark.parametrize(
    ("wire", "said"),
    [
        (frame(b"x" * (LIMIT + 1))[:10], "over the limit"),  # refused by its header, not after its payload
        (frame(b"x" * LIMIT, 1, final=False) + frame(b"y", 0), "over the limit"),
        (frame(b"x", masked=True), "masks"),
        (b"\xc1\x01x", "extension"),
        (frame(b"x", 3), "opcode 3"),
        (frame(b"x", 11), "opcode 11"),
        (frame(b"x", 0), "out of place"),
        (frame(b"x", 1, final=False) + frame(b"y", 1), "out of place"),
        (frame(b"x", 9, final=False), "control"),
        (frame(b"x" * 126, 9), "control"),
    ],
)
def test_what_breaks_the_protocol_is_refused(wire: bytes, said: str) -> None:
    reader = FrameReader(LIMIT)
    feed(reader, wire)
    with pytest.raises(FrameError, match=said):
        _all(reader)


def test_the_limit_is_for_each_message_alone() -> None:
    reader = FrameReader(LIMIT)
    for _ in range(5):
        feed(reader, frame(b"x" * (LIMIT // 2), 1, final=False) + frame(b"y", 0))
        assert len(_all(reader)) == 1


def test_empty_fragments_do_not_pile_up_for_ever() -> None:
    reader = FrameReader(100)
    feed(reader, frame(b"", 1, final=False))
    with pytest.raises(FrameError, match="over the limit"):
        for _ in range(200):
            feed(reader, frame(b"", 0, final=False))
            _all(reader)


def test_consumed_bytes_are_let_go() -> None:
    reader = FrameReader(LIMIT)
    for _ in range(1_000):
        feed(reader, frame(b"x" * 1_000) + b"\x81")  # always a byte of the next frame behind
        assert _all(reader) == [(Opcode.TEXT, b"x" * 1_000)]
        feed(reader, frame(b"")[1:])
        assert _all(reader) == [(Opcode.TEXT, b"")]
    assert reader.pending_bytes == 0
    assert len(reader.space()) >= READ_BYTES


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_the_protocols_error(wire: bytes) -> None:
    reader = FrameReader(LIMIT)
    feed(reader, wire)
    with contextlib.suppress(FrameError):
        _all(reader)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 500, 65_535, 65_536, LIMIT])
def test_a_message_alone_in_its_read_is_the_same_as_one_in_pieces(size: int) -> None:
    payload = bytes(i % 251 for i in range(size))
    raw = frame(payload)
    alone, pieces = FrameReader(100_000), FrameReader(100_000)
    feed(alone, raw)
    for i in range(0, len(raw), 7):
        feed(pieces, raw[i : i + 7])
    assert alone.next() == pieces.next() == (Opcode.TEXT, payload)
    assert alone.next() is None
    assert pieces.next() is None
    feed(alone, raw + raw)  # two in one read
    assert [alone.next(), alone.next(), alone.next()] == [(Opcode.TEXT, payload)] * 2 + [None]
    feed(alone, raw)
    feed(alone, raw)  # two reads before the first is taken
    assert [alone.next(), alone.next(), alone.next()] == [(Opcode.TEXT, payload)] * 2 + [None]
    feed(alone, raw[:5])  # a piece, then the rest with another message behind it
    feed(alone, raw[5:] + raw)
    assert [alone.next(), alone.next()] == [(Opcode.TEXT, payload)] * 2
