"""The configuration as it may be shown: in logs, in the run's manifest, on a screen."""

import re
from typing import Any

import msgspec

from hft_engine.config.schema import Config
from hft_engine.config.url_secrets import MASK
from hft_engine.config.validate import SECRETS

_USER = re.compile(r"//[^/@]*@")
_QUERY = re.compile(r"=[^&#]*")


def redacted(config: Config) -> dict[str, Any]:
    """``config`` as plain mappings and lists, every secret that is set replaced by ``***``."""
    shown: dict[str, Any] = msgspec.to_builtins(config)
    for path in SECRETS:
        section, key = path.split(".")
        if shown[section] and shown[section][key]:
            shown[section][key] = MASK
    for line in shown["feed"]["lines"].values():
        line["api_key"] = MASK if line["api_key"] else line["api_key"]
    return {name: _without_addresses(section) for name, section in shown.items()}


def _without_addresses(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_addresses(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_without_addresses(below) for below in value]
    return redacted_url(value) if isinstance(value, str) and "://" in value else value


def redacted_url(url: str) -> str:
    """``url`` without user, password and the values of its query (some venues take the key there)."""
    address, mark, query = _USER.sub(f"//{MASK}@", url).partition("?")
    return address + mark + _QUERY.sub(f"={MASK}", query)
