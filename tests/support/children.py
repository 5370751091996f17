"""What forked processes do in the tests of the fork server."""

import os
import signal
import time


def leave(payload: bytes) -> int:
    """End with the status that the payload names."""
    return int(payload)


def crash(payload: bytes) -> int:
    raise RuntimeError("planted")


def kill_itself(payload: bytes) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def stay(payload: bytes) -> int:
    while True:
        time.sleep(1)


def warm() -> None:
    return None
