"""Filling gaps: bars that may be wrong (``plan``), asked for (``rest``, ``worker``), onto the ring (``repairer``)."""
