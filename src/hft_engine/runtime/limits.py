"""Time-outs that must keep an order, with the reason of each inequality asserted at import."""

CYCLE_LONG_NS = 10_000_000  # a duty cycle over this is counted as long
CONTROL_POLL_NS = 5_000_000  # how often a busy actor looks at its control socket
SUPERVISOR_POLL_MS = 50
STOP_DRAIN_S = 2.0  # what an actor may take to drain and flush on an ordered stop
COMMAND_TIMEOUT_MS = 2_000  # answer of the supervisor to a client
FORWARD_TIMEOUT_MS = 1_500  # answer of an actor to the supervisor
LINGER_MS = 100
HIGH_WATER = 1_000  # control messages queued for one peer
READY_TIMEOUT_S = 170.0  # cold compilation on a slow machine, before the fork server is given up

assert CYCLE_LONG_NS < 1_000_000_000, "a long cycle must be seen before the heartbeat limit calls it hung"
assert FORWARD_TIMEOUT_MS < COMMAND_TIMEOUT_MS, (
    "a client must hear of an actor's silence, not time out itself"
)
assert LINGER_MS < STOP_DRAIN_S * 1e3, "closing sockets must fit into an ordered stop"
