"""``hft stream``: prints what a venue sends, until it is interrupted."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from dataclasses import astuple, fields
from datetime import UTC, datetime

from hft_engine.api.schema import Record, RecordType
from hft_engine.api.stream import RecordStream, stream_async

TOLD_S = 0.25  # between two looks for what there is to tell


def run(symbols: Sequence[str], venue: str, realtime: bool, url: str | None) -> int:
    """Records to standard output, what befalls the connection to standard error. Returns 0 after SIGINT, SIGTERM.

    Raises ConfigError, StreamError.
    """
    with contextlib.suppress(BrokenPipeError):  # whoever read it has enough
        asyncio.run(_print_all(symbols, venue, realtime, url))
    return 0


async def _print_all(symbols: Sequence[str], venue: str, realtime: bool, url: str | None) -> None:
    stream = stream_async(symbols, realtime=realtime, venue=venue, url=url)
    loop = asyncio.get_running_loop()
    closing: list[asyncio.Task[None]] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: closing.append(loop.create_task(stream.aclose())))
    async with stream:
        teller = loop.create_task(_tell(stream))
        try:
            async for kind, record in stream:
                print(line_of(kind, record), flush=True)
        finally:
            teller.cancel()


async def _tell(stream: RecordStream) -> None:
    told = ""
    while True:
        text = stream.event
        if text and text != told:
            print(text, file=sys.stderr, flush=True)
            told = text
        await asyncio.sleep(TOLD_S)


def line_of(kind: RecordType, record: Record) -> str:
    """``AAPL T 14:30:00.250 price=161.87 size=300.0 ...``: channel, UTC, what the record holds."""
    stamp = datetime.fromtimestamp(record.timestamp / 1_000, UTC)
    named = zip((field.name for field in fields(record)), astuple(record), strict=True)
    values = (
        f"{name}={value}" for name, value in named if name not in ("ticker", "timestamp") and value != ""
    )
    return f"{record.ticker} {kind.value} {stamp:%H:%M:%S.%f}"[:-3] + f" {' '.join(values)}"
