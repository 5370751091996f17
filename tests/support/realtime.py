"""Whether this user may run threads in real time."""

import os
import threading


def may_run_in_real_time() -> bool:
    """Asked of a thread that then ends."""
    granted: list[bool] = []

    def ask() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        except PermissionError:
            return
        granted.append(True)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return bool(granted)
