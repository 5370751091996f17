import socket
import threading

import numpy as np
import pytest
from benchmarks import workload
from benchmarks.load import bare


@pytest.mark.parametrize("spinning", [True, False])
def test_every_frame_is_seen_however_its_bytes_come(spinning: bool) -> None:
    frames = [workload.websocket_frame(b"x" * size) for size in (10, 125, 126, 300)] * 500
    stream, piece = b"".join(frames), 997
    late = np.zeros(len(frames), np.int64)
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def send() -> None:
            for at in range(0, len(stream), piece):
                theirs.sendall(stream[at : at + piece])

        sender = threading.Thread(target=send)
        sender.start()
        buffer = np.zeros(2 * bare.FRAME_BYTES_MAX, np.uint8)
        assert bare._take(ours.fileno(), spinning, 0, 0.0, buffer, late) == len(frames)
        sender.join()
    assert (np.diff(late) >= 0).all() and late[0] > 0


def test_a_load_that_hangs_up_is_noticed() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(workload.websocket_frame(b"xx"))
    theirs.close()
    with ours:
        buffer, late = np.zeros(2 * bare.FRAME_BYTES_MAX, np.uint8), np.zeros(2, np.int64)
        assert bare._take(ours.fileno(), False, 0, 0.0, buffer, late) == 1
