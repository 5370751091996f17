"""What may change while the engine runs, and what is refused with its reason."""

import pytest

from hft_engine.config.errors import ConfigError
from hft_engine.config.live import changed, parse_changes
from hft_engine.config.schema import Config


def test_several_keys_change_together():
    changes = parse_changes(["signals.cooldown_ms=7", "signals.rules.rsi_oversold.enter=20"])
    assert changes == {"signals.cooldown_ms": 7, "signals.rules.rsi_oversold.enter": 20}
    after = changed(Config(), changes)
    assert after.signals.cooldown_ms == 7
    assert {rule.name: rule.enter for rule in after.signals.rules}["rsi_oversold"] == 20.0
    assert after.feed == Config().feed


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("signals.cooldown_ms", "KEY=VALUE"),
        ("signals.cooldown_ms=soon", "not a number"),
        ("signals.cooldown_ms=true", "not a number"),
        ("signals.cooldown=5", "no such key"),
        ("signals.rules=[]", "by their place"),
        ("signals.rules.rsi_oversold.side=1", "only enter, release, full"),
        ("rings.ticks=8", "the rings exist already"),
        ("inference.model=x", "hft model swap"),
        ("feed.symbols=AAPL", "hft subscribe"),
        ("engine.layout=inline", "processes and memory"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_naming_why(setting, words):
    with pytest.raises(ConfigError, match=words):
        parse_changes([setting])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"signals.cooldown_ms": -1}, "signals.cooldown_ms: must be"),
        ({"signals.strength_min": 2}, "strength_min"),
        ({"signals.rules.nobody.enter": 1}, "no rule 'nobody'"),
        ({"signals.rules.rsi_oversold.enter": 50}, r"signals\.rules\.rsi_oversold\.release: must be"),
        ({"rings.ticks": 8}, "exist already"),
    ],
)
def test_values_are_checked_as_at_a_start(changes, words):
    with pytest.raises(ConfigError, match=words):
        changed(Config(), changes)


def test_every_section_has_a_reason():
    for section in Config.__struct_fields__:
        with pytest.raises(ConfigError):
            parse_changes([f"{section}=1"])
