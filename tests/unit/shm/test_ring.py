"""The ring in one process: order, laps, gating, restart of a writer, and what a view may see."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft_engine.shm import layout
from hft_engine.shm.doorbell import new_bells
from hft_engine.shm.ring import Ring, RingFullError
from hft_engine.shm.ring_file import RingView, create_ring
from hft_engine.shm.segment import SegmentError

DTYPE = np.dtype([("sequence", "<i8"), ("value", "<f8"), ("pad", "<i8", (6,))])


def rows(values: list[float]) -> np.ndarray:
    made = np.zeros(len(values), DTYPE)
    made["value"] = values
    return made


def test_records_arrive_in_order_with_their_sequence() -> None:
    ring = Ring.private("r", DTYPE, 16, ["a"])
    assert ring.publish_rows(rows([1.0, 2.0])) == 0
    assert ring.publish_rows(rows([3.0])) == 2
    out = np.zeros(8, DTYPE)
    assert ring.poll(0, out, 8) == 3
    assert out["value"][:3].tolist() == [1.0, 2.0, 3.0]
    assert out["sequence"][:3].tolist() == [0, 1, 2]


def test_poll_respects_limit_and_continues_where_it_stopped() -> None:
    ring = Ring.private("r", DTYPE, 16, ["a"])
    ring.publish_rows(rows([float(i) for i in range(8)]))
    out = np.zeros(8, DTYPE)
    assert ring.poll(0, out, 3) == 3
    assert ring.poll(0, out, 8) == 5
    assert out["value"][0] == 3.0


@given(
    batches=st.lists(st.integers(1, 40), min_size=1, max_size=40),
    reads=st.lists(st.integers(0, 30), max_size=40),
)
def test_published_equals_seen_plus_lapped_plus_lag(batches: list[int], reads: list[int]) -> None:
    ring = Ring.private("r", DTYPE, 32, ["a"])
    out = np.zeros(32, DTYPE)
    next_value = 0
    last = -1
    for i, batch in enumerate(batches):
        ring.publish_rows(rows([float(next_value + k) for k in range(batch)]))
        next_value += batch
        count = ring.poll(0, out, reads[i]) if i < len(reads) else 0
        for record in out[:count]:
            assert record["value"] == record["sequence"]
            assert record["sequence"] > last
            last = int(record["sequence"])
    assert ring.published == ring.seen(0) + ring.lapped(0) + ring.lag(0)


def test_slow_reader_is_lapped_and_counts_exactly_what_it_missed() -> None:
    ring = Ring.private("r", DTYPE, 16, ["slow", "fast"])
    out = np.zeros(16, DTYPE)
    for value in range(50):
        ring.publish_rows(rows([float(value)]))
        assert ring.poll(1, out, 16) == 1
    count = ring.poll(0, out, 16)
    assert out["sequence"][0] == ring.lapped(0) == 50 - count
    assert ring.lapped(1) == 0


def test_gating_ring_never_laps_its_slowest_reader() -> None:
    ring = Ring.private("r", DTYPE, 16, ["slow", "fast"], gating=True)
    out = np.zeros(16, DTYPE)
    ring.publish_rows(rows([0.0] * 16))
    ring.poll(1, out, 16)
    assert ring.room() == 0
    with pytest.raises(RingFullError, match="room for 0"):
        ring.publish_rows(rows([1.0]))
    ring.poll(0, out, 5)
    assert ring.room() == 5


def test_large_batch_is_published_in_parts() -> None:
    ring = Ring.private("r", DTYPE, 16, ["a"], gating=True)
    assert ring.publish_rows(rows([float(i) for i in range(16)])) == 0
    out = np.zeros(16, DTYPE)
    assert ring.poll(0, out, 16) == 16
    assert out["value"].tolist() == [float(i) for i in range(16)]


def test_half_written_slots_of_a_dead_writer_are_never_read() -> None:
    ring = Ring.private("r", DTYPE, 16, ["late"])
    ring.publish_rows(rows([float(i) for i in range(8)]))
    ring.publish_rows(rows([float(i) for i in range(8, 16)]))
    # The writer raised its intent over the four oldest slots, wrote half of one, and died.
    ring.head[layout.W_INTENT] = 20
    ring.slots["sequence"][:4] = ~np.arange(16, 20)
    ring.slots["value"][0] = -1.0
    out = np.zeros(16, DTYPE)
    count = ring.poll(0, out, 16)
    assert out["sequence"][0] >= 4
    assert (out["value"][:count] == out["sequence"][:count]).all()
    assert count + ring.lapped(0) == 16
    # A new writer goes on at PUBLISHED; readers still refuse what the dead one may have touched.
    assert ring.publish_rows(rows([16.0])) == 16
    assert ring.head[layout.W_INTENT] == 20


def test_a_batch_whose_end_was_being_made_visible_is_taken_back_by_the_next_writer() -> None:
    ring = Ring.private("r", DTYPE, 16, ["a"])
    ring.publish_rows(rows([0.0]))
    ring.head[layout.W_INTENT] = 4
    ring.slots["sequence"][1:4] = [~1, 2, 3]  # the last two of three were visible, the first was not
    ring.recover()
    assert ring.published == 1
    ring.publish_rows(rows([7.0]))
    out = np.zeros(8, DTYPE)
    assert ring.poll(0, out, 8) == 2
    assert out["value"][:2].tolist() == [0.0, 7.0]


def test_a_batch_that_readers_could_see_counts_though_its_writer_died() -> None:
    ring = Ring.private("r", DTYPE, 16, ["a"])
    ring.publish_rows(rows([0.0]))
    ring.head[layout.W_INTENT] = 5
    ring.slots["sequence"][1:5] = [1, 2, 3, ~4]  # claimed four, published three, PUBLISHED not raised yet
    out = np.zeros(8, DTYPE)
    assert ring.poll(0, out, 8) == 4
    assert ring.lag(0) == 0
    ring.recover()
    assert ring.published == 4
    assert ring.publish_rows(rows([4.0])) == 4
    assert ring.poll(0, out, 8) == 1


def test_shared_ring_is_seen_by_another_mapping_and_by_a_view(tmp_path: Path) -> None:
    create_ring(tmp_path / "x.ring", DTYPE, 16, [("a", 0), ("b", 1)], gating=False)
    writer = Ring.attach(tmp_path / "x.ring", DTYPE, new_bells())
    reader = Ring.attach(tmp_path / "x.ring", DTYPE, new_bells())
    view = RingView(tmp_path / "x.ring", DTYPE)
    for value in range(40):
        writer.publish_rows(rows([float(value)]))
    out = np.zeros(16, DTYPE)
    assert reader.reader("b") == 1
    assert reader.poll(1, out, 16) == 14
    first, copies = view.read(0, 100)
    assert first == 24
    assert copies["value"].tolist() == [float(i) for i in range(24, 40)]
    assert view.last(3)["sequence"].tolist() == [37, 38, 39]
    assert not view.drained()


def test_another_dtype_or_an_unmade_file_is_refused(tmp_path: Path) -> None:
    create_ring(tmp_path / "x.ring", DTYPE, 16, [], gating=False)
    with pytest.raises(SegmentError, match="another version"):
        Ring.attach(tmp_path / "x.ring", np.dtype([("sequence", "<i8"), ("other", "<f8")]), new_bells())
    (tmp_path / "y.ring").write_bytes(bytes(8192))
    with pytest.raises(SegmentError, match="no hft_engine segment"):
        Ring.attach(tmp_path / "y.ring", DTYPE, new_bells())


@pytest.mark.parametrize("capacity", [0, 4, 12, 1000])
def test_capacity_must_be_a_power_of_two(capacity: int) -> None:
    with pytest.raises(SegmentError, match="power of two"):
        Ring.private("r", DTYPE, capacity)


def test_unknown_reader_is_named() -> None:
    with pytest.raises(SegmentError, match="'nobody' is no reader of ring 'r'"):
        Ring.private("r", DTYPE, 16, ["a"]).reader("nobody")


def test_a_ring_that_begins_late_is_like_one_that_has_come_so_far(tmp_path: Path) -> None:
    path = tmp_path / "late.ring"
    before = np.zeros(1, DTYPE)[0]
    before["value"] = 7.0
    create_ring(path, DTYPE, 16, [("a", layout.NO_BELL)], False, start=1_000, before=before)
    ring = Ring.attach(path, DTYPE, new_bells())
    ring.recover()
    assert ring.published == ring.start == ring.oldest == ring.position(0) == 1_000
    assert ring.record(999)["value"] == 7.0 and ring.record(999)["sequence"] == 999
    view = RingView(path, DTYPE)
    assert len(view.last(10)) == 0  # the one before is for the writer alone
    out = np.zeros(16, DTYPE)
    assert ring.poll(0, out, 16) == 0
    assert ring.publish_rows(rows([1.0] * 3)) == 1_000
    assert ring.poll(0, out, 16) == 3
    assert out["sequence"][:3].tolist() == [1_000, 1_001, 1_002]
    assert view.last(10)["sequence"].tolist() == [1_000, 1_001, 1_002]
    assert ring.rewind(0, 0) == 3
    assert ring.published == ring.seen(0) + ring.lapped(0) + ring.lag(0)


def test_each_lap_is_remembered_by_what_it_missed_until_it_was_told() -> None:
    ring = Ring.private("r", DTYPE, 16, ["slow"])
    out = np.zeros(16, DTYPE)
    missed = []
    for _ in range(3):
        ring.publish_rows(rows([0.0] * 40))
        first = ring.position(0)
        count = ring.poll(0, out, 16)
        missed.append((first, int(out["sequence"][0])))
        assert count
    assert ring.untold_laps(0) == (3, missed)
    ring.tell_laps(0, 3)
    assert ring.untold_laps(0) == (0, [])
    ring.publish_rows(rows([0.0] * 40))
    ring.miss(0, ring.published)
    assert ring.untold_laps(0) == (1, [(int(out["sequence"][count - 1]) + 1, 160)])
    assert ring.published == ring.seen(0) + ring.lapped(0)


def test_of_many_laps_only_the_latest_are_known_one_by_one() -> None:
    ring = Ring.private("r", DTYPE, 16, ["slow"])
    for lap in range(1, 10):
        ring.publish_rows(rows([0.0] * 8))
        ring.miss(0, 8 * lap)
    count, laps = ring.untold_laps(0)
    assert count == 9
    assert laps == [(8 * lap, 8 * lap + 8) for lap in range(9 - layout.LAPS_KEPT, 9)]


def test_a_ring_jumps_over_records_that_do_not_exist() -> None:
    ring = Ring.private("r", DTYPE, 16, ["a", "b"], gating=True)
    out = np.zeros(16, DTYPE)
    ring.publish_rows(rows([1.0]))
    ring.poll(0, out, 1)
    with pytest.raises(AssertionError):
        ring.jump(100)  # somebody has not read it yet
    ring.poll(1, out, 1)
    ring.jump(100)
    assert ring.publish_rows(rows([2.0])) == 100
    for reader in range(2):
        assert ring.poll(reader, out, 16) == 1
        assert out["sequence"][0] == 100 and out["value"][0] == 2.0


def test_a_reader_passes_what_it_had_from_elsewhere() -> None:
    ring = Ring.private("r", DTYPE, 16, ["a"])
    ring.publish_rows(rows([0.0] * 10))
    ring.pass_to(0, 4)
    assert ring.position(0) == ring.seen(0) == 4
    ring.pass_to(0, 2)
    assert ring.position(0) == 4
