"""The feed's lines as one stage of a process: one compiled call that serves them all, one descriptor to wait on."""

import select
from collections.abc import Sequence

from hft_engine.feed.line import Line
from hft_engine.feed.wire import Wire, Wires
from hft_engine.runtime.chain import NativeCall


class LineStage:
    """Bound to the connections that there are; ``bind`` again before each use, it costs nothing while they stay.

    With one line its own call and its own socket: nothing stands between.
    """

    def __init__(self) -> None:
        self._bound: list[Wire] = []
        self._wires: Wire | Wires | None = None
        self._poll: select.epoll | None = None
        self._fd = -1

    def bind(self, lines: Sequence[Line]) -> "LineStage":
        wires = [line.wire for line in lines]
        if len(wires) != len(self._bound) or any(a is not b for a, b in zip(wires, self._bound, strict=True)):
            self._bound = wires
            self._fd = self._descriptor([fd for line in lines if (fd := line.fileno()) is not None])
            self._wires = wires[0] if len(wires) == 1 else Wires(wires, self._fd)
        return self

    def pump(self) -> int:
        """What is in the sockets, from Python. Returns messages taken."""
        assert self._wires is not None
        return self._wires.pump()

    @property
    def call(self) -> NativeCall:
        assert self._wires is not None
        return self._wires.call

    @property
    def fd(self) -> int | None:
        """What to wait on for input of any line; None where no line is connected."""
        return None if self._fd < 0 else self._fd

    def close(self) -> None:
        if self._poll is not None:
            self._poll.close()
            self._poll = None

    def _descriptor(self, fds: list[int]) -> int:
        self.close()
        if len(self._bound) == 1 or not fds:
            return fds[0] if fds else -1
        self._poll = select.epoll()
        for fd in fds:
            self._poll.register(fd, select.EPOLLIN)
        return self._poll.fileno()
