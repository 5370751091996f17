"""Processes of the ring stress: ``write PATH N``, ``read PATH ROLE N``, ``die PATH``. Each prints one JSON object.

Every record is eight words, word i = sequence * 31 + i (word 0 the sequence itself), so that a record mixed of two
is noticed whatever the mix.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
from numba import njit

from hft_engine.shm import layout
from hft_engine.shm.atomics import fence_release, sched_yield, store_release, store_sequence_release
from hft_engine.shm.doorbell import new_bells
from hft_engine.shm.ring import Ring, advance, as_words, claim, poll_into, publish

WORDS = 8
DTYPE = np.dtype([("sequence", "<i8"), ("words", "<i8", (WORDS - 1,))])
BATCH = 32


@njit(nogil=True, cache=True)
def write_all(head: np.ndarray, slots: np.ndarray, bells: np.ndarray, total: int) -> None:
    mask = len(slots) - 1
    done = head[layout.W_PUBLISHED]
    while done < total:
        count = min(BATCH, total - done)
        first = claim(head, slots, count)
        for i in range(count):
            sequence = first + i
            slot = slots[sequence & mask]
            for word in range(1, WORDS):
                slot[word] = sequence * 31 + word
        publish(head, slots, bells, first + count)
        done += count


@njit(nogil=True, cache=True)
def read_all(head: np.ndarray, slots: np.ndarray, reader: int, total: int, result: np.ndarray) -> None:
    """result: seen, torn, reordered."""
    scratch = np.zeros((256, WORDS), np.int64)
    base = layout.W_READER_0 + reader * layout.READER_WORDS
    last = -1
    while head[base + layout.R_POSITION] < total:
        count = poll_into(head, slots, reader, scratch, 256)
        if count == 0:
            sched_yield()
        for i in range(count):
            sequence = scratch[i, 0]
            if sequence <= last:
                result[2] += 1
            last = sequence
            for word in range(1, WORDS):
                if scratch[i, word] != sequence * 31 + word:
                    result[1] += 1
                    break
        result[0] += count
        advance(head, reader, count)


@njit(cache=True)
def write_some(head: np.ndarray, slots: np.ndarray, bells: np.ndarray, stores: int) -> None:
    """The first ``stores`` stores of publishing PAIR records at once, in the order of the ring's protocol."""
    first = head[layout.W_PUBLISHED]
    left = stores
    if left > 0:
        store_release(head, layout.W_INTENT, first + PAIR)
    left -= 1
    for sequence in range(first, first + PAIR):
        if left > 0:
            slots[sequence & (len(slots) - 1), 0] = ~sequence
        left -= 1
    fence_release()
    for sequence in range(first, first + PAIR):
        for word in range(1, WORDS):
            if left > 0:
                slots[sequence & (len(slots) - 1), word] = sequence * 31 + word
            left -= 1
    for sequence in range(first + PAIR - 1, first - 1, -1):
        if left > 0:
            store_sequence_release(slots, sequence & (len(slots) - 1), sequence)
        left -= 1
    if left > 0:
        publish(head, slots, bells, first + PAIR)


PAIR = 2
STORES = (
    1 + PAIR * (1 + WORDS) + 1
)  # intent, then of each its marks, its words and its sequence, then published


def die(ring: Ring) -> list[dict[str, object]]:
    """For every store: a child does that many and is killed; what do readers see, and can a writer go on?"""
    outcomes = []
    slots = as_words(ring.slots)
    write_some(ring.head, slots, ring.bells, 0)  # compiled before the forks
    scratch = np.zeros(ring.capacity, DTYPE)
    reader = ring.reader("a")
    for stores in range(STORES + 1):
        before = ring.published
        pid = os.fork()
        if pid == 0:
            write_some(ring.head, slots, ring.bells, stores)
            os.kill(os.getpid(), signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        seen = ring.poll(reader, scratch, ring.capacity)
        torn = sum(not _whole(record) for record in scratch[:seen])
        ring.recover()
        made = ring.published - before
        after = []
        for count in (1, 3):  # the next writer; one record first: nothing of the dead one may show behind it
            write_all(ring.head, slots, ring.bells, ring.published + count)
            after.append(ring.poll(reader, scratch, ring.capacity))
            torn += sum(not _whole(record) for record in scratch[: after[-1]])
        outcomes.append(
            {
                "stores": stores,
                "killed": os.WIFSIGNALED(status),
                "seen": seen,
                "published": made,
                "after": after,
                "torn": torn,
                "lapped": ring.lapped(reader),
            }
        )
    return outcomes


def _whole(record: np.ndarray) -> bool:
    sequence = int(record["sequence"])
    return all(int(record["words"][w - 1]) == sequence * 31 + w for w in range(1, WORDS))


def main(arguments: list[str]) -> None:
    mode, path = arguments[0], Path(arguments[1])
    ring = Ring.attach(path, DTYPE, new_bells())
    if mode == "write":
        write_all(ring.head, as_words(ring.slots), ring.bells, int(arguments[2]))
        print(json.dumps({"published": ring.published}))
    elif mode == "read":
        reader = ring.reader(arguments[2])
        result = np.zeros(3, np.int64)
        read_all(ring.head, as_words(ring.slots), reader, 0, result)  # compiled before the race
        print("ready", flush=True)
        read_all(ring.head, as_words(ring.slots), reader, int(arguments[3]), result)
        seen, torn, reordered = result.tolist()
        lapped = ring.lapped(reader)
        print(json.dumps({"seen": seen, "torn": torn, "reordered": reordered, "lapped": lapped}))
    else:
        print(json.dumps(die(ring)))


if __name__ == "__main__":
    main(sys.argv[1:])
