"""How long to wait before the next attempt to connect: at once, then capped exponential with full jitter.

Full jitter (uniform between 0 and the ceiling) after M. Brooker, "Exponential Backoff And Jitter", AWS
Architecture Blog, 2015: it spreads clients that lost their venue at the same instant.
"""

from random import Random

from hft_engine.config.schema import ReconnectConfig


class Backoff:
    """The policy of ``feed.reconnect``: ``delay_ms`` for each attempt in turn; ``reset`` when a connection is stable.

    What the source documents ask of reconnection is values of it: an interval of 30 s is ``immediate: false`` and
    ``initial_ms: 30000``, a number of retries ``attempts_max``; the keep-alive of 15 s is ``feed.ping_every_ms``.
    """

    def __init__(self, config: ReconnectConfig, rng: Random) -> None:
        self._config = config
        self._rng = rng
        self.attempts = 0
        self._ceiling_ms = 0.0

    def reset(self) -> None:
        self.attempts = 0
        self._ceiling_ms = 0.0

    def delay_ms(self) -> int:
        """The wait before the next attempt, in 0..cap_ms; 0 for the first where it is immediate."""
        self.attempts += 1
        if self.attempts == 1 and self._config.immediate:
            return 0
        grown = self._ceiling_ms * self._config.factor if self._ceiling_ms else self._config.initial_ms
        self._ceiling_ms = min(float(self._config.cap_ms), grown)
        return int(self._rng.uniform(0.0, self._ceiling_ms))

    @property
    def exhausted(self) -> bool:
        """True when ``attempts_max`` says to give up."""
        return 0 < self._config.attempts_max <= self.attempts
