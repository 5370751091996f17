"""The one exception of the configuration."""

from collections.abc import Sequence


class ConfigError(Exception):
    """The configuration cannot be used. ``problems``: where, which key, what is wrong, the remedy."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self._text())

    def _text(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        return f"{len(self.problems)} problems in the configuration:{lines}"
