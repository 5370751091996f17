"""Every shipped feature a second time, plainly: Python's own floats, the textbook's formulas, no kernel, no numpy.

It shares nothing with what runs live but the configuration and the layout of a tick, so that a fault of the kernels
is not a fault here as well. It is slow, and makes those vectors only that somebody wants to see.
"""

from hft_engine.learn.reference.engine import PlainTick, Reference

__all__ = ["PlainTick", "Reference"]
