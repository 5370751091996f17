"""Where everything lies inside a segment: word offsets, limits and the identity header. No numba here.

A *word* is 8 bytes. Every segment begins with the same eight identity words:

    word 0  magic          1  layout version    2  dtype hash     3  record size, bytes
    word 4  capacity       5  reader count      6  gating (0/1)   7  doorbells of readers that park, a bit each

Ring header, one 4096-byte page; each cursor has 128 bytes to itself, two cache lines, because the adjacent-line
prefetcher of x86-64 fetches lines in pairs:

    word  16  INTENT       writer raises it before it overwrites slots: everything below may be overwritten
    word  17  FREE_END     of a gating ring, the writer's own: slots below are known to be free
    word  18  START        the ring's first sequence: 0, or where a resumed session went on
    word  32  PUBLISHED    writer releases it after: everything below is complete
    word  64  reader 0     +0 POSITION  +1 LAPPED  +2 SEEN  +3 LAPS  +4 LAPS_TOLD   (16 words a reader, 16 readers)
                           +5 the latest LAPS_KEPT laps, each two words: [from, to) was missed
    word 320  reader names 16 names of 24 bytes
    byte 4096 slots        capacity records

Doorbell segment, 128 bytes each:

    word   0  PARKED       a bit for each bell whose actor sleeps, or is about to
    word  16  bell 0       +0 SEQUENCE (futex word: its low 32 bits)   +1 STOP
"""

import hashlib

import numpy as np

WORD = 8
PAGE_BYTES = 4096
MAGIC = int.from_bytes(b"hft_shm1", "little")
LAYOUT_VERSION = 5

# identity
W_MAGIC, W_VERSION, W_DTYPE, W_RECORD, W_CAPACITY, W_READERS, W_GATING, W_BELLS = range(8)

# ring header
W_INTENT, W_FREE_END, W_START = 16, 17, 18
W_PUBLISHED = 32
W_READER_0 = 64
READER_WORDS = 16
READERS_MAX = 16  # the page has room for them; a view process needs no reader entry
R_POSITION, R_LAPPED, R_SEEN, R_LAPS, R_LAPS_TOLD, R_LAP_0 = range(6)
LAPS_KEPT = 5  # a lap moves the reader an eighth of the ring: more of them between two looks do not happen
READER_NAMES_BYTE = 320 * WORD
READER_NAME_BYTES = 24
RING_HEADER_BYTES = PAGE_BYTES
RING_HEADER_WORDS = RING_HEADER_BYTES // WORD

# doorbells
W_PARKED, W_BELL_0 = 0, 16
BELL_WORDS = 16
B_SEQUENCE, B_STOP = range(2)
BELLS_MAX = 64  # actors in one run: a bit of a word each
BELLS_WORDS = W_BELL_0 + BELLS_MAX * BELL_WORDS
NO_BELL = -1  # of a reader that never parks

# stats segment of one role: vitals, counters, histograms
VITALS_WORD = 16
V_HEARTBEAT_NS, V_STATE, V_PID, V_CYCLES, V_CYCLE_NS_MAX, V_LONG_CYCLES, V_STARTED_NS, V_WORK = range(8)
COUNTERS_WORD = 512
COUNTERS_MAX = 128
HISTOGRAMS_MAX = 4
NAME_BYTES = 48
NAMES_BYTE = 2 * PAGE_BYTES
TABLE_WORD = (NAMES_BYTE + 2 * PAGE_BYTES) // WORD
TABLE_WORDS = 2_560  # of a role's own; signals: its slowest records; feed: its lines
HISTOGRAMS_BYTE = (TABLE_WORD + TABLE_WORDS) * WORD

assert R_LAP_0 + 2 * LAPS_KEPT <= READER_WORDS
assert W_READER_0 + READERS_MAX * READER_WORDS == 320
assert READER_NAMES_BYTE + READERS_MAX * READER_NAME_BYTES <= RING_HEADER_BYTES
assert VITALS_WORD + 8 <= COUNTERS_WORD
assert (COUNTERS_WORD + COUNTERS_MAX) * WORD <= NAMES_BYTE
assert NAMES_BYTE + (COUNTERS_MAX + HISTOGRAMS_MAX) * NAME_BYTES <= TABLE_WORD * WORD
assert HISTOGRAMS_BYTE % PAGE_BYTES == 0


def dtype_hash(dtype: np.dtype) -> int:
    """A positive int63 that changes with any field's name, format or offset."""
    fields = [(name, str(field[0]), field[1]) for name, field in (dtype.fields or {}).items()]
    text = repr(fields) + str(dtype.itemsize)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def ring_bytes(dtype: np.dtype, capacity: int) -> int:
    return RING_HEADER_BYTES + capacity * dtype.itemsize


def stop_word(bell: int) -> int:
    """Where, among the doorbells' words, the actor of ``bell`` is told to stop."""
    return W_BELL_0 + bell * BELL_WORDS + B_STOP
