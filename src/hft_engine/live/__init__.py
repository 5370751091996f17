"""Live trading signals by a short JSON file: ``scripts/live_trading.py``, docs/api.md."""
