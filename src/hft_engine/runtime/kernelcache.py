"""Where compiled kernels are kept: a folder keyed by the code, the compiler and the processor.

numba notices a change in a kernel's own file, but not in a function or constant that it imports from another; so a
change in any file that a kernel imports, directly or not, gets a fresh folder. Old folders are removed.
"""

import hashlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

FOLDERS_KEPT = 8
_IMPORT = re.compile(r"^\s*from (hft_engine[\w.]*) import ([\w, ]+|\([^)]*\))", re.MULTILINE)
_PACKAGE = Path(__file__).resolve().parent.parent


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "flags", "Features", "CPU part")
    return "".join(sorted({line for line in lines if line.startswith(wanted)}))


_COMPILES = (b"njit", b"@kernel", b"intrinsic")  # what a source file that compiles something says


def key() -> str:
    """Changes with any source file of the package, the versions of numba, llvmlite and numpy, and the CPU."""
    digest = hashlib.sha256(_cpu().encode())
    digest.update(os.environ.get("HFT_LATENCY", "").encode())  # what shm.histogram_view compiles out
    for name in ("numba", "llvmlite", "numpy"):
        digest.update(version(name).encode())
    for name, source in sorted(kernel_sources().items()):
        digest.update(name.encode() + source)
    return digest.hexdigest()[:16]


def kernel_sources() -> dict[str, bytes]:
    """Every file that compiles something, and what these import of the package, by module name."""
    sources = {_module(path): path.read_bytes() for path in _PACKAGE.rglob("*.py")}
    wanted = [name for name, source in sources.items() if any(mark in source for mark in _COMPILES)]
    found: dict[str, bytes] = {}
    while wanted:
        name = wanted.pop()
        if name in sources and name not in found:
            found[name] = sources[name]
            for module, imported in _IMPORT.findall(sources[name].decode()):
                wanted += [module, *(f"{module}.{part}" for part in re.findall(r"\w+", imported))]
    return found


def _module(path: Path) -> str:
    return ".".join(path.relative_to(_PACKAGE.parent).with_suffix("").parts)


def _root() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hft_engine"
    try:
        base.mkdir(parents=True, exist_ok=True)
        if os.access(base, os.W_OK):
            return base
    except OSError:
        pass
    return Path(tempfile.gettempdir()) / f"hft_engine-cache-{os.getuid()}"


def directory() -> Path:
    """The folder for the code as it is now; older ones beyond FOLDERS_KEPT are removed."""
    wanted = _root() / f"kernels-{key()}"
    wanted.mkdir(parents=True, exist_ok=True)
    os.utime(wanted)
    folders = sorted(wanted.parent.glob("kernels-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for stale in folders[FOLDERS_KEPT:]:
        shutil.rmtree(stale, ignore_errors=True)
    return wanted


def use() -> Path:
    """Point numba there. Call before numba is imported; a setting of the user's own is respected."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(directory()))
    return Path(os.environ["NUMBA_CACHE_DIR"])


def mark(modules: Sequence[str]) -> Path:
    """The file that says that the cache in use holds the kernels of ``modules``.

    Named by the modules and by when their sources were last written: that is what numba goes by.
    """
    digest = hashlib.sha256(" ".join(modules).encode())
    for name in sorted(kernel_sources()):
        digest.update(
            str(_PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py").stat().st_mtime_ns).encode()
        )
    return use() / f"filled-{digest.hexdigest()[:16]}"


def wants_filling(mark: Path) -> bool:
    """Whether kernels are missing that could be kept."""
    return not mark.exists() and os.access(mark.parent, os.W_OK)
