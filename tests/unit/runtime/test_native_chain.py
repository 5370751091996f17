"""Stages called by address: the same records as through Python, in every wait mode, and told of changes."""

from typing import Any

import numpy as np
import pytest
from numba import carray, njit

from hft_engine.runtime.chain import ATTENTION, TOUCH_NS, Chain, NativeCall, entry
from hft_engine.runtime.wait import Input
from hft_engine.shm.ring import Ring, advance, claim, poll_into, publish, room
from hft_engine.wiring import wire, wired

DTYPE = np.dtype([("sequence", "<i8"), ("value", "<f8")])


@njit(nogil=True)
def add(wiring: np.ndarray, reader: int, amount: int) -> int:
    """Copies records on, ``amount`` added."""
    in_head, in_slots = wired(wiring, 0, np.int64), wired(wiring, 1, DTYPE)
    out_head, out_slots = wired(wiring, 2, np.int64), wired(wiring, 3, DTYPE)
    scratch = wired(wiring, 5, DTYPE)
    count = poll_into(in_head, in_slots, reader, scratch, min(len(scratch), room(out_head, len(scratch))))
    first = claim(out_head, out_slots, count)
    for i in range(count):
        out_slots[(first + i) & (len(out_slots) - 1)].value = scratch[i].value + amount
    publish(out_head, out_slots, wired(wiring, 4, np.int64), first + count)
    advance(in_head, reader, count)
    return count


def call_add(wiring: Any, words: int, reader: int, amount: int) -> int:
    return add(carray(wiring, (words,)), reader, amount)


def call_nothing(wiring: Any, words: int, reader: int, amount: int) -> int:
    return 0


def call_always(wiring: Any, words: int, reader: int, amount: int) -> int:
    return 1


def call_count(wiring: Any, words: int, reader: int, amount: int) -> int:
    wiring[0] += 1
    return 0


def call_ask(wiring: Any, words: int, reader: int, amount: int) -> int:
    wiring[0] += 1
    return ATTENTION


ENTRY = entry(call_add)
ASK = entry(call_ask)
NOTHING, ALWAYS, COUNT = entry(call_nothing), entry(call_always), entry(call_count)


def stage(source: Ring, target: Ring, amount: int) -> tuple[NativeCall, list[np.ndarray]]:
    arrays = [source.head, source.slots, target.head, target.slots, target.bells, np.zeros(8, DTYPE)]
    return NativeCall(ENTRY.address, wire(arrays), 0, amount), arrays


def three_rings(gating: bool = False) -> list[Ring]:
    return [Ring.private(name, DTYPE, 32, ["next"], gating) for name in ("a", "b", "c")]


@pytest.mark.parametrize("mode", ["spin", "yield", "park", "sleep"])
def test_records_pass_both_stages_in_compiled_turns(mode: str) -> None:
    rings = three_rings()
    first, keep_first = stage(rings[0], rings[1], 1)
    second, keep_second = stage(rings[1], rings[2], 10)
    chain = Chain([first, second], [Input(rings[0], 0), Input(rings[1], 0)], rings[0].bells, 0, mode)
    rows = np.zeros(20, DTYPE)
    rows["value"] = np.arange(20)
    rings[0].publish_rows(rows)
    cycles, longest_ns, works = 0, 0, [0, 0]
    while works != [20, 20]:  # a busy machine may take a whole turn away
        more, cycle_ns, _, *done = chain.turn(2_000_000)
        cycles, longest_ns = cycles + more, max(longest_ns, cycle_ns)
        works = [before + now for before, now in zip(works, done, strict=True)]
        assert max(works) <= 20
    assert cycles >= 3  # eight records a cycle
    assert longest_ns > 0
    out = np.zeros(32, DTYPE)
    assert rings[2].poll(0, out, 32) == 20
    assert out["value"][:20].tolist() == [float(i + 11) for i in range(20)]
    assert len(keep_first) == len(keep_second)


def test_drain_ends_when_nothing_is_left_whatever_the_wait_mode() -> None:
    rings = three_rings()
    first, keep_first = stage(rings[0], rings[1], 1)
    second, keep_second = stage(rings[1], rings[2], 10)
    chain = Chain([first, second], [], rings[0].bells, 0, "park")
    rings[0].publish_rows(np.zeros(20, DTYPE))
    cycles, *_, taken, passed_on = chain.drain()
    assert (taken, passed_on) == (20, 20)
    assert cycles == 4  # eight records a cycle, and one that found nothing
    assert chain.drain()[-2:] == [0, 0]
    assert keep_first and keep_second


def test_what_is_let_through_is_passed_on_at_once_and_told_with_the_next_turn() -> None:
    rings = three_rings()
    call, keep = stage(rings[0], rings[1], 1)
    chain = Chain([call], [Input(rings[0], 0)], rings[0].bells, 0, "park")
    rings[0].publish_rows(np.zeros(20, DTYPE))
    while rings[1].lag(0) < 20:  # a busy machine may take the whole time away
        chain.let_through()
    assert chain.turn(0)[3:] == [20]
    assert chain.turn(0)[3:] == [0]
    assert keep


def test_who_asked_for_python_while_letting_through_is_not_called_again_before_it_was_heard() -> None:
    ring, called = three_rings()[0], np.zeros(1, np.int64)
    chain = Chain([NativeCall(ASK.address, called, 0)], [Input(ring, 0)], ring.bells, 0, "spin")
    chain.let_through()
    chain.let_through()
    assert called[0] == 1
    assert chain.turn(1_000_000)[3:] == [1]  # told, for ``tend``, and not called
    chain.let_through()  # by a ``tend`` before its own
    assert called[0] == 1
    assert chain.turn(1_000_000)[3:] == [1]
    assert called[0] == 2
    chain.let_through()
    assert called[0] == 2


def test_changed_call_holds_from_the_next_turn_on() -> None:
    rings = three_rings()
    call, keep = stage(rings[0], rings[1], 1)
    chain = Chain([call], [Input(rings[0], 0)], rings[0].bells, 0, "spin")
    rings[0].publish_rows(np.zeros(1, DTYPE))
    chain.turn(0)
    chain.turn(1_000_000)
    chain.use([call._replace(argument=5)])
    rings[0].publish_rows(np.zeros(1, DTYPE))
    chain.turn(1_000_000)
    out = np.zeros(4, DTYPE)
    assert rings[1].poll(0, out, 4) == 2
    assert out["value"][:2].tolist() == [1.0, 5.0]
    assert keep


def test_full_gating_ring_holds_the_stage_back_without_loss() -> None:
    rings = three_rings(gating=True)
    call, keep = stage(rings[0], rings[1], 0)
    chain = Chain([call], [Input(rings[0], 0)], rings[0].bells, 0, "park")
    out = np.zeros(32, DTYPE)
    got: list[float] = []
    for start in range(0, 96, 32):
        rows = np.zeros(32, DTYPE)
        rows["value"] = np.arange(start, start + 32)
        rings[0].publish_rows(rows)
        chain.turn(500_000)
        if start:  # the ring downstream is full of what came before
            assert (rings[0].lag(0), rings[1].lag(0)) == (32, 32)
            got += out["value"][: rings[1].poll(0, out, 32)].tolist()
        while rings[1].lag(0) < 32:
            chain.turn(500_000)
    got += out["value"][: rings[1].poll(0, out, 32)].tolist()
    assert got == [float(i) for i in range(96)]
    assert keep


def test_a_turn_without_work_ends_in_time() -> None:
    rings = three_rings()
    call, keep = stage(rings[0], rings[1], 0)
    chain = Chain([call], [Input(rings[0], 0)], rings[0].bells, 0, "park")
    assert chain.turn(3_000_000)[3:] == [0]  # it came back at all
    assert keep


@pytest.mark.parametrize(
    ("mode", "touched"), [("spin", True), ("yield", True), ("park", False), ("sleep", False)]
)
def test_an_idle_stage_touches_its_memory_where_nobody_sleeps(mode: str, touched: bool) -> None:
    source, words = three_rings()[0], np.zeros(1, np.int64)
    call = NativeCall(NOTHING.address, words, 0, touch=COUNT.address)
    chain = Chain([call], [Input(source, 0)], source.bells, 0, mode)
    longest_ns = chain.turn(TOUCH_NS // 5)[1]
    assert words[0] == 0 or longest_ns > TOUCH_NS // 2  # unless the machine stood still for as long
    words[0] = turns = 0
    while words[0] == 0 and turns < (100 if touched else 1):  # a busy machine may take a whole turn away
        chain.turn(20 * TOUCH_NS)
        turns += 1
    assert bool(words[0]) is touched
    assert words[0] <= 20 * turns


def test_a_busy_stage_is_not_touched() -> None:
    source, target = three_rings()[:2]
    call, keep = stage(source, target, 1)
    busy = NativeCall(COUNT.address, np.zeros(1, np.int64), 0)
    always = NativeCall(ALWAYS.address, np.zeros(1, np.int64), 0, touch=COUNT.address)
    chain = Chain([call, busy, always], [Input(source, 0)], source.bells, 0, "spin")
    chain.turn(4 * TOUCH_NS)
    assert always.wiring[0] == 0 and busy.wiring[0] > 0
    assert keep
