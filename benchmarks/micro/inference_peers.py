"""Other ways to ask a LightGBM model for one row, each ready to be called from Python and from compiled code.

Each is a ``Peer``: ``arguments`` of a row are prepared beforehand, so that only the call itself is timed.
"""

import contextlib
import ctypes
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numba import njit

from benchmarks.harness import LeftOutError

LLEAVES = ("lleaves==1.3.0", "llvmlite==0.44.0")  # lleaves calls what llvmlite took out in 0.45
_LLEAVES_COMPILE = "import lleaves, sys; lleaves.Model(sys.argv[1]).compile(cache=sys.argv[2])"
_PACKAGES_S, _COMPILE_S = 300.0, 120.0
_FLOAT64, _NORMAL = 1, 0  # of LightGBM's c_api.h
_ADDRESS = ctypes.c_ssize_t  # a pointer, as an integer that compiled code can hand over


@dataclass(frozen=True)
class Peer:
    """``function(*arguments(row, out))`` from Python, ``kernel(context, row, out)`` from compiled code.

    ``row`` and ``out`` of ``arguments`` are addresses; ``out`` receives one double and holds 0.0 before.
    """

    function: Callable[..., Any]
    arguments: Callable[[int, int], tuple[Any, ...]]
    kernel: Any
    context: tuple[int, ...]


class FastConfig(AbstractContextManager["FastConfig"]):
    """LightGBM's C API in its fastest form: one row at a time with everything prepared beforehand."""

    def __init__(self, model: Path, columns: int) -> None:
        from lightgbm import basic

        self._library: Any = vars(basic)["_LIB"]  # as it is loaded already
        self._check = basic._safe_call
        self._booster, self._config = ctypes.c_void_p(), ctypes.c_void_p()
        self._length = ctypes.c_int64()
        name = ctypes.c_char_p(str(model).encode())
        self._check(
            self._library.LGBM_BoosterCreateFromModelfile(
                name, ctypes.byref(ctypes.c_int()), ctypes.byref(self._booster)
            )
        )
        self._check(
            self._library.LGBM_BoosterPredictForMatSingleRowFastInit(
                self._booster, _NORMAL, 0, -1, _FLOAT64, columns,
                ctypes.c_char_p(b"num_threads=1"), ctypes.byref(self._config),
            )
        )  # fmt: skip

    def peer(self) -> Peer:
        prototype = ctypes.CFUNCTYPE(ctypes.c_int, _ADDRESS, _ADDRESS, _ADDRESS, _ADDRESS)
        predict = prototype(("LGBM_BoosterPredictForMatSingleRowFast", self._library))
        config, length = int(self._config.value or 0), ctypes.addressof(self._length)

        @njit(nogil=True)
        def kernel(context, row, out):  # type: ignore[no-untyped-def]
            predict(context[0], row.ctypes.data, context[1], out.ctypes.data)

        def arguments(row: int, out: int) -> tuple[Any, ...]:
            pointers = ctypes.c_void_p(row), ctypes.byref(self._length), ctypes.c_void_p(out)
            return (self._config, *pointers)

        plain = self._library.LGBM_BoosterPredictForMatSingleRowFast  # untyped: ctypes converts nothing
        return Peer(plain, arguments, kernel, (config, length))

    def __exit__(self, *_: object) -> None:
        self._library.LGBM_FastConfigFree(self._config)
        self._library.LGBM_BoosterFree(self._booster)


def treelite(model: Path, directory: Path) -> Peer:
    """The model as C by treelite and tl2cgen, compiled with ``cc -O3``. It *adds* to the result.

    A missing value would have to be marked in a copy of the row; the rows have none and are handed over as they are.
    """
    library = build_treelite(model, directory)
    predict = ctypes.CFUNCTYPE(None, _ADDRESS, ctypes.c_int, _ADDRESS)(("predict", library))

    @njit(nogil=True)
    def kernel(context, row, out):  # type: ignore[no-untyped-def]
        out[0] = 0.0
        predict(row.ctypes.data, 0, out.ctypes.data)

    def arguments(row: int, out: int) -> tuple[Any, ...]:
        return ctypes.c_void_p(row), 0, ctypes.c_void_p(out)

    return Peer(library.predict, arguments, kernel, (0,))


def build_treelite(model: Path, directory: Path) -> ctypes.CDLL:
    """Raises ImportError, LeftOutError."""
    import tl2cgen
    from treelite.frontend import load_lightgbm_model

    with contextlib.redirect_stdout(sys.stderr):  # where it says what it does
        tl2cgen.generate_c_code(load_lightgbm_model(str(model)), dirpath=directory / "treelite", params={})
    return _shared(directory / "treelite.so", [directory / "treelite" / "main.c"])


def lleaves(model: Path, directory: Path) -> Peer:
    """The model as machine code by lleaves, made ahead of time by an environment of its own. Raises LeftOutError."""
    library = build_lleaves(model, directory)
    prototype = ctypes.CFUNCTYPE(None, _ADDRESS, _ADDRESS, ctypes.c_int32, ctypes.c_int32)
    forest = prototype(("forest_root", library))

    @njit(nogil=True)
    def kernel(context, row, out):  # type: ignore[no-untyped-def]
        forest(row.ctypes.data, out.ctypes.data, 0, 1)

    def arguments(row: int, out: int) -> tuple[Any, ...]:
        return ctypes.c_void_p(row), ctypes.c_void_p(out), 0, 1

    return Peer(library.forest_root, arguments, kernel, (0,))


def build_lleaves(model: Path, directory: Path) -> ctypes.CDLL:
    """Installs lleaves and the llvmlite it needs into ``directory``; the program's own packages stay as they are."""
    environment, compiled = directory / "lleaves", directory / "lleaves.o"
    venv.create(environment, with_pip=True)
    python = str(environment / "bin" / "python")
    _run([python, "-m", "pip", "install", "--quiet", *LLEAVES], _PACKAGES_S)
    _run([python, "-c", _LLEAVES_COMPILE, str(model), str(compiled)], _COMPILE_S)
    return _shared(directory / "lleaves.so", [compiled])


def _shared(library: Path, sources: Sequence[Path]) -> ctypes.CDLL:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise LeftOutError("no C compiler; remedy: apt-get install gcc")
    _run([compiler, "-O3", "-fPIC", "-shared", *map(str, sources), "-o", str(library), "-lm"], _COMPILE_S)
    return ctypes.CDLL(str(library))


def _run(command: list[str], timeout_s: float) -> None:
    # Output to stderr: the last line of stdout is the report's.
    try:
        subprocess.run(command, stdout=sys.stderr, timeout=timeout_s, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise LeftOutError(f"{error}; its output is above") from error
