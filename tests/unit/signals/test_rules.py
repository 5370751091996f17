"""What fires, what does not, and what is counted instead."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signals_bench import FEATURES, MS, T0, Bench, records, rule, signals_config

from hft_engine.config.schema import SignalsConfig
from hft_engine.records import Side, TickFlag
from hft_engine.signals.rules import rule_table

NAN = math.nan


def test_a_crossing_gives_one_signal_with_everything_on_it(bench):
    rows = records([0.5, 1.5, 1.6], price=42.0, instrument=5)
    rows["ts_recv_ns"], rows["ts_mono_ns"] = 7, 8
    (signal,) = bench(rule(), expiry_ms=2_000).run(rows)
    assert signal["sequence"] == 0
    assert signal["source_sequence"] == 1_001
    assert signal["ts_venue_ns"] == T0 + MS
    assert signal["ts_expiry_ns"] == T0 + MS + 2_000 * MS
    assert signal["instrument_id"] == 5
    assert signal["side"] == Side.BUY
    assert signal["reason"] == 0
    assert signal["model_id"] == -1
    assert signal["price"] == 42.0
    assert signal["strength"] == 0.75
    assert signal["value"] == 1.5
    assert np.isnan(signal["probability"])
    assert (signal["ts_recv_ns"], signal["ts_mono_ns"]) == (7, 8)
    assert signal["ts_publish_ns"] > 0


@pytest.mark.parametrize(
    ("when", "values", "fired"),
    [
        ("above", [0.9, 1.0, 1.1], [1.0]),
        ("above", [2, 0.5, 2], [2]),  # between release and enter: still disarmed
        ("above", [2, 0.0, 2], [2, 2]),  # at release: armed again
        ("above", [2, -9, 2], [2, 2]),
        ("above", [2, NAN, 2], [2]),  # NaN neither fires nor re-arms
        ("above", [NAN, math.inf], [math.inf]),
        ("below", [-0.9, -1.0, -1.1], [-1.0]),
        ("below", [-2, -0.5, -2], [-2]),
        ("below", [-2, 0.0, -2], [-2, -2]),
        ("below", [-math.inf], [-math.inf]),
    ],
)
def test_hysteresis(bench, when, values, fired):
    sign = 1.0 if when == "above" else -1.0
    made = bench(rule(when=when, enter=sign, release=0.0, full=2 * sign))
    assert list(made.run(records(values))["value"]) == fired


def test_release_at_enter_needs_a_step_back(bench):
    assert len(bench(rule(release=1.0)).run(records([1.0, 1.0, 0.99, 1.0]))) == 2


@pytest.mark.parametrize(
    ("value", "strength"), [(1.0, 0.5), (1.25, 0.625), (2.0, 1.0), (50.0, 1.0), (math.inf, 1.0)]
)
def test_strength_is_linear_from_enter_to_full_and_clipped(bench, value, strength):
    assert bench(rule()).run(records([value]))["strength"] == [strength]


def test_a_weak_crossing_is_counted_once_and_fires_when_it_is_strong_enough(bench):
    made = bench(rule(), strength_min=0.8)
    signals = made.run(records([1.1, 1.2, 1.7, 1.9]))
    assert list(signals["value"]) == [1.7]
    assert made.counters()["weak"] == 1


def test_cooldown_is_per_instrument_and_side_in_event_time(bench):
    made = bench(rule(), rule("down", "beta", "sell"), cooldown_ms=100)
    a = records([2, 0, 2, 0, 2], [0, 0, 0, 0, 2], ms=[0, 10, 99, 150, 199])
    b = records([2], ms=[50], instrument=1)
    signals = made.run(np.concatenate([a[:1], b, a[1:]]))
    # instrument 0: buy at 0; the buy at 99 is in cooldown, so is none at 199: that one publishes, with the sell
    assert [(s["instrument_id"], s["side"], (s["ts_venue_ns"] - T0) // MS) for s in signals] == [
        (0, Side.BUY, 0),
        (1, Side.BUY, 50),
        (0, Side.BUY, 199),
    ]
    assert made.counters()["cooldown"] == 1
    assert made.counters()["suppressed"] == 1


def test_a_clock_that_steps_back_does_not_silence_a_side(bench):
    made = bench(rule(), cooldown_ms=100)
    assert len(made.run(records([2, 0, 2], ms=[100_000, 100_001, 0]))) == 2


def test_of_several_rules_the_strongest_wins_and_the_others_are_counted(bench):
    made = bench(rule("a"), rule("b", full=1.5), rule("c", "beta", "sell", enter=0, release=-1, full=4))
    (signal,) = made.run(records([1.4], [1.0]))
    assert signal["reason"] == 1
    counted = made.counters()
    assert (counted["suppressed"], counted["signals"]) == (2, 1)
    assert (counted["rule_a"], counted["rule_b"], counted["rule_c"]) == (0, 1, 0)


def test_of_equal_rules_the_first_wins(bench):
    assert bench(rule("a"), rule("b")).run(records([1.5]))["reason"] == [0]


def test_what_unfit_data_say_is_counted_not_emitted_and_that_crossing_is_over(bench):
    made = bench(rule(), cooldown_ms=10_000)
    rows = records([2.0, 2.0, 0.0, 2.0])
    rows["flags"][0] = TickFlag.UNFIT
    assert list(made.run(rows)["source_sequence"]) == [rows["source_sequence"][3]]
    assert made.counters()["suppressed_unfit"] == 1


def test_a_side_in_cooldown_leaves_the_other_side_free(bench):
    made = bench(rule(), rule("down", "beta", "sell"), cooldown_ms=100)
    signals = made.run(records([2, 0, 2], [0, 0, 1.5]))
    assert list(signals["side"]) == [Side.BUY, Side.SELL]
    assert made.counters()["cooldown"] == 1


@pytest.mark.parametrize("price", [NAN, 0.0, -1.0, math.inf])
def test_without_a_price_there_is_no_signal_and_the_rule_stays_armed(bench, price):
    made = bench(rule())
    rows = records([1.5, 1.5])
    rows["price"][0] = price
    assert list(made.run(rows)["source_sequence"]) == [1_001]
    assert made.counters()["unpriced"] == 1


def test_probability_rules_use_the_models_first_output(bench):
    made = bench(
        rule("up", "probability", enter=0.7, release=0.6, full=1.0),
        rule("down", "probability_down", "sell", enter=0.7, release=0.6, full=1.0),
    )
    rows = records([NAN] * 3, probability=[0.85, 0.5, 0.1])
    signals = made.run(rows)
    assert list(signals["side"]) == [Side.BUY, Side.SELL]
    np.testing.assert_allclose(signals["value"], [0.85, 0.9])
    np.testing.assert_allclose(signals["probability"], [0.85, 0.1])
    assert list(signals["model_id"]) == [3, 3]


def test_without_a_model_a_probability_rule_never_fires(bench):
    rows = records([0.0], probability=[0.99])
    rows["model_id"] = -1
    assert len(bench(rule(feature="probability", enter=0.5, release=0.4, full=1)).run(rows)) == 0
    rows["model_id"], rows["output_count"] = 3, 0
    assert len(bench(rule(feature="probability", enter=0.5, release=0.4, full=1)).run(rows)) == 0


def test_an_instrument_beyond_the_table_is_counted_not_written(bench):
    made = bench(rule(), instruments_max=2)
    rows = records([2, 2, 2])
    rows["instrument_id"] = [2, -1, 1]
    assert list(made.run(rows)["instrument_id"]) == [1]
    assert made.counters()["unknown_instruments"] == 2


def test_a_prediction_past_its_deadline_is_counted_and_dropped(bench):
    made = bench(rule())
    rows = records([2, 2])
    rows["ts_deadline_ns"] = [1, 0]
    assert list(made.run(rows)["source_sequence"]) == [1_001]
    assert made.counters()["late"] == 1


def test_a_rule_on_an_unknown_feature_is_refused_by_name():
    with pytest.raises(ValueError, match=r"rule 'up'.*'gamma'.*alpha, beta"):
        rule_table(SignalsConfig(rules=(rule(feature="gamma"),)), FEATURES)


# The whole rule text again, in slow plain Python.


class Reference:
    def __init__(self, config: SignalsConfig):
        self.config = config
        self.disarmed, self.weak, self.last = set(), set(), {}
        self.counts = dict.fromkeys(("signals", "suppressed", "cooldown", "weak", "unpriced"), 0)

    def value(self, rule, row):
        if rule.feature in FEATURES:
            return float(row["values"][FEATURES.index(rule.feature)])
        p = float(row["outputs"][0]) if row["model_id"] >= 0 and row["output_count"] > 0 else NAN
        return p if rule.feature == "probability" else 1.0 - p

    def fires(self, r, rule, row):
        """The strength, or None."""
        key, value = (int(row["instrument_id"]), r), self.value(rule, row)
        past = value >= rule.enter if rule.when == "above" else value <= rule.enter
        back = value <= rule.release if rule.when == "above" else value >= rule.release
        if not past:
            if back:
                self.disarmed.discard(key)
                self.weak.discard(key)
            return None
        if key in self.disarmed:
            return None
        if not (math.isfinite(row["price"]) and row["price"] > 0):
            self.counts["unpriced"] += 1
            return None
        strength = min(max(0.5 + 0.5 * (value - rule.enter) / (rule.full - rule.enter), 0.0), 1.0)
        if strength < self.config.strength_min:
            self.counts["weak"] += key not in self.weak
            self.weak.add(key)
            return None
        self.disarmed.add(key)
        last = self.last.get((key[0], rule.side))
        if last is not None and abs(int(row["ts_venue_ns"]) - last) < self.config.cooldown_ms * MS:
            self.counts["cooldown"] += 1
            return None
        return strength

    def signal(self, row):
        fired = [
            (r, s) for r, rule in enumerate(self.config.rules) if (s := self.fires(r, rule, row)) is not None
        ]
        if not fired:
            return None
        self.counts["signals"] += 1
        self.counts["suppressed"] += len(fired) - 1
        r, strength = max(fired, key=lambda pair: (pair[1], -pair[0]))
        rule = self.config.rules[r]
        self.last[int(row["instrument_id"]), rule.side] = int(row["ts_venue_ns"])
        return (
            int(row["source_sequence"]),
            int(row["ts_venue_ns"]) + self.config.expiry_ms * MS,
            int(row["instrument_id"]),
            1 if rule.side == "buy" else -1,
            r,
            float(row["price"]),
            strength,
            self.value(rule, row),
        )


def shown(signals):
    names = (
        "source_sequence",
        "ts_expiry_ns",
        "instrument_id",
        "side",
        "reason",
        "price",
        "strength",
        "value",
    )
    return [tuple(signal[name].item() for name in names) for signal in signals]


values = st.sampled_from([NAN, -math.inf, -2.0, -1.0, -0.5, 0.0, 0.3, 0.5, 0.75, 1.0, 1.25, 2.0, math.inf])


@st.composite
def rule_configs(draw, index):
    enter = draw(st.sampled_from([-1.0, 0.0, 0.5, 1.0]))
    when = draw(st.sampled_from(["above", "below"]))
    sign = 1.0 if when == "above" else -1.0
    return rule(
        f"r{index}",
        draw(st.sampled_from([*FEATURES, "probability", "probability_down"])),
        draw(st.sampled_from(["buy", "sell"])),
        when,
        enter,
        enter - sign * draw(st.sampled_from([0.0, 0.25, 1.0])),
        enter + sign * draw(st.sampled_from([0.25, 1.0])),
    )


@st.composite
def cases(draw):
    rules = [draw(rule_configs(i)) for i in range(draw(st.integers(1, 4)))]
    config = signals_config(
        *rules,
        strength_min=draw(st.sampled_from([0.0, 0.5, 0.7])),
        cooldown_ms=draw(st.sampled_from([0, 3, 50])),
    )
    n = draw(st.integers(1, 40))

    def column(elements):
        return draw(st.lists(elements, min_size=n, max_size=n))

    steps = np.cumsum(column(st.integers(-2, 5)))
    rows = records(column(values), column(values), ms=steps, price=column(st.sampled_from([100.0, 7.5, NAN])))
    rows["instrument_id"] = column(st.integers(0, 2))
    rows["model_id"] = column(st.sampled_from([-1, 0]))
    rows["output_count"] = 1
    rows["outputs"][:, 0] = column(st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]))
    return config, rows, draw(st.integers(1, n))


@given(cases())
@settings(max_examples=150, deadline=None)
def test_the_kernel_equals_the_plain_text_however_the_records_are_chunked(tmp_path_factory, case):
    config, rows, chunk = case
    made = Bench(tmp_path_factory.mktemp("run"), config)
    signals = made.run(rows, chunk)
    reference = Reference(config)
    expected = [s for row in rows if (s := reference.signal(row)) is not None]
    assert shown(signals) == expected
    counted = made.counters()
    assert {name: counted[name] for name in reference.counts} == reference.counts
    assert counted["predictions"] == len(rows)
    assert list(signals["sequence"]) == list(range(len(expected)))


def test_a_rule_looks_at_the_output_that_it_names_and_the_probability_stays_the_first(bench, monkeypatch):
    names = ("entry_timing", "regime.ranging", "regime.trend_up")
    monkeypatch.setattr("hft_engine.signals.live.output_names", lambda config: names)
    made = bench(
        rule("trend", "regime.trend_up", enter=0.7, release=0.6, full=1.0),
        rule("entry", "entry_timing", "sell", enter=0.5, release=0.4, full=1.0),
    )
    rows = records([NAN] * 3, probability=[0.1, 0.1, 0.6])
    rows["output_count"] = 3
    rows["outputs"][:, 2] = [0.5, 0.9, NAN]
    signals = made.run(rows)
    assert list(signals["reason"]) == [0, 1]
    np.testing.assert_array_equal(signals["value"], [0.9, 0.6])
    np.testing.assert_array_equal(signals["probability"], [0.1, 0.6])


def test_a_rule_on_what_no_model_puts_out_is_refused_with_what_there_is():
    with pytest.raises(ValueError, match=r"no feature 'regime\.up'; known: regime\.down, alpha, beta"):
        rule_table(SignalsConfig(rules=(rule(feature="regime.up"),)), FEATURES, ("regime.down",))
