"""A line's key, taken out of what its venue says: a venue may repeat it in an answer, a bad frame, a reason to close.

Whatever leaves the line as text or is kept as bytes goes through here: messages, log, errors, quarantine, captures.
The same for a password, key or token inside the line's addresses.
"""

import json
from urllib.parse import quote

from hft_engine.config.url_secrets import MASK, secrets_of

KEY_CHARACTERS_MIN = 4  # shorter ones are words, not secrets


class Mask:
    """Puts ``***`` in the place of a key, and of secrets in ``addresses``, as they stand and as an address or JSON
    writes them."""

    def __init__(self, key: str, *addresses: str | None) -> None:
        secrets = (key, *secrets_of(" ".join(filter(None, addresses))))
        written = [form for secret in secrets if len(secret) >= KEY_CHARACTERS_MIN for form in _forms(secret)]
        # The longest first: one may be the beginning of another.
        self._texts = tuple(sorted(dict.fromkeys(written), key=len, reverse=True))
        self._bytes = tuple(text.encode() for text in self._texts)

    def text(self, text: str) -> str:
        for secret in self._texts:
            text = text.replace(secret, MASK)
        return text

    def data(self, data: bytes) -> bytes:
        for secret in self._bytes:
            if secret in data:
                data = data.replace(secret, MASK.encode())
        return data


def _forms(secret: str) -> tuple[str, ...]:
    return secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1]
