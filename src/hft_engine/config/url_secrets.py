"""Secrets that stand inside addresses: ``wss://feed.example/ws?token=...``, ``https://user:password@host``."""

import re
from urllib.parse import unquote

MASK = "***"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\"'<>]+", re.I)
_PASSWORD = re.compile(r"(?<=//)([^/?#@:]*):([^/?#@]*)(?=@)")
# A query's value by such a name; ``{api_key}`` is a place for one.
_VALUE = re.compile(r"([?&#][^=&#]*(?:key|token|secret|pass|auth|sig|credential)[^=&#]*=)([^&#{}]+)", re.I)


def secrets_of(text: str) -> tuple[str, ...]:
    """The passwords, keys and tokens in the addresses of ``text``, as they are written and as they are meant."""
    addresses = _ADDRESS.findall(text)
    written = [found[2] for address in addresses for found in _PASSWORD.finditer(address)]
    written += [found[2] for address in addresses for found in _VALUE.finditer(address)]
    return tuple(dict.fromkeys(form for each in written for form in (each, unquote(each)) if form))


def without_secrets(text: str) -> str:
    """``text`` with ``***`` in the place of each."""

    def masked(found: re.Match[str]) -> str:
        return _VALUE.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1:{MASK}", found[0]))

    return _ADDRESS.sub(masked, text)
