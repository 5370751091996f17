"""Orders and fills as columns of their tables: whole ticks become currency and units."""

import numpy as np

from hft_engine.config.schema import ExecutionConfig
from hft_engine.records import Liquidity, OrderKind, OrderStatus, Refusal, Side


def _names(kind: type) -> dict[int, str]:
    return {member.value: member.name.lower() for member in kind}  # type: ignore[attr-defined]


_SIDES, _KINDS, _STATUSES = _names(Side), _names(OrderKind), _names(OrderStatus)
_REFUSALS, _LIQUIDITIES = _names(Refusal), _names(Liquidity)


class TradingRows:
    """Columns in the order of the tables, without run, sequence and symbol. NULL is what an order has not."""

    def __init__(self, config: ExecutionConfig) -> None:
        self._price, self._size = config.price_tick, config.size_tick
        self._money = config.price_tick * config.size_tick

    def of_orders(self, rows: np.ndarray) -> tuple[list, ...]:
        """``rows``: ``ORDER_DTYPE``."""
        return (
            rows["order_id"].tolist(),
            _named(rows["side"], _SIDES),
            _named(rows["kind"], _KINDS),
            _named(rows["status"], _STATUSES),
            _named(rows["reason"], _REFUSALS),
            (rows["quantity"] * self._size).tolist(),
            (rows["filled"] * self._size).tolist(),
            _or_none(rows["limit"], self._price),
            _or_none(rows["price"], self._price),
            rows["ts_venue_ns"].tolist(),
            rows["ts_arrival_ns"].tolist(),
            [stamp or None for stamp in rows["ts_expiry_ns"].tolist()],
            _cause(rows),
            rows["source_sequence"].tolist(),
        )

    def of_fills(self, rows: np.ndarray) -> tuple[list, ...]:
        """``rows``: ``FILL_DTYPE``."""
        return (
            rows["order_id"].tolist(),
            _named(rows["side"], _SIDES),
            _named(rows["liquidity"], _LIQUIDITIES),
            (rows["price"] * self._price).tolist(),
            (rows["quantity"] * self._size).tolist(),
            *((rows[name] * self._money).tolist() for name in ("fee", "realised")),
            (rows["position"] * self._size).tolist(),
            (rows["cash"] * self._money).tolist(),
            rows["ts_venue_ns"].tolist(),
            _cause(rows),
            [f"{value:016x}" for value in rows["chain_hash"].tolist()],
            rows["source_sequence"].tolist(),
        )


def _named(values: np.ndarray, names: dict[int, str]) -> list[str]:
    return [names.get(value, str(value)) for value in values.tolist()]


def _or_none(values: np.ndarray, tick: float) -> list[float | None]:
    return [value * tick if value > 0 else None for value in values.tolist()]


def _cause(rows: np.ndarray) -> list[int | None]:
    return [sequence if sequence >= 0 else None for sequence in rows["signal_sequence"].tolist()]
