"""A line's key, taken out of what its venue says: a venue may repeat it in an answer, a bad frame, a reason to close.

Whatever leaves the line as text or is kept as bytes goes through here: messages, log, errors, quarantine, captures.
"""

import json
from urllib.parse import quote

KEY_CHARACTERS_MIN = 4  # shorter ones are words, not secrets
MASK = "***"


class Mask:
    """Puts ``***`` in the place of a key, as it stands and as an address or JSON writes it."""

    def __init__(self, key: str) -> None:
        written = (key, quote(key, safe=""), quote(key), json.dumps(key)[1:-1])
        self._texts = tuple(dict.fromkeys(written)) if len(key) >= KEY_CHARACTERS_MIN else ()
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
