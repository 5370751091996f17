"""The journal: an append-only, checksummed copy of the tick ring and of the signals. Format: ``format.py``."""

from hft_engine.persistence.journal.format import JournalError
from hft_engine.persistence.journal.metadata import CodeIdentity, MachineIdentity, SegmentMetadata
from hft_engine.persistence.journal.reader import JournalReader
from hft_engine.persistence.journal.repair import cut
from hft_engine.persistence.journal.report import JournalReport, check, survey_session
from hft_engine.persistence.journal.selection import Selection
from hft_engine.persistence.journal.session import is_journal, session_dir, session_paths
from hft_engine.persistence.journal.tally import SegmentReport
from hft_engine.persistence.journal.writer import JournalWriteError, JournalWriter

__all__ = [
    "CodeIdentity",
    "JournalError",
    "JournalReader",
    "JournalReport",
    "JournalWriteError",
    "JournalWriter",
    "MachineIdentity",
    "SegmentMetadata",
    "SegmentReport",
    "Selection",
    "check",
    "cut",
    "is_journal",
    "session_dir",
    "session_paths",
    "survey_session",
]
