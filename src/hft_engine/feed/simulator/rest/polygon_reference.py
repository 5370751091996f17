"""``/v3/reference``, ``/vX/reference`` and ``/v1/marketstatus``: contracts, splits, financials, what is open.

Splits and financials are made up: the same for a symbol at every time.
"""

from datetime import UTC, date, datetime, time
from typing import Any
from zlib import crc32

import numpy as np

from hft_engine.feed.simulator.contracts import SHARES, Contract
from hft_engine.feed.simulator.eastern import EASTERN, day_of
from hft_engine.feed.simulator.history import History
from hft_engine.feed.simulator.options_market import OptionsMarket
from hft_engine.feed.simulator.rest.front import Asked
from hft_engine.feed.simulator.rest.queries import choice, flag, number, opened, page, values_allowed
from hft_engine.feed.simulator.source import Paced, SyntheticSource

LIMIT, CONTRACTS_MAX, FINANCIALS_MAX = 10, 1_000, 100
SPLIT_RATIOS = ((2, 1), (3, 1), (4, 1), (10, 1), (1, 5), (1, 10))  # to, from
SPLIT_DAYS = (date(2014, 6, 9), date(2020, 8, 31), date(2024, 6, 10))
FISCAL_YEARS = (2023, 2024, 2025)
QUARTERS = (
    (1, 1, 31, 3),
    (2, 4, 30, 6),
    (3, 7, 30, 9),
    (4, 10, 31, 12),
)  # number, first month, last day and month
OPENS, CLOSES = time(9, 30), time(16, 0)
EARLY, LATE = time(4, 0), time(20, 0)
STATEMENTS = {
    "income_statement": (("revenues", "Revenues", 100), ("net_income_loss", "Net Income/Loss", 4_100)),
    "balance_sheet": (
        ("assets", "Assets", 100),
        ("liabilities", "Liabilities", 600),
        ("equity", "Equity", 1_400),
    ),
    "cash_flow_statement": (("net_cash_flow", "Net Cash Flow", 1_100),),
    "comprehensive_income": (("comprehensive_income_loss", "Comprehensive Income/Loss", 100),),
}


def market_of(source: Paced) -> OptionsMarket | None:
    """The options market behind a venue, if that is what it trades."""
    market = source.market if isinstance(source, SyntheticSource) else None
    return market if isinstance(market, OptionsMarket) else None


class Reference:
    def __init__(self, source: Paced, history: History) -> None:
        self._history = history
        market = market_of(source)
        self._contracts = sorted(market.contracts if market else (), key=lambda contract: contract.symbol)

    # ---- contracts

    def contracts(self, asked: Asked) -> dict[str, Any]:
        query = opened(asked.query)
        limit = number(query, "limit", LIMIT, CONTRACTS_MAX)
        found = [contract for contract in self._contracts if self._fits(contract, query)]
        keys = {"ticker": "symbol", "expiration_date": "expires", "strike_price": "strike"}
        by = keys[choice(query, "sort", "ticker", tuple(keys))]
        found.sort(
            key=lambda contract: (getattr(contract, by), contract.symbol),
            reverse=choice(query, "order", "asc", ("asc", "desc")) == "desc",
        )
        shown, more = page(found, asked.path, query, limit, lambda contract: contract.symbol)
        return {"results": [as_result(contract) for contract in shown], **more}

    def _fits(self, contract: Contract, query: dict[str, str]) -> bool:
        expired = contract.expires < day_of(self._history.now_ns)
        return (
            query.get("ticker", contract.symbol) == contract.symbol
            and query.get("underlying_ticker", contract.underlying) == contract.underlying
            and query.get("contract_type", contract.kind) == contract.kind
            and flag(query, "expired", False) == expired
            and values_allowed(query, "strike_price", float)(contract.strike)
            and values_allowed(query, "expiration_date", date.fromisoformat)(contract.expires)
        )

    # ---- splits

    def splits(self, asked: Asked) -> dict[str, Any]:
        query = opened(asked.query)
        limit = number(query, "limit", LIMIT, CONTRACTS_MAX)
        found = [
            split
            for symbol in self._history.symbols
            if not symbol.startswith("O:")
            for split in _splits(symbol)
        ]
        allowed = values_allowed(query, "execution_date", date.fromisoformat)
        reverse = query.get("reverse_split")
        chosen = [
            split
            for split in found
            if query.get("ticker", split["ticker"]) == split["ticker"]
            and allowed(date.fromisoformat(split["execution_date"]))
            and (
                reverse is None
                or flag(query, "reverse_split", False) == (split["split_from"] > split["split_to"])
            )
        ]
        chosen.sort(key=lambda split: (split["execution_date"], split["ticker"]), reverse=True)
        shown, more = page(chosen, asked.path, query, limit, lambda split: str(split["id"]))
        return {"results": list(shown), **more}

    # ---- financials

    def financials(self, asked: Asked) -> dict[str, Any]:
        query = opened(asked.query)
        limit = number(query, "limit", LIMIT, FINANCIALS_MAX)
        frame = choice(query, "timeframe", "", ("", "annual", "quarterly", "ttm"))
        symbols = [s for s in self._history.symbols if query.get("ticker", s) == s and not s.startswith("O:")]
        found = [
            report
            for symbol in symbols
            for report in _reports(symbol)
            if report["timeframe"] == (frame or report["timeframe"])
        ]
        shown, more = page(
            found, asked.path, query, limit, lambda r: f"{r['cik']}-{r['end_date']}-{r['timeframe']}"
        )
        return {"results": list(shown), "count": len(shown), **more}

    # ---- the market

    def market_now(self, asked: Asked) -> dict[str, Any]:
        now = datetime.now(UTC).astimezone(EASTERN)
        word = _session(now)
        return {
            "market": word,
            "serverTime": now.isoformat(timespec="seconds"),
            "earlyHours": word == "extended-hours" and now.time() < OPENS,
            "afterHours": word == "extended-hours" and now.time() >= CLOSES,
            "exchanges": {"nyse": word, "nasdaq": word, "otc": word},
            "currencies": {"fx": "open", "crypto": "open"},
        }

    def market_upcoming(self, asked: Asked) -> list[dict[str, Any]]:
        year = datetime.now(UTC).astimezone(EASTERN).year + 1
        return [
            {"exchange": exchange, "name": "New Years Day", "date": f"{year}-01-01", "status": "closed"}
            for exchange in ("NYSE", "NASDAQ")
        ]


def as_result(contract: Contract) -> dict[str, Any]:
    return {
        "cfi": "OCASPS" if contract.kind == "call" else "OPASPS",
        "contract_type": contract.kind,
        "exercise_style": "american",
        "expiration_date": contract.expires.isoformat(),
        "primary_exchange": "BATO",
        "shares_per_contract": SHARES,
        "strike_price": contract.strike,
        "ticker": contract.symbol,
        "underlying_ticker": contract.underlying,
    }


def _session(now: datetime) -> str:
    if now.weekday() >= 5 or not EARLY <= now.time() < LATE:
        return "closed"
    return "open" if OPENS <= now.time() < CLOSES else "extended-hours"


def _splits(symbol: str) -> list[dict[str, Any]]:
    rng = np.random.default_rng((crc32(symbol.encode()), 1))
    chosen = [day for day in SPLIT_DAYS if rng.random() < 0.5]
    ratios = [SPLIT_RATIOS[i] for i in rng.integers(0, len(SPLIT_RATIOS), len(chosen))]
    return [
        {
            "id": f"{crc32(f'{symbol}{day}'.encode()):064x}",
            "ticker": symbol,
            "execution_date": day.isoformat(),
            "split_from": before,
            "split_to": after,
        }
        for day, (after, before) in zip(chosen, ratios, strict=True)
    ]


def _reports(symbol: str) -> list[dict[str, Any]]:
    """Newest first: of each year the annual report, then its quarters."""
    rng = np.random.default_rng((crc32(symbol.encode()), 2))
    reports = []
    for year in reversed(FISCAL_YEARS):
        revenues = float(round(rng.lognormal(23.0, 0.5)))
        reports.append(_report(symbol, year, "FY", "annual", date(year, 1, 1), date(year, 12, 31), revenues))
        reports += [
            _report(
                symbol, year, f"Q{n}", "quarterly", date(year, first, 1), date(year, last, end), revenues / 4
            )
            for n, first, end, last in reversed(QUARTERS)
        ]
    return reports


def _report(
    symbol: str, year: int, period: str, timeframe: str, start: date, end: date, revenues: float
) -> dict[str, Any]:
    return {
        "cik": f"{crc32(symbol.encode()) % 10**10:010d}",
        "company_name": f"{symbol} INC.",
        "start_date": start.isoformat(),
        "end_date": end.isoformat(),
        "filing_date": date.fromordinal(end.toordinal() + 35).isoformat(),
        "fiscal_period": period,
        "fiscal_year": str(year),
        "timeframe": timeframe,
        "tickers": [symbol],
        "financials": {
            statement: {
                key: {
                    "label": label,
                    "order": order,
                    "unit": "USD",
                    "value": round(revenues / (1 + order / 1000)),
                }
                for key, label, order in lines
            }
            for statement, lines in STATEMENTS.items()
        },
    }
