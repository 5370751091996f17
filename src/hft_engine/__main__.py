"""``python -m hft_engine`` is ``hft``."""

from hft_engine.cli import main

if __name__ == "__main__":
    main()
