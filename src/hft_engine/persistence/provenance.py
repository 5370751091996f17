"""Which code, which machine and which models a session is made with: what its journal's header says."""

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llvmlite import binding

from hft_engine import __version__
from hft_engine.config.outputs import METADATA_SUFFIX
from hft_engine.config.schema import Config
from hft_engine.persistence.journal.metadata import CodeIdentity, MachineIdentity
from hft_engine.runtime import kernelcache

LIBRARIES = ("numpy", "numba", "llvmlite", "lightgbm")
_PACKAGE = Path(__file__).resolve().parent.parent


@cache
def code() -> CodeIdentity:
    """Of the package as it lies on the disk now."""
    return CodeIdentity(
        version=__version__,
        commit=git_commit(_PACKAGE.parent.parent),
        source_hash=_hash({str(p.relative_to(_PACKAGE)): p.read_bytes() for p in _PACKAGE.rglob("*.py")}),
        kernel_hash=_hash(kernelcache.kernel_sources()),
    )


@cache
def machine() -> MachineIdentity:
    return MachineIdentity(
        cpu_model=_cpu_model(),
        cpu_class=f"{platform.machine()} {binding.get_host_cpu_name()}",
        python=platform.python_version(),
        libc=" ".join(platform.libc_ver()),
        libraries={name: _version(name) for name in LIBRARIES},
    )


def models(config: Config) -> dict[str, str]:
    """SHA-256 of the files of the configured models, by path; a file that cannot be read has an empty one."""
    paths = [Path(path) for path in config.inference.paths]
    files = [file for path in paths for file in (path, path.with_name(path.name + METADATA_SUFFIX))]
    return {str(file): _file_hash(file) for file in files}


def git_commit(root: Path) -> str:
    """The commit that is checked out at ``root`` (a clone or a worktree of one), without asking git."""
    git = root / ".git"
    try:
        if git.is_file():
            git = root / git.read_text().removeprefix("gitdir:").strip()
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref:"):
            return head
        common = git / "commondir"
        shared = git / common.read_text().strip() if common.exists() else git
        return _reference(shared, head.removeprefix("ref:").strip())
    except OSError:
        return ""


def _reference(git: Path, name: str) -> str:
    loose = git / name
    if loose.exists():
        return loose.read_text().strip()
    lines = (git / "packed-refs").read_text().splitlines()
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), "")


def _hash(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}:{len(content)}:".encode() + content)
    return digest.hexdigest()


def _file_hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
