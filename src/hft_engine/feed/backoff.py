"""How long to wait before the next attempt to connect: at once, then capped exponential with full jitter.

Full jitter (uniform between 0 and the ceiling) after M. Brooker, "Exponential Backoff And Jitter", AWS
Architecture Blog, 2015: it spreads clients that lost their venue at the same instant.
"""

from random import Random

from hft_engine.config.schema import ReconnectConfig


class Backoff:
    """``delay_ms`` for each attempt in turn; ``reset`` once a connection has proved stable."""

    def __init__(self, config: ReconnectConfig, rng: Random) -> None:
        self._config = config
        self._rng = rng
        self.attempts = 0
        self._ceiling_ms = 0.0

    def reset(self) -> None:
        self.attempts = 0
        self._ceiling_ms = 0.0

    def delay_ms(self) -> int:
        """The wait before the next attempt, in 0..cap_ms; 0 for the first."""
        self.attempts += 1
        if self.attempts == 1:
            return 0
        grown = self._ceiling_ms * self._config.factor if self._ceiling_ms else self._config.initial_ms
        self._ceiling_ms = min(float(self._config.cap_ms), grown)
        return int(self._rng.uniform(0.0, self._ceiling_ms))

    @property
    def exhausted(self) -> bool:
        """True when ``attempts_max`` says to give up."""
        return 0 < self._config.attempts_max <= self.attempts
