"""Bytes as a socket would bring them, for what reads websocket frames."""

from hft_engine.feed.frames import FrameReader


def feed(reader: FrameReader, data: bytes) -> None:
    """Put bytes into a reader that has room for them."""
    while data:
        space = reader.space()
        count = min(len(space), len(data))
        assert count, "the buffer is full"
        space[:count] = data[:count]
        reader.filled(count)
        data = data[count:]


def messages(data: bytes) -> list[bytes]:
    """The whole messages of a stream."""
    reader = FrameReader(len(data))
    feed(reader, data)
    return [message for _, message in iter(reader.next, None)]
