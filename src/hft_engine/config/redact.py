"""The configuration as it may be shown: in logs, in the run's manifest, on a screen."""

import re
from typing import Any

import msgspec

from hft_engine.config.schema import Config
from hft_engine.config.validate import SECRETS

MASK = "***"
_USER = re.compile(r"//[^/@]*@")
_QUERY = re.compile(r"=[^&#]*")


def redacted(config: Config) -> dict[str, Any]:
    """``config`` as plain mappings and lists, every secret that is set replaced by ``***``."""
    shown: dict[str, Any] = msgspec.to_builtins(config)
    for path in SECRETS:
        section, key = path.split(".")
        if shown[section] and shown[section][key]:
            shown[section][key] = MASK
    for section in (shown["feed"], *shown["feed"]["lines"].values()):
        section["api_key"] = MASK if section["api_key"] else section["api_key"]
        section |= {key: redacted_url(section[key]) for key in ("url", "delayed_url") if section[key]}
    return shown


def redacted_url(url: str) -> str:
    """``url`` without user, password and the values of its query (some venues take the key there)."""
    address, mark, query = _USER.sub(f"//{MASK}@", url).partition("?")
    return address + mark + _QUERY.sub(f"={MASK}", query)
