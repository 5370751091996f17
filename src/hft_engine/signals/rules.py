"""The rule kernel: rule table + per-instrument state + one prediction -> at most one signal. Pure.

What a rule does with a value of its input, in this order (``enter`` and ``release`` as in ``RuleConfig``):

    NaN                               nothing
    past enter, disarmed              nothing
    past enter, no price yet          counted ``unpriced``, stays armed
    past enter, strength too small    counted ``weak`` once; stays armed, fires when strong enough
    past enter, in cooldown           counted ``cooldown``, disarmed: this crossing is over
    past enter, a stronger one fires  counted ``suppressed``, disarmed
    past enter, the data are unfit    counted ``suppressed_unfit``, disarmed: what they say is not acted on
    past enter                        the signal; disarmed, and its side's cooldown begins
    at or past release                re-armed

A rule is armed at first. Of equally strong rules the first in configuration order wins. Cooldown is in event
time and symmetric (|t - last| < cooldown): a venue clock that steps back cannot silence a side for ever.
"""

from collections.abc import Sequence

import numpy as np

from hft_engine.config.schema import RuleConfig, SignalsConfig
from hft_engine.kernel import kernel
from hft_engine.records import HOP_NS_MAX, Side, TickFlag

# ``RULE_DTYPE.input`` besides an index into ``values``; of output k of the models it is FIRST_OUTPUT - k.
PROBABILITY, PROBABILITY_DOWN, FIRST_OUTPUT = -1, -2, -3

RULE_DTYPE = np.dtype(
    [
        ("input", "<i8"),
        ("side", "<i8"),
        ("sign", "<f8"),  # +1: fires above ``enter``; -1: below
        ("enter", "<f8"),
        ("release", "<f8"),
        ("span", "<f8"),  # full - enter
        ("strength_min", "<f8"),
        ("cooldown_ns", "<i8"),
        ("expiry_ns", "<i8"),
    ]
)

# One row an instrument. Bit r belongs to rule r; a stamp is UTC nanoseconds of the side's last signal.
STATE_DTYPE = np.dtype(
    [("disarmed", "<u8"), ("weak", "<u8"), ("last_buy_ns", "<i8"), ("last_sell_ns", "<i8")]
)
NEVER = 0  # a zeroed row is an instrument that was not seen yet

COUNTERS = (
    "predictions",
    "signals",
    "suppressed",
    "cooldown",
    "weak",
    "unpriced",
    "late",
    "unknown_instruments",
    "suppressed_unfit",
)
# fmt: off
(
    C_PREDICTIONS, C_SIGNALS, C_SUPPRESSED, C_COOLDOWN, C_WEAK, C_UNPRICED, C_LATE, C_UNKNOWN, C_UNFIT,
) = range(len(COUNTERS))
# fmt: on
C_RULES = len(COUNTERS)  # + rule index: signals by rule
_UNFIT = int(TickFlag.UNFIT)


def rule_table(
    config: SignalsConfig, feature_names: Sequence[str], output_names: Sequence[str] = ()
) -> np.ndarray:
    """``RULE_DTYPE[len(config.rules)]``. ``output_names``: of the models, in the order of a prediction's outputs.

    Raises ValueError for a rule on what is neither a feature nor an output.
    """
    table = np.zeros(len(config.rules), RULE_DTYPE)
    table["strength_min"] = config.strength_min
    table["cooldown_ns"] = config.cooldown_ms * 1_000_000
    table["expiry_ns"] = config.expiry_ms * 1_000_000
    for row, rule in zip(table, config.rules, strict=True):
        row["input"] = _input_index(rule, feature_names, output_names)
        row["side"] = Side.BUY if rule.side == "buy" else Side.SELL
        row["sign"] = 1.0 if rule.when == "above" else -1.0
        row["enter"], row["release"], row["span"] = rule.enter, rule.release, rule.full - rule.enter
    return table


def _input_index(rule: RuleConfig, feature_names: Sequence[str], output_names: Sequence[str]) -> int:
    special = {"probability": PROBABILITY, "probability_down": PROBABILITY_DOWN}
    outputs = {name: FIRST_OUTPUT - k for k, name in enumerate(output_names)}
    features = {name: slot for slot, name in enumerate(feature_names)}
    known = outputs | features | special
    if rule.feature not in known:
        raise ValueError(
            f"rule {rule.name!r}: no feature {rule.feature!r}; known: {', '.join((*output_names, *feature_names))}"
        )
    return known[rule.feature]


def new_states(instruments_max: int) -> np.ndarray:
    """``STATE_DTYPE[instruments_max]``: every rule armed, no signal yet."""
    return np.zeros(instruments_max, STATE_DTYPE)


@kernel(forceinline=True)
def _has_model(predictions: np.ndarray, i: int) -> bool:
    return predictions[i]["model_id"] >= 0 and predictions[i]["output_count"] > 0


@kernel(forceinline=True)
def _output(predictions: np.ndarray, i: int, k: int) -> float:
    return predictions[i]["outputs"][k] if _has_model(predictions, i) else np.nan


@kernel(forceinline=True)
def _input(predictions: np.ndarray, i: int, index: int) -> float:
    if index >= 0:
        return predictions[i]["values"][index]
    if index <= FIRST_OUTPUT:
        return _output(predictions, i, FIRST_OUTPUT - index)
    probability = _output(predictions, i, 0)
    return probability if index == PROBABILITY else 1.0 - probability


@kernel(forceinline=True)
def _strength(rules: np.ndarray, r: int, value: float) -> float:
    return min(max(0.5 + 0.5 * (value - rules[r]["enter"]) / rules[r]["span"], 0.0), 1.0)


@kernel(forceinline=True)
def _is_cooling(states: np.ndarray, row: int, side: int, now_ns: int, cooldown_ns: int) -> bool:
    last = states[row]["last_buy_ns"] if side > 0 else states[row]["last_sell_ns"]
    return last != NEVER and abs(now_ns - last) < cooldown_ns


@kernel(forceinline=True)
def _is_firing(
    rules: np.ndarray,
    r: int,
    states: np.ndarray,
    predictions: np.ndarray,
    i: int,
    counts: np.ndarray,
) -> bool:
    """Whether rule ``r`` would fire if it were alone; moves its armed and weak bits."""
    value = _input(predictions, i, rules[r]["input"])
    row = predictions[i]["instrument_id"]
    bit = np.uint64(1) << np.uint64(r)
    sign = rules[r]["sign"]
    if not sign * value >= sign * rules[r]["enter"]:  # also NaN
        if sign * value <= sign * rules[r]["release"]:
            states[row]["disarmed"] &= ~bit
            states[row]["weak"] &= ~bit
        return False
    if states[row]["disarmed"] & bit:
        return False
    if not 0.0 < predictions[i]["price"] < np.inf:
        counts[C_UNPRICED] += 1
        return False
    if _strength(rules, r, value) < rules[r]["strength_min"]:
        counts[C_WEAK] += 0 if states[row]["weak"] & bit else 1
        states[row]["weak"] |= bit
        return False
    states[row]["disarmed"] |= bit
    now_ns = predictions[i]["ts_venue_ns"]
    if _is_cooling(states, row, rules[r]["side"], now_ns, rules[r]["cooldown_ns"]):
        counts[C_COOLDOWN] += 1
        return False
    return True


@kernel(forceinline=True)
def decide(
    rules: np.ndarray,
    states: np.ndarray,
    predictions: np.ndarray,
    i: int,
    counts: np.ndarray,
) -> int:
    """The index of the rule that fires on ``predictions[i]``, or -1. Moves the instrument's state on.

    ``counts`` int64[C_RULES + rules], see COUNTERS. The instrument id must be less than ``len(states)``.
    """
    winner = -1
    best = -1.0
    for r in range(len(rules)):
        if not _is_firing(rules, r, states, predictions, i, counts):
            continue
        if winner >= 0:
            counts[C_SUPPRESSED] += 1
        strength = _strength(rules, r, _input(predictions, i, rules[r]["input"]))
        if strength > best:
            winner = r
            best = strength
    if winner >= 0 and predictions[i]["flags"] & _UNFIT:
        counts[C_UNFIT] += 1
        return -1
    if winner >= 0:
        row = predictions[i]["instrument_id"]
        if rules[winner]["side"] > 0:
            states[row]["last_buy_ns"] = predictions[i]["ts_venue_ns"]
        else:
            states[row]["last_sell_ns"] = predictions[i]["ts_venue_ns"]
        counts[C_SIGNALS] += 1
        counts[C_RULES + winner] += 1
    return winner


@kernel(forceinline=True)
def _write_hop(signals: np.ndarray, j: int, hop: int, duration_ns: int) -> None:
    held = min(max(duration_ns, 0), HOP_NS_MAX)
    signals[j]["hop_low_ns"][hop] = held & 0xFFFFFFFF
    signals[j]["hop_high_ns"][hop] = held >> 32


@kernel(forceinline=True)
def write_signal(
    rules: np.ndarray,
    winner: int,
    predictions: np.ndarray,
    i: int,
    signals: np.ndarray,
    j: int,
    sequence: int,
) -> None:
    """Fill ``signals[j]`` but for ``chain_hash`` and ``ts_publish_ns``."""
    value = _input(predictions, i, rules[winner]["input"])
    signals[j]["sequence"] = sequence
    signals[j]["source_sequence"] = predictions[i]["source_sequence"]
    signals[j]["ts_venue_ns"] = predictions[i]["ts_venue_ns"]
    signals[j]["ts_expiry_ns"] = predictions[i]["ts_venue_ns"] + rules[winner]["expiry_ns"]
    signals[j]["instrument_id"] = predictions[i]["instrument_id"]
    signals[j]["side"] = rules[winner]["side"]
    signals[j]["_pad"] = 0
    signals[j]["reason"] = winner
    signals[j]["model_id"] = predictions[i]["model_id"]
    signals[j]["price"] = predictions[i]["price"]
    signals[j]["strength"] = _strength(rules, winner, value)
    signals[j]["probability"] = _output(predictions, i, 0)
    signals[j]["value"] = value
    signals[j]["ts_recv_ns"] = predictions[i]["ts_recv_ns"]
    signals[j]["ts_mono_ns"] = predictions[i]["ts_mono_ns"]
    tick_ns, feature_ns = predictions[i]["ts_tick_ns"], predictions[i]["ts_feature_ns"]
    _write_hop(signals, j, 0, tick_ns - predictions[i]["ts_mono_ns"])
    _write_hop(signals, j, 1, feature_ns - tick_ns)
    _write_hop(signals, j, 2, predictions[i]["ts_publish_ns"] - feature_ns)
