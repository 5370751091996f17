"""Websocket frames taken apart as the feed does it."""

from hft_engine.feed.frames import FrameReader


def messages_of(data: bytes, message_bytes_max: int = 1_000_000) -> list[bytes]:
    """The messages in a stream of frames."""
    reader, messages = FrameReader(message_bytes_max), []
    while data:
        space = reader.space()
        taken = min(len(space), len(data))
        space[:taken] = data[:taken]
        reader.filled(taken)
        messages += [message[1] for message in iter(reader.next, None)]
        data = data[taken:]
    return messages
