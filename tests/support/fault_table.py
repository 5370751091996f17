"""Every shipped scenario at every simulated vendor, and what the engine makes of it: data, read by one test.

A scenario is what its file says, its times divided by ``hurry``, and so are the thresholds of the instruments' health.
What a connection waits for (quiet, dead) stays as shipped where the cell says ``shipped_waits``: where a silent one has
to be given up. Elsewhere it never is: a machine that stood still for longer would end a connection that the scenario
does not, and what was on its way then has neither come nor is it in the truth.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from hft_engine.config.schema import HealthConfig
from hft_engine.feed.simulator.scenario import Missing, Scenario, load_scenario, shipped

VENUES = ("polygon", "polygon-options", "finnhub", "alphavantage")
HURRY = 10.0
# Bounds that a busy machine keeps. That the first attempt is made at once, and what is waited for silence, is proved to
# the millisecond with clocks driven by hand: tests/unit/feed/test_backoff.py and tests/unit/feed/test_session.py.
RETRY_MS_MAX = 5_000  # from the end of a connection that was live to the first attempt at the next
PATIENT = {"quiet_after_ms": 300, "dead_after_ms": 240_000}
STALL_MS_MAX = 15_000  # from silence in the middle of everything to the first attempt at the next connection


@dataclass(frozen=True)
class Cell:
    """``fatal``: what the last message must say, when the feed has to end. Else it must be LIVE in the end, and:

    ``fates``: what the truth must have counted by then. ``told``: what people were told. ``health``: states that some
    instrument must have been in. ``ends``: connections that must have ended, each followed by another. ``back_ms``: the
    longest from the first end (or the stroke that made the connection silent) to the next that came. ``counts``: least
    values of counters.
    ``quiet``: the scenario is of nothing that this vendor has: no connection may be lost and nothing missing.
    """

    fatal: str = ""
    fates: tuple[str, ...] = ()
    told: str = ""
    health: tuple[str, ...] = ()
    ends: int = 0
    back_ms: int = 0
    not_before_ms: int = 0
    counts: tuple[tuple[str, int], ...] = ()
    quiet: bool = False
    hurry: float = HURRY
    shipped_waits: bool = False
    ticks_per_s: float = 2_000.0
    also: tuple[Missing, ...] = ()  # steps besides
    rest: bool = False


NOTHING = Cell(quiet=True)
WRONG_KEY = Cell(fatal="does not accept the API key.*POLYGON_API_KEY")
NO_WEBSOCKET = Cell(fatal="doesn't include websocket access.*check POLYGON_API_KEY")
DROPPED = Cell(
    ends=2, back_ms=RETRY_MS_MAX, fates=("unheard",), told="connection lost", health=("STALE", "GAPPED")
)
STALLED = Cell(
    ends=1, back_ms=STALL_MS_MAX, fates=("undelivered",), told="neither data nor pong", health=("STALE",),
    shipped_waits=True,
)  # fmt: skip
SLOW = Cell(ends=1, back_ms=RETRY_MS_MAX, told="connection lost", health=("STALE",))
# Less hurry where silence has to be longer than what is usual: a busy machine's own pauses are learned as usual.
MUTED = Cell(fates=("lost",), health=("STALE",), counts=(("quiets", 1),), hurry=4.0)
REFUSED = Cell(ends=1, back_ms=RETRY_MS_MAX, told="HTTP 503", counts=(("losses", 4),))
KICKED = Cell(ends=1, not_before_ms=900, back_ms=10_000, told="max_connections.*stop it, or ask")
LAGGED = Cell(health=("LAGGING",))
SKEWED = Cell(health=("LAGGING",))
REST_TROUBLE = Cell(
    health=("GAPPED",), counts=(("repairs_failed", 1), ("repairs", 1), ("bars_filled", 1)), rest=True,
    also=(Missing(ticks=20, after_ticks=1_500, channels=("T",)),), hurry=5.0,
)  # fmt: skip
ASKED_IN_VAIN = Cell(counts=(("reconnects", 1),))
REST_ONLY = dict.fromkeys(
    (
        "bad-line", "clock-skew", "connection-cap", "delayed-plan", "drop", "duplicates", "half-frame", "half-open",
        "lag-ramp", "loss", "missing", "mute", "no-websocket-plan", "one-symbol-mute", "plan-refusal",
        "refused-upgrades", "reorder", "slow-consumer", "halts",
    ),
    NOTHING,
)  # fmt: skip


def _with(cell: Cell, **changes: Any) -> Cell:
    return dataclasses.replace(cell, **changes)


_POLYGON: dict[str, Cell] = {
    "auth-failure": WRONG_KEY,
    "auth-hiccup": WRONG_KEY,
    "bad-line": Cell(fates=("lost", "duplicated", "reordered"), health=("GAPPED",)),
    "clock-skew": SKEWED,
    "connection-cap": KICKED,
    "delayed-plan": Cell(fatal="no real-time data: set feed.url to wss://delayed"),
    "drop": DROPPED,
    "duplicates": Cell(fates=("duplicated",)),
    "half-frame": STALLED,
    "half-open": STALLED,
    "halts": Cell(health=("HALTED",)),
    "lag-ramp": LAGGED,
    "loss": Cell(fates=("lost",), health=("GAPPED",)),
    # the last hundred thousand take a market of that size
    "missing": Cell(fates=("lost",), health=("GAPPED",), told="data are missing", ticks_per_s=30_000.0),
    "mute": MUTED,
    "no-websocket-plan": NO_WEBSOCKET,
    "one-symbol-mute": Cell(fates=("lost",), health=("STALE",), hurry=4.0),
    "plan-refusal": Cell(told="not authorized.*see feed.channels", counts=(("acks_missing", 1),)),
    "refused-upgrades": REFUSED,
    "reorder": Cell(fates=("reordered",)),
    "rest-429": _with(REST_TROUBLE, told="bars that are missing could not be had.*429"),
    "rest-500": _with(REST_TROUBLE, told="bars that are missing could not be had.*500"),
    "slow-consumer": SLOW,
}
_OPTIONS = _POLYGON | {
    "halts": NOTHING,  # of stocks; an option's quote has no condition
    "one-symbol-mute": NOTHING,
}
# No numbers on this wire, so what is lost can only be seen as silence; no plan, no REST side of bars.
_FINNHUB: dict[str, Cell] = _POLYGON | {
    "auth-failure": Cell(fatal="HTTP 401 to the upgrade; it does not accept the API key"),
    "auth-hiccup": Cell(fatal="HTTP 401 to the upgrade; it does not accept the API key"),
    "bad-line": Cell(fates=("lost", "duplicated", "reordered")),
    "connection-cap": Cell(ends=1, back_ms=RETRY_MS_MAX, told="connection lost"),
    "delayed-plan": NOTHING,
    "halts": Cell(health=("STALE",)),
    "loss": Cell(fates=("lost",)),
    "missing": Cell(fates=("lost",), ticks_per_s=30_000.0),
    "no-websocket-plan": NOTHING,
    "one-symbol-mute": Cell(
        fates=("lost",), health=("STALE",), hurry=4.0
    ),  # trades alone: longer to learn from
    "plan-refusal": NOTHING,
    "rest-429": NOTHING,
    "rest-500": NOTHING,
}
_ALPHAVANTAGE: dict[str, Cell] = REST_ONLY | {
    "auth-failure": Cell(fatal="check ALPHAVANTAGE_API_KEY"),
    "auth-hiccup": Cell(fatal="check ALPHAVANTAGE_API_KEY"),
    "rest-429": _with(ASKED_IN_VAIN, told="3 calls in a row to .* failed, the last one: HTTP 429"),
    "rest-500": _with(ASKED_IN_VAIN, told="3 calls in a row to .* failed, the last one: HTTP 500"),
}
MATRIX: dict[tuple[str, str], Cell] = {
    (scenario, venue): cells[scenario]
    for venue, cells in zip(VENUES, (_POLYGON, _OPTIONS, _FINNHUB, _ALPHAVANTAGE), strict=True)
    for scenario in shipped()
}


def hurried(name: str, cell: Cell) -> Scenario:
    """The shipped scenario, its times divided; what it repeats for ever comes as often as the cell has ends. Of
    ``missing`` the steps that fit into a test: up to ten thousand ticks.
    """
    plot = load_scenario(name)
    steps = [
        _sooner(step, cell.hurry, step.every_s * turn)
        for step in plot.steps
        if getattr(step, "ticks", 0) <= 10_000
        for turn in range(max(1, cell.ends) if step.every_s else 1)
    ]
    return replace(plot, sequence="contiguous", steps=(*steps, *cell.also))


def _sooner(step: Any, hurry: float, later_s: float) -> Any:
    times = {"at_s": (step.at_s + later_s) / hurry, "lasts_s": step.lasts_s / hurry, "every_s": 0.0}
    if hasattr(step, "offset_ms"):
        times |= {"offset_ms": int(step.offset_ms / hurry)}
    if hasattr(step, "ramp_s"):
        times |= {"ramp_s": step.ramp_s / hurry, "delay_ms": max(1, int(step.delay_ms / hurry))}
    return replace(step, **times)


def over_s(scenario: Scenario) -> float:
    """When the last step of the scenario has ended."""
    return max((step.at_s + step.lasts_s for step in scenario.steps), default=0.0)


def health(hurry: float) -> HealthConfig:
    usual = HealthConfig()
    names = (
        "quiet_min_ms", "stale_min_ms", "lag_ms", "lag_stale_ms", "crossed_ms", "recover_ms", "gapped_hold_ms",
        "repaired_hold_ms", "limit_state_ms",
    )  # fmt: skip
    limits = {name: max(1, int(getattr(usual, name) / hurry)) for name in names}
    return replace(usual, session="always", samples_min=20, **limits)
