"""``hft doctor`` looks at the servers of config/collector_config.yaml."""

import socket
from pathlib import Path

import pytest

from hft_engine.doctor import stores
from hft_engine.doctor.findings import Finding, Level
from support.stores import own_prefix, own_schema

SECRET = "planted-secret"


@pytest.fixture(autouse=True)
def no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


def found_in(tmp_path: Path, text: str) -> list[Finding]:
    path = tmp_path / "collector_config.yaml"
    path.write_text(f"polygon: {{{text}}}")
    return list(stores.examine(path))


def test_servers_that_answer_are_named(tmp_path: Path) -> None:
    with own_prefix() as (_, redis), own_schema() as (_, database):
        text = f"cache: {{backend: redis}}, redis: {{prefix: {redis.prefix}}}, "
        first, second = found_in(tmp_path, text + f"database: {{enabled: true, url: '{database.url}'}}")
    assert first == Finding("collector polygon, redis", Level.OK, "Redis 127.0.0.1:6379 db 0 answers")
    assert second.level in (Level.OK, Level.WARNING) and "answers, with" in second.text


def test_servers_that_do_not_are_problems_without_their_passwords(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    text = f"cache: {{backend: redis}}, redis: {{port: {port}, password: {SECRET}}}, "
    text += f"database: {{enabled: true, url: 'postgresql://x:{SECRET}@127.0.0.1:{port}/y'}}"
    found = found_in(tmp_path, text)
    assert [finding.level for finding in found] == [Level.PROBLEM] * 2
    assert all("start it, or set" in finding.text for finding in found)
    assert SECRET not in str(found)


def test_what_nobody_wants_is_not_looked_at(tmp_path: Path) -> None:
    assert found_in(tmp_path, "symbols: [AAPL]") == []
    assert list(stores.examine(tmp_path / "nothing.yaml")) == []


def test_a_key_that_does_not_exist_is_a_problem(tmp_path: Path) -> None:
    (only,) = found_in(tmp_path, "redis: {hosts: x}")
    assert only.level is Level.PROBLEM and "hosts" in only.text
