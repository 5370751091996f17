"""Run directories: where the segments, sockets and the manifest of one run live, and who cleans them up.

    <root>/hft_engine-<uid>/<run_id>/     0700; run.lock is held with flock by the supervisor as long as it lives

The kernel frees the lock when the supervisor dies, however it dies: a directory whose lock can be taken belongs
to nobody and is swept by the next start or stop.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

SHM = Path("/dev/shm")
MANIFEST = "run.json"
LOCK = "run.lock"
SOCKET_PATH_MAX = 107  # sun_path of a Unix socket, less its final zero
_LONGEST_SOCKET = "control.ipc"


class RunError(RuntimeError):
    """No run, or more than one, where exactly one was meant; or the directory cannot be used."""


class RingEntry(msgspec.Struct, frozen=True):
    name: str
    file: str
    dtype: str  # name in ``records``
    capacity: int
    writer: str
    readers: tuple[str, ...]


class Manifest(msgspec.Struct, frozen=True):
    """run.json: what a view needs to know to read a run's segments."""

    run_id: str
    name: str
    pid: int  # of the supervisor
    layout: str
    source: str  # feed | replay
    venue: str
    started_utc_ns: int
    started_mono_ns: int
    data_dir: str
    log_dir: str
    processes: dict[str, tuple[str, ...]]  # process name -> roles, in order of start
    rings: tuple[RingEntry, ...]
    rules: tuple[str, ...]  # names of the signal rules, in order
    config: dict[str, object]  # redacted


def new_run_id(name: str) -> str:
    """A name that no other run has: journals, database rows and run directories go by it."""
    return f"{name}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def base_dir(root: str | None) -> Path:
    """The directory of all runs of this user."""
    parent = Path(root) if root else (SHM if os.access(SHM, os.W_OK) else Path(tempfile.gettempdir()))
    return parent / f"hft_engine-{os.getuid()}"


class RunDirectory:
    """A run's directory while its supervisor lives."""

    def __init__(self, path: Path, lock_fd: int) -> None:
        self.path = path
        self.run_id = path.name
        self._lock_fd = lock_fd

    @classmethod
    def take(cls, root: str | None, run_id: str) -> "RunDirectory | None":
        """The directory of a dead run, its lock taken; None where there is none."""
        path = base_dir(root) / run_id
        try:
            fd = os.open(path / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise RunError(f"run {run_id} is running; stop it first (hft stop)") from None
        return cls(path, fd)

    @classmethod
    def create(cls, root: str | None, name: str, run_id: str = "") -> "RunDirectory":
        """A new directory with its lock taken. Raises RunError where it cannot be made.

        ``run_id``: of a session that goes on; else a new one.
        """
        path = base_dir(root) / (run_id or new_run_id(name))
        if len(str(path / _LONGEST_SOCKET)) > SOCKET_PATH_MAX:
            raise RunError(f"engine.run_root is too long for Unix sockets: {path}; choose a shorter one")
        for _ in range(3):  # somebody's clean-up may remove the empty parent between the two steps
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.mkdir(mode=0o700)
                break
            except FileNotFoundError:
                continue
            except OSError as error:
                raise RunError(
                    f"cannot make {path}: {error.strerror}; set engine.run_root elsewhere"
                ) from error
        if path.parent.stat().st_uid != os.getuid():
            raise RunError(f"{path.parent} belongs to another user; set engine.run_root elsewhere")
        fd = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return cls(path, fd)

    def write_manifest(self, manifest: Manifest) -> None:
        """Complete or not there: written beside and renamed. Raises RunError where there is no room for it."""
        draft = self.path / (MANIFEST + ".new")
        try:
            draft.write_bytes(msgspec.json.encode(manifest))
            draft.replace(self.path / MANIFEST)
        except OSError as error:
            raise RunError(
                f"cannot write {draft}: {error.strerror}; make rings.* smaller, or point engine.run_root at a "
                "larger memory file system"
            ) from error

    def remove(self) -> None:
        """Unlink everything; the mappings of processes that still live stay valid until they go."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock_fd)
        _remove_if_empty(self.path.parent)


def _remove_if_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()


@contextlib.contextmanager
def _orphaned(path: Path) -> Iterator[bool]:
    """Whether nobody holds the run's lock; while inside, we do."""
    try:
        fd = os.open(path / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        # Either being made this instant (the lock file follows within milliseconds) or half swept.
        yield time.time() - path.stat().st_mtime > 10 if path.exists() else False
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(fd)


def sweep(
    root: str | None, spare: str = "", salvage: Callable[[Path], None] = lambda path: None
) -> list[str]:
    """Remove what dead runs left behind, but for the one called ``spare``; returns their ids. Touches no live run.

    ``salvage`` is called with each directory before it goes.
    """
    base = base_dir(root)
    swept = []
    for path in sorted(base.iterdir()) if base.is_dir() else []:
        if not path.is_dir() or path.name == spare:
            continue
        with _orphaned(path) as orphaned:
            if orphaned:
                salvage(path)
                shutil.rmtree(path, ignore_errors=True)
                swept.append(path.name)
    _remove_if_empty(base)
    return swept


def live_runs(root: str | None) -> list[Path]:
    """Directories of running engines, oldest first."""
    base = base_dir(root)
    found = []
    for path in sorted(base.iterdir()) if base.is_dir() else []:
        if path.is_dir():
            with _orphaned(path) as orphaned:
                if not orphaned:
                    found.append(path)
    return sorted(found, key=lambda path: path.stat().st_ctime_ns)


def read_manifest(path: Path) -> Manifest:
    """Raises RunError while the run has none yet."""
    try:
        return msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise RunError(f"run {path.name} is still starting") from None


def find_run(root: str | None, wanted: str | None = None, data_dir: Path | None = None) -> Path:
    """The run a command means: by id, else the one of this data directory, else the only one. Raises RunError."""
    runs = live_runs(root)
    if wanted:
        runs = [path for path in runs if path.name == wanted or path.name.startswith(wanted)]
    elif data_dir is not None:
        runs = [path for path in runs if _of_data_dir(path, data_dir)]
    if not runs:
        raise RunError(
            "no engine is running" + (f" as {wanted!r}" if wanted else "") + "; start one: hft start"
        )
    if len(runs) > 1:
        names = ", ".join(path.name for path in runs)
        raise RunError(f"several engines are running ({names}); say which with --run")
    return runs[0]


def _of_data_dir(path: Path, data_dir: Path) -> bool:
    try:
        return Path(read_manifest(path).data_dir) == data_dir.resolve()
    except RunError:
        return False


class DataLock:
    """One engine per data directory: two would write the same database."""

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(data_dir / ".engine.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._fd, 200, 0).decode() or "unknown"
            os.close(self._fd)
            raise RunError(
                f"an engine is already running with data directory {data_dir} ({owner}); "
                "stop it first (hft stop), or give this one another engine.data_dir"
            ) from None

    def describe(self, text: str) -> None:
        os.ftruncate(self._fd, 0)
        with contextlib.suppress(
            OSError
        ):  # on a full disk the owner has no name; the lock holds all the same
            os.pwrite(self._fd, text.encode(), 0)

    def release(self) -> None:
        os.ftruncate(self._fd, 0)
        os.close(self._fd)
