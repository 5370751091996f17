"""The fork server: a single-threaded process with every kernel loaded, forked for each actor process.

A fresh interpreter needs 1.3 s until its first compiled result; a fork of this one 40 ms, and it shares the
compiled code's pages. Nothing that starts a thread is imported here (LightGBM does), and no ZeroMQ context made: a
fork after threads hangs. Chain of death: the actors die with the fork server (PDEATHSIG), the fork server dies with
the supervisor (PDEATHSIG, and its socket closes).

Protocol over a socket pair, one message at a time, MessagePack:
    <- Spawn        -> Spawned with the child's pidfd as ancillary data
    <- Reap         -> Reaped
The server reports Progress while it warms up, then Ready. What compiles the kernels of a first start are forks
of it too, one a core, which end when the cache is full.
"""

import contextlib
import gc
import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from hft_engine.runtime import kernelcache
from hft_engine.runtime.limits import READY_TIMEOUT_S
from hft_engine.runtime.linux import die_with_parent, readable, set_name, thread_count

_MESSAGE_MAX = 1 << 20
WARMING_POLL_S = 0.05  # a stop that comes while kernels compile is heard this soon
COMPILERS_MAX = 4  # more have nothing to do: one module takes as long as all others together
_SINGLE_THREADED = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


class Spawn(msgspec.Struct, tag=True):
    """Call ``target`` ("module:function") with ``payload`` in a new process called ``name``."""

    name: str
    target: str
    payload: bytes


class Spawned(msgspec.Struct, tag=True):
    pid: int


class Reap(msgspec.Struct, tag=True):
    pid: int


class Reaped(msgspec.Struct, tag=True):
    """``status`` as of os.waitstatus_to_exitcode: negative = killed by that signal."""

    status: int


class Progress(msgspec.Struct, tag=True):
    module: str
    index: int
    total: int


class Ready(msgspec.Struct, tag=True):
    seconds: float


class Failed(msgspec.Struct, tag=True):
    error: str


_Request = Spawn | Reap
_Answer = Spawned | Reaped | Progress | Ready | Failed


class ForkServerError(RuntimeError):
    """The fork server could not warm up, or is gone."""


class ForkServer:
    """The supervisor's handle. Make it in the main thread: PDEATHSIG is bound to the thread that spawned."""

    def __init__(self, preload: Sequence[str], env: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [
            sys.executable,
            "-m",
            "hft_engine.runtime.forkserver",
            str(theirs.fileno()),
            str(os.getpid()),
        ]
        self._process = subprocess.Popen(
            [*command, *preload],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**env, **_SINGLE_THREADED},
            start_new_session=True,
        )
        theirs.close()
        self._socket = ours
        self._socket.settimeout(10.0)
        self.pid = self._process.pid
        self.pidfd = os.pidfd_open(self.pid)

    def warming(self, abandoned: Callable[[], bool] = lambda: False) -> Iterator[Progress]:
        """Progress until it is ready, or ``abandoned``, which is asked every WARMING_POLL_S.

        Raises ForkServerError.
        """
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not abandoned():
            left_s = deadline_s - time.monotonic()
            if left_s > 0 and not readable(self._socket.fileno(), min(left_s, WARMING_POLL_S)):
                continue
            answer = self._receive()
            if isinstance(answer, Ready):
                return
            if isinstance(answer, Failed):
                raise ForkServerError(answer.error)
            if isinstance(answer, Progress):
                deadline_s = time.monotonic() + READY_TIMEOUT_S  # slow, and going on: not to be given up
                yield answer

    def spawn(self, name: str, target: str, payload: bytes) -> tuple[int, int]:
        """A new process; returns (pid, pidfd). Raises ForkServerError."""
        self._send(Spawn(name, target, payload))
        raw, fds, _, _ = socket.recv_fds(self._socket, _MESSAGE_MAX, 1)
        answer = _decode_answer(raw)
        if not isinstance(answer, Spawned) or not fds:
            raise ForkServerError(f"fork server answered {answer}")
        os.set_inheritable(fds[0], False)
        return answer.pid, fds[0]

    def reap(self, pid: int) -> int:
        """Exit status of a process that has ended. Raises ForkServerError."""
        self._send(Reap(pid))
        answer = self._receive()
        if not isinstance(answer, Reaped):
            raise ForkServerError(f"fork server answered {answer}")
        return answer.status

    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """End it (and with it every child that still lives)."""
        self._socket.close()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self.pidfd)

    def _send(self, request: _Request) -> None:
        try:
            self._socket.sendall(msgspec.msgpack.encode(request))
        except OSError as error:
            raise ForkServerError(f"fork server is gone: {error}") from error

    def _receive(self) -> _Answer:
        try:
            raw = self._socket.recv(_MESSAGE_MAX)
        except OSError as error:
            raise ForkServerError(f"fork server does not answer: {error}") from error
        if not raw:
            raise ForkServerError(
                f"fork server ended with status {self._process.wait()}; see its output above"
            )
        return _decode_answer(raw)


def _decode_answer(raw: bytes) -> _Answer:
    return msgspec.msgpack.decode(raw, type=_Answer)


def _warm(server: socket.socket, modules: Sequence[str]) -> None:
    """Import each module and run its ``warm``; with kernels to compile first, which other processes do."""
    started = time.monotonic()
    mark = kernelcache.mark(modules)
    filling = kernelcache.wants_filling(mark)
    if filling:
        _compile(server, modules)
    for i, name in enumerate(modules):
        if not filling:
            server.sendall(msgspec.msgpack.encode(Progress(name, i, len(modules))))
        _warm_one(name)
    with contextlib.suppress(OSError):  # a full disk: then they are compiled again next time
        mark.touch()
    if thread_count() != 1:
        raise ForkServerError(
            f"{thread_count()} threads after loading {', '.join(modules)}: forking would hang"
        )
    gc.collect()
    gc.freeze()  # the children's collector leaves these pages alone, so they stay shared
    server.sendall(msgspec.msgpack.encode(Ready(time.monotonic() - started)))


def _warm_one(name: str) -> None:
    warm = getattr(importlib.import_module(name), "warm", None)
    if warm is not None:
        warm()


def _compile(server: socket.socket, modules: Sequence[str]) -> None:
    """Fill the kernel cache: a process a core, each taking the next module until there is none.

    What compiling leaves in a process's memory (300 MB) goes with it. What fails here fails again, and is reported,
    where the kernels are loaded.
    """
    queue, fill = os.pipe()
    os.write(fill, bytes(range(len(modules))))
    os.close(fill)
    me = os.getpid()
    compilers = []
    for _ in range(min(len(os.sched_getaffinity(0)), len(modules), COMPILERS_MAX)):
        pid = os.fork()
        if pid == 0:
            _compile_next(server, modules, queue, me)
        compilers.append(pid)
    os.close(queue)
    for pid in compilers:
        os.waitpid(pid, 0)


def _compile_next(server: socket.socket, modules: Sequence[str], queue: int, parent_pid: int) -> None:
    """A compiler's whole life; does not return."""
    try:
        die_with_parent(parent_pid)
        set_name("hft:compiler")
        gc.disable()  # a tenth of the time; what it would find ends with the process
        while index := os.read(queue, 1):
            name = modules[index[0]]
            server.sendall(msgspec.msgpack.encode(Progress(name, index[0], len(modules))))
            _warm_one(name)
    finally:
        os._exit(0)


def _become(server: socket.socket, parent_pid: int, request: Spawn) -> None:
    """The child's whole life; does not return."""
    status = 70
    try:
        server.close()
        die_with_parent(parent_pid)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's business
        set_name(f"hft:{request.name}")
        module, function = request.target.split(":")
        status = getattr(importlib.import_module(module), function)(request.payload)
    except BaseException:  # noqa: BLE001 - whatever it was, the child must not return into the server's loop
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _serve(server: socket.socket) -> None:
    me = os.getpid()
    while raw := server.recv(_MESSAGE_MAX):
        request = msgspec.msgpack.decode(raw, type=_Request)
        if isinstance(request, Reap):
            _, status = os.waitpid(request.pid, 0)
            server.sendall(msgspec.msgpack.encode(Reaped(os.waitstatus_to_exitcode(status))))
            continue
        pid = os.fork()
        if pid == 0:
            _become(server, me, request)
        pidfd = os.pidfd_open(pid)  # before anybody can reap it: the number cannot have been reused
        socket.send_fds(server, [msgspec.msgpack.encode(Spawned(pid))], [pidfd])
        os.close(pidfd)


def main(arguments: Sequence[str]) -> None:
    fd, parent_pid, modules = int(arguments[0]), int(arguments[1]), arguments[2:]
    die_with_parent(parent_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_name("hft:forkserver")
    server = socket.socket(fileno=fd)
    try:
        _warm(server, modules)
    except Exception as error:
        server.sendall(msgspec.msgpack.encode(Failed(f"{type(error).__name__}: {error}")))
        raise
    _serve(server)


if __name__ == "__main__":
    # Under ``-m`` this file is __main__; its classes must be the package's own for the children's sake.
    importlib.import_module("hft_engine.runtime.forkserver").main(sys.argv[1:])
