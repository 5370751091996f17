"""Which symbols the synthetic market trades."""

REAL_TICKERS = (
    "AAPL", "MSFT", "NVDA", "AMZN", "TSLA", "META", "GOOGL", "AMD", "SPY", "QQQ", "NFLX", "AVGO", "JPM", "BAC",
    "INTC", "CSCO", "XOM", "CVX", "WMT", "DIS", "KO", "PEP", "PFE", "MRK", "JNJ", "V", "MA", "HD", "MCD", "NKE",
    "BA", "CAT", "GE", "F", "GM", "T", "VZ", "ORCL", "IBM", "CRM", "ADBE", "QCOM", "TXN", "MU", "UBER", "PYPL",
    "SBUX", "COST", "TGT", "WFC", "C", "GS", "MS", "SCHW", "AXP", "UNH", "LLY", "ABBV", "BMY", "GILD",
)  # fmt: skip
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def market_symbols(count: int) -> tuple[str, ...]:
    """``count`` symbols: well-known tickers first, then made-up ones, XAAA, XAAB, ... (at most 10,000)."""
    made_up = max(0, count - len(REAL_TICKERS))
    return REAL_TICKERS[:count] + tuple(_made_up(i) for i in range(made_up))


def _made_up(number: int) -> str:
    high, low = divmod(number, 26)
    return "X" + _LETTERS[high // 26] + _LETTERS[high % 26] + _LETTERS[low]
