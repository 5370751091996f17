"""Websocket frames put together as a server does it, and taken apart as the feed does it."""

import random
from collections.abc import Iterator, Sequence

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


def frame(payload: bytes, opcode: int = 1, final: bool = True, masked: bool = False) -> bytes:
    """A server's frame on the wire."""
    size = len(payload)
    mask_bit = 0x80 if masked else 0
    head = bytes([(0x80 if final else 0) | opcode])
    if size < 126:
        head += bytes([mask_bit | size])
    elif size < 65_536:
        head += bytes([mask_bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([mask_bit | 127]) + size.to_bytes(8, "big")
    return head + (b"\0\0\0\0" if masked else b"") + payload


def cut(stream: bytes, chance: random.Random, sizes: Sequence[int]) -> Iterator[bytes]:
    """The stream in pieces of up to these ``sizes``, chosen one by one."""
    at = 0
    while at < len(stream):
        size = chance.choice(sizes)
        yield stream[at : at + size]
        at += size
