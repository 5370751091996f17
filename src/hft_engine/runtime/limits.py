"""Time-outs that must keep an order (``config.ladders``), asserted at import with the configuration's defaults."""

from hft_engine.config import ladders
from hft_engine.config.checks import feed_ladder, process_ladder
from hft_engine.config.schema import FeedConfig, SupervisorConfig

CYCLE_LONG_NS = ladders.CYCLE_MS * 1_000_000
CONTROL_POLL_NS = 50_000_000  # how often a busy actor looks at its control socket
# In compiled code at most this long. Python takes 200-600 us then, cold as it is, in parts of 10-60 us between which
# ticks pass (``Actor.tend``).
TURN_NS = 100_000_000
TEND_NS = 20_000_000  # turns that end sooner because so much came leave Python its part (``tend``) no oftener
SUPERVISOR_POLL_MS = 50
STOP_DRAIN_S = 2.0  # what an actor may take to drain and flush on an ordered stop
SUPERVISOR_EXIT_S = ladders.SUPERVISOR_EXIT_MS / 1e3
STOP_COMMAND_S = ladders.STOP_COMMAND_MS / 1e3
DISK_PATIENCE_S = 30.0  # a process that waits for the disk is not taken for hung before
KILLED_GONE_S = 1.0  # from SIGKILL to the process's end; the kernel has to free its memory
COMMAND_TIMEOUT_MS = 2_000  # answer of the supervisor to a client
FORWARD_TIMEOUT_MS = 1_500  # answer of an actor to the supervisor
MODEL_READ_MS = 30_000  # more than these two for an answer that comes when a model was read, beside the ticks
LINGER_MS = 100
HIGH_WATER = 1_000  # control messages queued for one peer
READY_TIMEOUT_S = 170.0  # cold compilation on a slow machine, before the fork server is given up

_SUPERVISOR, _FEED = SupervisorConfig(), FeedConfig()

assert not ladders.broken(process_ladder(_SUPERVISOR)), process_ladder(_SUPERVISOR)
assert not ladders.broken(feed_ladder(_FEED)), feed_ladder(_FEED)
assert _SUPERVISOR.heartbeat_limit_ms > SUPERVISOR_POLL_MS * 2, "a hung actor must be seen within its limit"
assert CONTROL_POLL_NS < FORWARD_TIMEOUT_MS * 1_000_000 // 10, "a busy actor must answer in time"
assert _SUPERVISOR.stop_deadline_ms > STOP_DRAIN_S * 1e3, "an actor that drains must not be killed for it"
assert _SUPERVISOR.stop_deadline_ms > ladders.RESTART_READY_MS, (
    "a restarted actor can be told to stop in order"
)
assert FORWARD_TIMEOUT_MS < COMMAND_TIMEOUT_MS, (
    "a client must hear of an actor's silence, not time out itself"
)
assert LINGER_MS < STOP_DRAIN_S * 1e3, "closing sockets must fit into an ordered stop"
