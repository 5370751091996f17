"""What a strategy file imports: ``from hft_engine.strategy import Strategy``."""

from hft_engine.execution.context import Context
from hft_engine.execution.strategies import EmaCross, Follow
from hft_engine.execution.strategy import Bar, Fill, Signal, Strategy, StrategyError, Tick

__all__ = ["Bar", "Context", "EmaCross", "Fill", "Follow", "Signal", "Strategy", "StrategyError", "Tick"]
