"""Names of the wait strategies, and what ``auto`` means on a machine. No compiler here."""

MODES = ("spin", "yield", "park", "sleep")


def resolve(mode: str, critical_processes: int, cores: int) -> str:
    """``auto``: spin where every process on the hot path and two more have a core each."""
    if mode != "auto":
        return mode
    return "spin" if cores >= critical_processes + 2 else "park"
