"""hft_engine: a real-time market-data and machine-learning trading engine on shared memory."""

__version__ = "0.1.0"
