"""Which keys may change while the engine runs, and what a change of them means.

    signals.cooldown_ms, signals.expiry_ms, signals.strength_min
    signals.rules.NAME.enter, .release, .full

Everything else decides what was started (processes, rings, indicators' windows, the rules' number and order, which
state and records refer to) and cannot change under it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import yaml

from hft_engine.config.checks import check_config
from hft_engine.config.errors import ConfigError
from hft_engine.config.schema import Config, SignalsConfig
from hft_engine.config.validate import problems, suggest, type_at

RULE_PREFIX = "signals.rules."
LIVE_KEYS = ("signals.cooldown_ms", "signals.expiry_ms", "signals.strength_min")
LIVE_RULE_KEYS = ("enter", "release", "full")
_REASONS = {
    "engine": "it decides processes and memory, which exist already",
    "feed": "the connection was made with it; symbols change with `hft subscribe` and `hft unsubscribe`",
    "indicators": "the indicators' windows and the model's features are made of it",
    "inference": "the model changes with `hft model swap`; the rest decides which records there are",
    "signals": "records and the rules' state refer to the rules by their place",
    "persistence": "the files were opened with it",
    "checkpoints": "the stages were started with it",
    "publisher": "the sockets were opened with it",
    "rings": "the rings exist already",
    "supervisor": "the supervisor was started with it",
    "simulator": "the venue was started with it",
}
_OTHER = "its actor was started with it"


def parse_changes(settings: Sequence[str]) -> dict[str, float | int]:
    """Key -> number, of "KEY=VALUE" texts. Raises ConfigError for a key that may not change, naming why."""
    changes: dict[str, float | int] = {}
    for setting in settings:
        key, mark, text = setting.partition("=")
        if not mark or not text:
            raise ConfigError([f"{setting!r}: write it KEY=VALUE, such as {LIVE_KEYS[0]}=500"])
        refusal = _refusal(key)
        if refusal:
            raise ConfigError([refusal])
        changes[key] = _number(key, text)
    if not changes:
        raise ConfigError(["name at least one KEY=VALUE"])
    return changes


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """``config`` with all of ``changes`` made, checked as a whole as at a start. Raises ConfigError."""
    for key in changes:
        refusal = _refusal(key)
        if refusal:
            raise ConfigError([refusal])
    data: dict[str, Any] = msgspec.to_builtins(config.signals)
    for key, value in changes.items():
        _put(data, key, value)
    found = problems({"signals": data})
    if not found:
        signals = msgspec.convert(data, SignalsConfig)
        config = msgspec.structs.replace(config, signals=signals)
        found = [p for p in check_config(config) if p.path.startswith("signals.")]
    if found:
        raise ConfigError([f"{_named(p.path, data)}: {p.text}" for p in found])
    return config


def _refusal(key: str) -> str:
    """Why this key may not change; empty where it may."""
    if key in LIVE_KEYS:
        return ""
    if key.startswith(RULE_PREFIX):
        name, _, part = key.removeprefix(RULE_PREFIX).partition(".")
        if part in LIVE_RULE_KEYS and name:
            return ""
        return f"{key}: of a rule only {_listed(LIVE_RULE_KEYS)} may change while it runs: {RULE_PREFIX}NAME.enter=..."
    section = key.partition(".")[0]
    if type_at(key) is None:
        return f"{key}: no such key{suggest(key, _examples())}"
    reason = _REASONS.get(section, _OTHER)
    return f"{key} cannot change while the engine runs: {reason}. Stop it, change the file, start it again"


def _number(key: str, text: str) -> float | int:
    value = yaml.safe_load(text)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError([f"{key}: {text!r} is not a number"])
    return value


def _put(signals: dict[str, Any], key: str, value: Any) -> None:
    if not key.startswith(RULE_PREFIX):
        signals[key.partition(".")[2]] = value
        return
    name, _, part = key.removeprefix(RULE_PREFIX).partition(".")
    rule = next((rule for rule in signals["rules"] if rule["name"] == name), None)
    if rule is None:
        names = [rule["name"] for rule in signals["rules"]]
        raise ConfigError([f"{key}: there is no rule {name!r}{suggest(name, names)}"])
    rule[part] = value


def _named(path: str, signals: Mapping[str, Any]) -> str:
    """ "signals.rules[2].enter" as the key that a person wrote."""
    for i, rule in enumerate(signals["rules"]):
        path = path.replace(f"signals.rules[{i}]", f"{RULE_PREFIX}{rule['name']}")
    return path


def _examples() -> tuple[str, ...]:
    return (*LIVE_KEYS, *(f"{RULE_PREFIX}NAME.{part}" for part in LIVE_RULE_KEYS))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
