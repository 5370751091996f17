"""Trading signals of live data, by a short JSON file.

    python scripts/live_trading.py --config config/live_trading_config.json
        [--provider NAME] [--tickers AAPL,MSFT] [--api-key KEY] [--log-level DEBUG]

The key is better in the environment or in .env: ALPHAVANTAGE_API_KEY, POLYGON_API_KEY, FINNHUB_API_KEY. The file's keys
are explained in docs/api.md. Ctrl-C stops it.
"""

from hft_engine.live.command import command

if __name__ == "__main__":
    command()
