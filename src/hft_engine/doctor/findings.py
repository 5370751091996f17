"""What was found, as data: the command shows it, a program reads it as JSON."""

from enum import StrEnum

import msgspec


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"  # it works, but less well than it could
    PROBLEM = "problem"  # it does not work so


class Finding(msgspec.Struct, frozen=True):
    """``remedy``: what to do; empty where nothing is to be done."""

    area: str
    level: Level
    text: str
    remedy: str = ""


def ok(area: str, text: str) -> Finding:
    return Finding(area, Level.OK, text)


def warning(area: str, text: str, remedy: str) -> Finding:
    return Finding(area, Level.WARNING, text, remedy)


def problem(area: str, text: str, remedy: str) -> Finding:
    return Finding(area, Level.PROBLEM, text, remedy)
