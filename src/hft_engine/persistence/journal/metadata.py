"""What a segment says about the run that wrote it."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from hft_engine import records

RECORDS = ("TICK_DTYPE", "BAR_DTYPE", "FEATURE_DTYPE", "PREDICTION_DTYPE", "SIGNAL_DTYPE")


class CodeIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Which code ran. ``source_hash`` covers every file of the package, ``kernel_hash`` what decides a number."""

    version: str = ""
    commit: str = ""  # git; empty where the package is no checkout
    source_hash: str = ""
    kernel_hash: str = ""


class MachineIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What numbers may depend on besides the code."""

    cpu_model: str = ""
    cpu_class: str = ""  # architecture and the family that the compiler makes code for, e.g. "x86_64 znver3"
    python: str = ""
    libc: str = ""
    libraries: dict[str, str] = {}


class SegmentMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """``symbols`` is the instrument table in order of id when the segment began, ``first_signal`` its next signal.

    ``config`` is the configuration with secrets masked, ``models`` SHA-256 by the path of a model's file, as they
    were when the run began; what changed since is in the session's events.
    """

    run_id: str
    venue: str
    config_hash: str
    code_version: str
    symbols: tuple[str, ...] = ()
    first_signal: int = 0
    dtypes: dict[str, str] = {}
    config: dict[str, Any] = {}
    models: dict[str, str] = {}
    code: CodeIdentity = CodeIdentity()
    machine: MachineIdentity = MachineIdentity()


def dtype_hash(dtype: np.dtype) -> bytes:
    """SHA-256 of the names, formats and offsets of a record's fields, and of its size."""
    fields: Mapping[str, Any] = dtype.fields or {}
    layout = [(name, fields[name][0].str, fields[name][1]) for name in dtype.names or ()]
    return hashlib.sha256(repr((layout, dtype.itemsize)).encode()).digest()


def dtype_hashes() -> dict[str, str]:
    """Of every record that crosses a ring, by its name in ``records``, in hexadecimal."""
    return {name: dtype_hash(getattr(records, name)).hex() for name in RECORDS}
