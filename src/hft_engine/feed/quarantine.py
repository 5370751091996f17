"""Frames that could not be used in whole, kept as they came: one JSON line each, in a file of bounded size.

A line holds ``ts_recv_ns``, ``reasons`` and ``frame`` (text), or ``frame_base64`` where the bytes are no UTF-8.
"""

from base64 import b64encode
from pathlib import Path

import msgspec


class Quarantine:
    """``kept`` frames are in the file, ``dropped`` ones did not fit or could not be written. Never raises."""

    def __init__(self, path: Path, bytes_max: int) -> None:
        self.path = path
        self.kept = 0
        self.dropped = 0
        self.trouble: str | None = None  # why writing failed; it is not tried again
        self._bytes_max = bytes_max
        self._bytes = path.stat().st_size if path.exists() else 0

    def keep(self, frame: bytes, ts_recv_ns: int, reasons: list[str]) -> None:
        line = _line(frame, ts_recv_ns, reasons)
        if self.trouble is not None or self._bytes + len(line) > self._bytes_max:
            self.dropped += 1
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(line)
        except OSError as error:
            self.trouble = f"{self.path}: {error.strerror}; bad frames are counted and no longer kept"
            self.dropped += 1
        else:
            self._bytes += len(line)
            self.kept += 1


def _line(frame: bytes, ts_recv_ns: int, reasons: list[str]) -> bytes:
    record: dict[str, object] = {"ts_recv_ns": ts_recv_ns, "reasons": reasons}
    try:
        record["frame"] = frame.decode()
    except UnicodeDecodeError:
        record["frame_base64"] = b64encode(frame).decode()
    return msgspec.json.encode(record) + b"\n"
