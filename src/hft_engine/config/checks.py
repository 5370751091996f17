"""Rules between keys, which no single type can say; a Problem names the key and the remedy."""

import ipaddress
import math
import os
from collections.abc import Collection, Iterable, Iterator

from hft_engine.config import ladders
from hft_engine.config.lines import check_lines
from hft_engine.config.schema import (
    Config,
    FeedConfig,
    InferenceConfig,
    PublisherConfig,
    RuleConfig,
    SupervisorConfig,
)
from hft_engine.config.validate import Problem, suggest

RULES_MAX = 64  # a rule's armed bit lives in one 64-bit word
Z85_KEY_LENGTH = 40  # ZeroMQ RFC 32: 32 bytes in Z85
RULE_INPUTS = ("probability", "probability_down")  # what a rule may name besides a feature
_NEVER_SLEEP = ("spin", "yield")
ROLES = (
    "feed",
    "replay",
    "indicators",
    "inference",
    "signals",
    "execution",
    "persistence",
    "publisher",
    "simulator",
    "trainer",
    "shadow",
    "compute",  # the process of feed and compiled stages in the compact layout
    "engine",  # the one process of the inline layout
)


def check_config(config: Config, cpus: Collection[int] | None = None) -> list[Problem]:
    """All broken checks. ``cpus``: those the engine may run on; None asks the system."""
    usable = os.sched_getaffinity(0) if cpus is None else cpus
    return [
        *_check_actors(config, usable),
        *_check_feed(config),
        *_check_indicators(config),
        *_check_rings(config),
        *_check_supervisor(config),
        *_check_models(config.inference),
        *_check_rule_table(config.signals.rules),
        *_check_publisher(config.publisher),
        *_check_persistence(config),
    ]


def check_rules(config: Config, names: Iterable[str]) -> list[Problem]:
    """Rules whose ``feature`` is not one of ``names`` (feature set, models' outputs) or of ``RULE_INPUTS``."""
    known = [*RULE_INPUTS, *names]
    return [
        Problem(
            f"signals.rules[{i}].feature",
            f"no feature or output {rule.feature!r}{suggest(rule.feature, known)}",
        )
        for i, rule in enumerate(config.signals.rules)
        if rule.feature not in known
    ]


def is_loopback(endpoint: str) -> bool:
    """Whether "host:port" can be reached from this machine only."""
    host = endpoint.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_actors(config: Config, usable: Collection[int]) -> Iterator[Problem]:
    for role, tuning in config.engine.actors.items():
        if role not in ROLES:
            yield Problem(f"engine.actors.{role}", f"no actor has this role{suggest(role, ROLES)}")
        missing = [cpu for cpu in tuning.cpus if cpu not in usable]
        if missing:
            have = ", ".join(str(cpu) for cpu in sorted(usable))
            yield Problem(
                f"engine.actors.{role}.cpus",
                f"CPU {missing[0]} cannot be used here; this process may run on {have}; [] means anywhere",
            )
        if tuning.realtime and tuning.wait in _NEVER_SLEEP:
            yield Problem(
                f"engine.actors.{role}.realtime",
                f"does not go with wait: {tuning.wait}, which never lets its core go: the kernel would take it away "
                "for 50 ms of every second; set wait: park",
            )


def _check_feed(config: Config) -> Iterator[Problem]:
    feed = config.feed
    yield from _broken_rungs(feed_ladder(feed))
    if feed.reconnect.initial_ms > feed.reconnect.cap_ms:
        yield Problem(
            "feed.reconnect.initial_ms",
            f"must not exceed feed.reconnect.cap_ms: {feed.reconnect.initial_ms} > {feed.reconnect.cap_ms}",
        )
    yield from check_lines(feed)
    for key, given in (("channels", feed.channels), ("symbols", feed.symbols)):
        if not given:
            yield Problem(f"feed.{key}", "is empty: nothing would be subscribed; name at least one")


def _check_indicators(config: Config) -> Iterator[Problem]:
    fast, slow = config.indicators.ema_fast, config.indicators.ema_slow
    if fast >= slow:
        yield Problem("indicators.ema_fast", f"must be less than indicators.ema_slow ({slow}), not {fast}")


def _check_models(config: InferenceConfig) -> Iterator[Problem]:
    if config.model is not None and config.models:
        yield Problem("inference.models", "is given beside inference.model; name all of them in one")
    ensemble = config.ensemble
    if ensemble is None:
        return
    count = len(ensemble.outputs)
    if count == 0:
        yield Problem("inference.ensemble.outputs", "is empty; name outputs of the models")
    wanted = 0 if ensemble.method == "average" else count
    if len(ensemble.weights) != wanted:
        yield Problem(
            "inference.ensemble.weights",
            f"are {len(ensemble.weights)} for {count} outputs; {ensemble.method} takes {wanted}",
        )
    weights = ensemble.weights
    if not all(math.isfinite(weight) for weight in (*weights, ensemble.intercept)):
        yield Problem("inference.ensemble.weights", "or the intercept are no finite numbers")
    if ensemble.method == "weighted" and not (all(w >= 0.0 for w in weights) and sum(weights) > 0.0):
        yield Problem("inference.ensemble.weights", "must be from 0 on, and one at least above 0")


def _check_rings(config: Config) -> Iterator[Problem]:
    for name in config.rings.__struct_fields__:
        capacity = getattr(config.rings, name)
        if capacity & (capacity - 1):
            above = 1 << capacity.bit_length()
            yield Problem(
                f"rings.{name}", f"must be a power of two, not {capacity}; nearest: {above >> 1} or {above}"
            )
    half = config.rings.features // 2
    if config.inference.conflate_above >= half:
        yield Problem(
            "inference.conflate_above",
            f"must be less than half of rings.features ({half}), not {config.inference.conflate_above}: "
            "else features are overwritten before the pile is thinned out",
        )


def _check_supervisor(config: Config) -> Iterator[Problem]:
    yield from _broken_rungs(process_ladder(config.supervisor))


def process_ladder(limits: SupervisorConfig) -> list[ladders.Rung]:
    """A process's time-outs, each of which must be less than the next."""
    return [
        ("a duty cycle", ladders.CYCLE_MS),
        ("supervisor.heartbeat_limit_ms", limits.heartbeat_limit_ms),
        ("supervisor.hang_kill_ms", limits.hang_kill_ms),
        ("supervisor.stop_deadline_ms", limits.stop_deadline_ms),
        ("the supervisor's exit", ladders.SUPERVISOR_EXIT_MS),
        ("hft stop", ladders.STOP_COMMAND_MS),
        ("systemd's TimeoutStopSec", ladders.SYSTEMD_STOP_MS),
    ]


def feed_ladder(feed: FeedConfig) -> list[ladders.Rung]:
    """A connection's time-outs, each of which must be less than the next."""
    return [
        ("feed.quiet_after_ms", feed.quiet_after_ms),
        ("feed.dead_after_ms", feed.dead_after_ms),
        ("feed.reconnect.cap_ms", feed.reconnect.cap_ms),
        ("feed.reconnect.stable_reset_ms", feed.reconnect.stable_reset_ms),
    ]


def _broken_rungs(ladder: list[ladders.Rung]) -> Iterator[Problem]:
    for (lower, lower_ms), (upper, upper_ms) in ladders.broken(ladder):
        if lower in _WHY:
            yield Problem(lower, f"must be less than {upper} ({upper_ms}), not {lower_ms}: {_WHY[lower]}")
        else:
            yield Problem(upper, f"must be more than {lower} ({lower_ms} ms), not {upper_ms}")


_WHY = {
    "supervisor.heartbeat_limit_ms": "an actor is shown as hung before it is killed",
    "supervisor.hang_kill_ms": "one that hangs is killed as hung, not as slow to stop",
    "supervisor.stop_deadline_ms": "one that does not stop is killed before the supervisor is",
    "feed.quiet_after_ms": "the connection is probed before it is given up",
    "feed.dead_after_ms": "a dead connection is given up before its successor's longest wait is over",
    "feed.reconnect.cap_ms": "the backoff starts afresh only after longer than its longest wait",
}


def _check_persistence(config: Config) -> Iterator[Problem]:
    keep, segment = config.persistence.journal_keep_mb, config.persistence.journal_segment_mb
    if 0 < keep < 2 * segment:
        yield Problem(
            "persistence.journal_keep_mb",
            f"must be 0 (no limit) or twice persistence.journal_segment_mb ({segment}) at least, not {keep}: "
            "whole segments are deleted, and the one that is being written stays",
        )


def _check_rule_table(rules: tuple[RuleConfig, ...]) -> Iterator[Problem]:
    if len(rules) > RULES_MAX:
        yield Problem("signals.rules", f"holds {len(rules)} rules; at most {RULES_MAX} are possible")
    first: dict[str, int] = {}
    for i, rule in enumerate(rules):
        if first.setdefault(rule.name, i) != i:
            text = f"{rule.name!r} is also the name of rule [{first[rule.name]}]; names must differ"
            yield Problem(f"signals.rules[{i}].name", text)
        yield from _check_rule(rule, f"signals.rules[{i}]")


def _check_rule(rule: RuleConfig, path: str) -> Iterator[Problem]:
    above = rule.when == "above"
    sign = 1.0 if above else -1.0
    if sign * rule.release > sign * rule.enter:
        side = "at or below" if above else "at or above"
        yield Problem(
            f"{path}.release",
            f"must be {side} enter ({rule.enter:g}) as it fires {rule.when} it, not {rule.release:g}",
        )
    if sign * rule.full <= sign * rule.enter or not math.isfinite(rule.full - rule.enter):
        side = "above" if above else "below"
        yield Problem(f"{path}.full", f"must be {side} enter ({rule.enter:g}), not {rule.full:g}")


def _check_publisher(publisher: PublisherConfig) -> Iterator[Problem]:
    public, secret = publisher.curve_public_key, publisher.curve_secret_key
    if (public is None) != (secret is None):
        absent = "curve_secret_key" if secret is None else "curve_public_key"
        yield Problem(f"publisher.{absent}", "is missing; CURVE needs both keys, or neither")
    for name, key in (("curve_public_key", public), ("curve_secret_key", secret)):
        if key is not None and len(key) != Z85_KEY_LENGTH:
            yield Problem(
                f"publisher.{name}",
                f"must be a Z85 key of 40 characters, not {len(key)}; make a pair with zmq.curve_keypair()",
            )
    if publisher.curve_client_keys_dir is not None and public is None:
        yield Problem("publisher.curve_client_keys_dir", "needs curve_public_key and curve_secret_key too")
    if publisher.tcp is not None:
        yield from _check_tcp(publisher.tcp, secured=public is not None and secret is not None)


def _check_tcp(tcp: str, *, secured: bool) -> Iterator[Problem]:
    host, _, port = tcp.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        yield Problem("publisher.tcp", f'must be "address:port" like "127.0.0.1:5556", not {tcp!r}')
    elif not is_loopback(tcp) and not secured:
        yield Problem(
            "publisher.tcp",
            f"{tcp} can be reached from other machines: give publisher.curve_public_key and "
            "curve_secret_key, or use 127.0.0.1",
        )
