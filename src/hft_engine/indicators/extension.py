"""The user's own indicators: a plain Python function, registered by name, compiled into the hot path.

    from hft_engine.indicators.extension import indicator

    @indicator(name="my_mean", state_size=2)
    def my_mean(state, tick, features):
        '''state: float64[state_size] of this instrument, zeros at first, kept from tick to tick
        tick: the trade or quote (fields of ``records.TICK_DTYPE``)
        features: float64[64], what the built-in indicators say after this tick (do not write to it)'''
        ...
        return value    # float; NaN while it is unknown

One that looks across instruments asks for ``shared_size`` and is called with a fourth argument, ``shared``:
float64[shared_size], one for all instruments, zeros at first. Ticks come in the order of the ring, which the journal
keeps, so what is in it is the same in a replay; see ``indicators.market``.

In the configuration: ``indicators: {extensions: ["my_file.py:my_mean"]}`` or ``["package.module:my_mean"]``.

The function must be one that ``numba.njit`` compiles. Division by zero gives inf or NaN. It must not raise:
compiled code cannot pass an exception on, the value of that tick would be 0. Clocks, files and random numbers
have no place in it: replays would differ. No numba is imported here before something is compiled.
"""

import functools
import hashlib
import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from hft_engine.records import FEATURES_MAX, TICK_DTYPE
from hft_engine.userfiles import import_file

STATE_SIZE_MAX = 32  # doubles an instrument and extension: four cache lines
SHARED_SIZE_MAX = 32  # doubles an extension
SHARED_MAX = 192  # doubles of all extensions: they go into the facts of a checkpoint
_MARK = "__hft_indicator__"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_F = TypeVar("_F", bound=Callable[..., float])


class ExtensionError(ValueError):
    """An extension cannot be used; the message names it and the cause."""


@dataclass(frozen=True)
class Extension:
    name: str  # of the feature
    state_size: int  # doubles an instrument
    function: Callable[..., float]
    spec: str  # as the configuration names it
    shared_size: int = 0  # doubles for all instruments together


@dataclass(frozen=True)
class Compiled:
    """``address`` of machine code that lives as long as ``code`` does."""

    address: int
    code: Any


def indicator(*, name: str, state_size: int = 0, shared_size: int = 0) -> Callable[[_F], _F]:
    """Register a function as an indicator whose feature is called ``name``. Raises ExtensionError."""
    if not _NAME.fullmatch(name):
        raise ExtensionError(f"indicator name {name!r}: use lower-case letters, digits and _, at most 48")
    if not 0 <= state_size <= STATE_SIZE_MAX:
        raise ExtensionError(f"indicator {name!r}: state_size {state_size} is not in 0..{STATE_SIZE_MAX}")
    if not 0 <= shared_size <= SHARED_SIZE_MAX:
        raise ExtensionError(f"indicator {name!r}: shared_size {shared_size} is not in 0..{SHARED_SIZE_MAX}")

    def mark(function: _F) -> _F:
        setattr(function, _MARK, (name, state_size, shared_size))
        return function

    return mark


def load_extensions(specs: Sequence[str]) -> list[Extension]:
    """The registered functions that the configuration names. Raises ExtensionError."""
    return [_load(spec) for spec in specs]


def check_shared(extensions: Sequence[Extension]) -> None:
    """Raises ExtensionError where they share more among instruments than a checkpoint can hold."""
    wanted = sum(extension.shared_size for extension in extensions)
    if wanted > SHARED_MAX:
        raise ExtensionError(
            f"indicators.extensions: shared_size is {wanted} in all, a checkpoint has room for {SHARED_MAX}"
        )


def source_hashes(specs: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the file that each extension comes from, by its spec; empty where there is none to read."""
    return {extension.spec: _file_hash(extension.function) for extension in load_extensions(specs)}


def _file_hash(function: Callable[..., float]) -> str:
    try:
        return hashlib.sha256(Path(function.__code__.co_filename).read_bytes()).hexdigest()
    except OSError:
        return ""


@functools.cache  # half a second each: a program that makes several stages pays once
def compile_extension(extension: Extension) -> Compiled:
    """Machine code of an extension, called as ``double f(double *state, tick *, double *features, double *shared)``.

    Raises ExtensionError with the compiler's reason.
    """
    numba: Any = importlib.import_module("numba")  # only who has extensions pays for it
    types, carray = numba.types, numba.carray
    doubles = types.CPointer(types.float64)
    signature = types.float64(doubles, types.CPointer(numba.from_dtype(TICK_DTYPE)), doubles, doubles)
    inner = numba.njit(nogil=True, error_model="numpy")(extension.function)
    state_size, shared_size, features_max = max(1, extension.state_size), extension.shared_size, FEATURES_MAX

    def alone(state: Any, tick: Any, features: Any, shared: Any) -> float:
        return float(inner(carray(state, state_size), carray(tick, 1)[0], carray(features, features_max)))

    def across(state: Any, tick: Any, features: Any, shared: Any) -> float:
        vectors = carray(state, state_size), carray(features, features_max), carray(shared, shared_size)
        return float(inner(vectors[0], carray(tick, 1)[0], vectors[1], vectors[2]))

    try:
        code = numba.cfunc(signature, error_model="numpy")(across if shared_size else alone)
    except Exception as error:  # numba lets its own failures through as they are, a KeyError for a field
        raise ExtensionError(f"{_where(extension.spec)}: cannot be compiled: {_reason(error)}") from error
    return Compiled(int(code.address), code)


def _load(spec: str) -> Extension:
    module_name, separator, function_name = spec.rpartition(":")
    if not separator or not module_name or not function_name:
        raise ExtensionError(f'{_where(spec)}: write "package.module:function" or "file.py:function"')
    module = _import(spec, module_name)
    function = getattr(module, function_name, None)
    if function is None:
        raise ExtensionError(f"{_where(spec)}: {module_name} has no function {function_name!r}")
    if not hasattr(function, _MARK):
        raise ExtensionError(
            f"{_where(spec)}: {function_name} is not registered; put @indicator(name=..., state_size=...) on it"
        )
    name, state_size, shared_size = getattr(function, _MARK)
    return Extension(name, state_size, function, spec, shared_size)


def _import(spec: str, module_name: str) -> ModuleType:
    try:
        if module_name.endswith(".py"):
            return import_file(Path(module_name))
        return importlib.import_module(module_name)
    except Exception as error:
        raise ExtensionError(f"{_where(spec)}: {module_name}: {type(error).__name__}: {error}") from error


def _where(spec: str) -> str:
    return f"indicators.extensions: {spec!r}"


def _reason(error: Exception) -> str:
    """What a compiler's error says, without its drawings."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Failed in", "^", "-", "During:"))]
    return f"{type(error).__name__}: {' | '.join(told[:4])}"
