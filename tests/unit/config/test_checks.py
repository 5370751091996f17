"""Rules between keys: each broken one is named with its key and the remedy."""

import pytest

from hft_engine.config.checks import is_loopback
from hft_engine.config.load import ConfigError, load_config

RULE = (
    "{{name: {name}, feature: f, side: buy, when: {when}, enter: {enter}, release: {release}, full: {full}}}"
)
KEYS = (f"publisher.curve_public_key={'p' * 40}", f"publisher.curve_secret_key={'s' * 40}")


def rule(name="a", when="above", enter="1", release="0", full="2") -> str:
    return RULE.format(name=name, when=when, enter=enter, release=release, full=full)


def load(*overrides: str):
    return load_config(None, overrides, {}, dotenv_path=None, cpus=(0, 1))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["rings.ticks=100"], ["rings.ticks", "power of two", "64 or 128"]),
        (["feed.quiet_after_ms=5000"], ["feed.quiet_after_ms", "less than feed.dead_after_ms"]),
        (["feed.reconnect.initial_ms=40000"], ["feed.reconnect.initial_ms", "cap_ms"]),
        (["feed.symbols=[]"], ["feed.symbols", "name at least one"]),
        (["indicators.ema_fast=26"], ["indicators.ema_fast", "less than indicators.ema_slow"]),
        (["supervisor.heartbeat_limit_ms=3000"], ["supervisor.heartbeat_limit_ms", "hang_kill_ms"]),
        (["engine.actors.fed.wait=spin"], ["engine.actors.fed", "did you mean feed?"]),
        (["engine.actors.feed.cpus=[7]"], ["engine.actors.feed.cpus", "CPU 7", "0, 1"]),
        (
            ["engine.actors.feed={wait: spin, realtime: true}"],
            ["engine.actors.feed.realtime", "wait: spin", "park"],
        ),
        (
            ["engine.actors.feed={wait: yield, realtime: true}"],
            ["engine.actors.feed.realtime", "wait: yield"],
        ),
        ([f"signals.rules=[{rule()}, {rule()}]"], ["signals.rules[1].name", "names must differ"]),
        ([f"signals.rules=[{rule(release='1.5')}]"], ["signals.rules[0].release", "at or below enter"]),
        (
            [f"signals.rules=[{rule(when='below', full='0', release='0.5')}]"],
            ["signals.rules[0].release", "at or above enter"],
        ),
        ([f"signals.rules=[{rule(full='1')}]"], ["signals.rules[0].full", "above enter"]),
        (
            [f"signals.rules=[{rule(when='below', release='2', full='3')}]"],
            ["signals.rules[0].full", "below enter"],
        ),
        (["publisher.tcp=0.0.0.0:5556"], ["publisher.tcp", "other machines", "curve_public_key"]),
        (["publisher.tcp=example.org:5556"], ["publisher.tcp", "other machines"]),
        (["publisher.tcp=5556"], ["publisher.tcp", "address:port"]),
        (["publisher.tcp=127.0.0.1:66000"], ["publisher.tcp", "address:port"]),
        ([KEYS[0]], ["publisher.curve_secret_key", "is missing"]),
        (["publisher.curve_public_key=p", KEYS[1]], ["publisher.curve_public_key", "40 characters"]),
        (["publisher.curve_client_keys_dir=keys"], ["publisher.curve_client_keys_dir", "needs"]),
    ],
)
def test_a_broken_rule_names_its_key_and_the_remedy(overrides, words):
    with pytest.raises(ConfigError) as caught:
        load(*overrides)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        [f"signals.rules=[{rule(release='1')}]"],
        [f"signals.rules=[{rule(when='below', release='1', full='0')}]"],
        ["engine.actors.feed={wait: park, realtime: true}", "engine.actors.signals={realtime: true}"],
        ["publisher.tcp=127.0.0.1:5556"],
        ["publisher.tcp=localhost:0"],
        ["publisher.tcp=[::1]:5556"],
        ["publisher.tcp=0.0.0.0:5556", *KEYS],
    ],
)
def test_what_is_in_order_passes(overrides):
    load(*overrides)


def test_more_rules_than_armed_bits_are_refused():
    rules = ", ".join(rule(name=f"r{i}") for i in range(65))
    with pytest.raises(ConfigError, match="at most 64"):
        load(f"signals.rules=[{rules}]")


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [("127.0.0.1:1", True), ("127.9.9.9:1", True), ("[::1]:1", True), ("10.0.0.1:1", False), ("*:1", False)],
)
def test_loopback_is_known_by_address(endpoint, expected):
    assert is_loopback(endpoint) is expected


@pytest.mark.parametrize(
    ("overrides", "path", "words"),
    [
        (("inference.model=a.txt", "inference.models=[b.txt]"), "inference.models", "beside inference.model"),
        (("inference.ensemble={outputs: []}",), "inference.ensemble.outputs", "is empty"),
        (
            ("inference.ensemble={outputs: [a, b], method: weighted, weights: [1.0]}",),
            "inference.ensemble.weights",
            "are 1 for 2 outputs; weighted takes 2",
        ),
        (
            ("inference.ensemble={outputs: [a], weights: [1.0]}",),
            "inference.ensemble.weights",
            "average takes 0",
        ),
        (
            ("inference.ensemble={outputs: [a, b], method: weighted, weights: [-1.0, 2.0]}",),
            "inference.ensemble.weights",
            "must be from 0 on",
        ),
    ],
)
def test_models_that_cannot_be_served_together_are_refused(overrides, path, words):
    with pytest.raises(ConfigError, match=rf"{path.replace('.', '[.]')}.*{words}"):
        load_config(None, overrides, env={}, dotenv_path=None)


def test_models_are_one_list_however_they_are_named():
    one = load_config(None, ("inference.model=a.txt",), env={}, dotenv_path=None)
    two = load_config(None, ("inference.models=[a.txt, b.txt]",), env={}, dotenv_path=None)
    assert (one.inference.paths, two.inference.paths) == (("a.txt",), ("a.txt", "b.txt"))
