"""Orders that time-outs keep: each must end before the next, or a fault is judged by the wrong one.

    process: a duty cycle < heartbeat limit < hang kill < stop deadline of an actor < exit of the supervisor
             < ``hft stop`` kills it < systemd kills all
    feed:    quiet < pong patience < dead < reconnect cap < stable reset

A configuration that breaks an order is refused by key path (``config.checks``); ``runtime.limits`` asserts that the
defaults keep it.
"""

from itertools import pairwise

CYCLE_MS = 10  # a duty cycle over this is counted as long
RESTART_READY_MS = 2_000  # from an actor's death to its successor's first duty cycle, all kernels loaded
SUPERVISOR_EXIT_MS = 15_000  # from the order to stop to the last process gone, whatever hangs
STOP_COMMAND_MS = 17_000  # then `hft stop` kills the supervisor
SYSTEMD_STOP_MS = 20_000  # TimeoutStopSec of the unit in docs/operations.md

Rung = tuple[str, int]  # what it is called, milliseconds


def broken(ladder: list[Rung]) -> list[tuple[Rung, Rung]]:
    """The neighbours of which the first is not less than the second."""
    return [(lower, upper) for lower, upper in pairwise(ladder) if lower[1] >= upper[1]]
