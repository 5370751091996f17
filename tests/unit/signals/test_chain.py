"""The chain hash against XXH64 written out in plain Python from its specification."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signals_bench import records, rule

from hft_engine.records import SIGNAL_DTYPE, SIGNAL_HASHED_BYTES
from hft_engine.signals.chain import link

P1, P2, P3, P4, P5 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)
MASK = (1 << 64) - 1


def rotate(x, bits):
    return ((x << bits) | (x >> (64 - bits))) & MASK


def mix(lane, word):
    return rotate((lane + word * P2) & MASK, 31) * P1 & MASK


def xxh64(data: bytes, seed: int) -> int:
    """XXH64 of any input, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md"""
    left = data
    if len(data) >= 32:
        lanes = [(seed + P1 + P2) & MASK, (seed + P2) & MASK, seed, (seed - P1) & MASK]
        while len(left) >= 32:
            lanes = [
                mix(lane, word) for lane, word in zip(lanes, struct.unpack("<4Q", left[:32]), strict=True)
            ]
            left = left[32:]
        total = sum(rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True)) & MASK
        for lane in lanes:
            total = ((total ^ mix(0, lane)) * P1 + P4) & MASK
    else:
        total = (seed + P5) & MASK
    total = (total + len(data)) & MASK
    while len(left) >= 8:
        total = (rotate(total ^ mix(0, struct.unpack("<Q", left[:8])[0]), 27) * P1 + P4) & MASK
        left = left[8:]
    if len(left) >= 4:
        total = (rotate(total ^ (struct.unpack("<I", left[:4])[0] * P1 & MASK), 23) * P2 + P3) & MASK
        left = left[4:]
    for byte in left:
        total = rotate(total ^ (byte * P5 & MASK), 11) * P1 & MASK
    total = (total ^ (total >> 33)) * P2 & MASK
    total = (total ^ (total >> 29)) * P3 & MASK
    return total ^ (total >> 32)


@pytest.mark.parametrize(
    ("data", "seed", "expected"),
    [
        (b"", 0, 0xEF46DB3751D8E999),
        (b"a", 0, 0xD24EC4F1A98C6E5B),
        (b"abc", 0, 0x44BC2CF5AD770999),
    ],
)
def test_the_reference_itself_gives_the_published_values(data, seed, expected):
    assert xxh64(data, seed) == expected


@given(st.binary(min_size=SIGNAL_DTYPE.itemsize, max_size=SIGNAL_DTYPE.itemsize), st.integers(0, MASK))
@settings(max_examples=100, deadline=None)
def test_any_signal_hashes_as_its_first_80_bytes(raw, seed):
    signals = np.frombuffer(raw, SIGNAL_DTYPE).copy()
    assert int(link(signals, 0, np.uint64(seed))) == xxh64(raw[:SIGNAL_HASHED_BYTES], seed)


def test_published_signals_are_chained(bench):
    signals = bench(rule()).run(records([2, 0] * 50))
    assert len(signals) == 50
    previous = 0
    for signal in signals:
        previous = xxh64(signal.tobytes()[:SIGNAL_HASHED_BYTES], previous)
        assert int(signal["chain_hash"]) == previous


def test_the_hash_sees_what_is_decided_and_not_what_is_measured(bench):
    rows = records([2, 0] * 5)
    first = bench(rule()).run(rows)["chain_hash"]
    measured = rows.copy()
    measured["ts_recv_ns"] += 1
    measured["ts_mono_ns"] += 1
    decided = rows.copy()
    decided["price"][0] += 1e-9
    assert list(bench(rule()).run(measured)["chain_hash"]) == list(first)
    assert set(bench(rule()).run(decided)["chain_hash"]).isdisjoint(first)
