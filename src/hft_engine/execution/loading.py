"""The strategy that the configuration names, as an object."""

import importlib
from pathlib import Path

from hft_engine.execution.strategies import SHIPPED
from hft_engine.execution.strategy import Strategy, StrategyError
from hft_engine.userfiles import import_file


def load_strategy(spec: str) -> Strategy:
    """A new object of the class: ``follow``, ``ema_cross``, "file.py:Class" or "package.module:Class".

    Raises StrategyError, naming the spec and the cause.
    """
    if spec in SHIPPED:
        return SHIPPED[spec]()
    module_name, separator, class_name = spec.rpartition(":")
    if not separator or not module_name or not class_name:
        known = ", ".join(SHIPPED)
        raise StrategyError(
            f'{_where(spec)}: write one of {known}, "file.py:Class" or "package.module:Class"'
        )
    found = getattr(_module(spec, module_name), class_name, None)
    if found is None:
        raise StrategyError(f"{_where(spec)}: {module_name} has no class {class_name!r}")
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise StrategyError(
            f"{_where(spec)}: {class_name} is no class derived from hft_engine.strategy.Strategy"
        )
    try:
        return found()
    except TypeError as error:
        raise StrategyError(
            f"{_where(spec)}: {error}; its __init__ must take no arguments, numbers come in ctx.parameters"
        ) from error


def _module(spec: str, name: str) -> object:
    try:
        return import_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except Exception as error:
        raise StrategyError(f"{_where(spec)}: {name}: {type(error).__name__}: {error}") from error


def _where(spec: str) -> str:
    return f"execution.strategy: {spec!r}"
