"""The journal: an append-only, checksummed copy of the tick ring. Format: ``format.py``."""

from hft_engine.persistence.journal.format import JournalError, SegmentMetadata
from hft_engine.persistence.journal.reader import JournalReader
from hft_engine.persistence.journal.report import JournalReport, check, cut
from hft_engine.persistence.journal.segment import SegmentReport
from hft_engine.persistence.journal.session import session_dir
from hft_engine.persistence.journal.writer import JournalWriteError, JournalWriter

__all__ = [
    "JournalError",
    "JournalReader",
    "JournalReport",
    "JournalWriteError",
    "JournalWriter",
    "SegmentMetadata",
    "SegmentReport",
    "check",
    "cut",
    "session_dir",
]
