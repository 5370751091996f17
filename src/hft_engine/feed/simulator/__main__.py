"""``python -m hft_engine.feed.simulator``: the same as ``hft sim``."""

import sys

from hft_engine.feed.simulator.command import main

if __name__ == "__main__":
    sys.exit(main())
