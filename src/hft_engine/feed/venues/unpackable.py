"""What parsing a frame and packing a row may raise, whatever the frame holds."""

from struct import error as LayoutError  # noqa: N812

import msgspec

from hft_engine.instruments import InstrumentTableFullError

PARSE_ERRORS = (msgspec.MsgspecError, UnicodeError, RecursionError)
PACK_ERRORS = (LayoutError, ValueError, OverflowError, InstrumentTableFullError)
