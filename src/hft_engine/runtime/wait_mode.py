"""Names of the wait strategies, and what ``auto`` means on a machine. No compiler here."""

MODES = (
    "spin",
    "yield",
    "park",
    "sleep",
    "nap",
)  # nap: of processes off the hot path, not for the configuration


def resolve(mode: str, hot: bool, critical_processes: int, cores: int) -> str:
    """What ``auto`` means: off the hot path ``nap``; on it ``spin`` where each critical process and two more have a
    core each, else ``park``.
    """
    if mode != "auto":
        return mode
    if not hot:
        return "nap"
    return "spin" if cores >= critical_processes + 2 else "park"
