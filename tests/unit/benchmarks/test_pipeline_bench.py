from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import msgspec
import numpy as np
import pytest
from benchmarks.load import pipeline, pipeline_load, pipeline_peer, pipeline_wire
from benchmarks.load.pipeline_load import Flow, FlowLoad
from benchmarks.load.pipeline_node import BATCH_MAX, CAPACITY, Inbox, Outbox
from benchmarks.load.pipeline_peer import Nursery, Peer
from benchmarks.load.tick_to_signal import SETUPS, Run, configuration
from benchmarks.micro.decode import Pipeline

from hft_engine.config.schema import Config, InferenceConfig
from hft_engine.records import TICK_DTYPE
from hft_engine.shm.ring import Ring
from support.framing import messages_of

TINY = FlowLoad(count=10_000, seconds=0.1)


def test_bytes_put_into_a_ring_are_the_records_its_reader_gets_also_across_the_rings_end() -> None:
    ring = Ring.private("ticks", TICK_DTYPE, CAPACITY, ("indicators",), gating=True)
    inbox, seen = Inbox(ring), []
    rows = np.zeros(3 * CAPACITY, TICK_DTYPE)
    rows["sequence"] = np.arange(len(rows))
    scratch = np.zeros(300, TICK_DTYPE)
    for start in range(0, len(rows), 300):  # 300 does not divide the capacity
        part = rows[start : start + 300]
        assert inbox.put(part.tobytes()) == len(part)
        assert ring.poll(0, scratch, 300) == len(part)
        seen += scratch["sequence"][: len(part)].tolist()
    assert seen == rows["sequence"].tolist()


def test_what_was_published_goes_out_once_in_order_and_in_bounded_messages() -> None:
    ring = Ring.private("ticks", TICK_DTYPE, CAPACITY, ())
    outbox, seen = Outbox(ring), []
    for _ in range(5):
        ring.publish_rows(np.zeros(700, TICK_DTYPE))
        for batch in outbox.take():
            rows = np.frombuffer(batch, TICK_DTYPE)
            assert len(rows) <= BATCH_MAX
            seen += rows["sequence"].tolist()
    assert seen == list(range(3_500))
    assert list(outbox.take()) == []


def test_the_loads_frames_hold_every_tick_of_both_kinds_of_market() -> None:
    for (frames, offsets), events, warm in zip(
        pipeline_load.wire_frames(TINY), pipeline_load.FRAME_EVENTS, pipeline_load.WARM_TICKS, strict=True
    ):
        messages = messages_of(frames.tobytes())
        assert len(messages) == len(offsets) - 1 == (warm + TINY.count) // events
        assert Pipeline().run(messages) == warm + TINY.count


def _run(delays_ns: np.ndarray, lost: int = 0) -> Run:
    return Run(delays_ns, delays_ns, 1.0, lost=lost)


def test_who_loses_or_is_late_at_the_end_does_not_keep_up() -> None:
    assert pipeline.keeps_up(_run(np.full(100, 200_000)))
    assert not pipeline.keeps_up(_run(np.full(100, 200_000), lost=1))
    assert not pipeline.keeps_up(_run(np.linspace(0, 100e6, 100)))
    assert pipeline.keeps_up(_run(np.repeat([100e6, 0.0], 50)))  # a bad start that was made up for


def test_every_contender_is_compared_with_another_one() -> None:
    names = {peer.name for peer in pipeline.PEERS} | {f"engine_{layout}" for layout in pipeline.LAYOUTS}
    assert set(pipeline.REFERENCES) == names
    assert set(pipeline.REFERENCES.values()) <= names


def test_a_transport_that_cannot_run_here_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_wire.importlib.util, "find_spec", lambda name: None)
    assert "pip install" in str(pipeline_wire.missing("redis"))


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    resource_tracker.ensure_running()  # multiprocessing's own helper, which outlives every test
    with Nursery() as made:
        yield made


def _without_model(url: str) -> Config:
    config = configuration(SETUPS["dedicated"], url, Path("none"))
    return msgspec.structs.replace(config, inference=InferenceConfig())


@pytest.mark.parametrize("peer", pipeline.PEERS, ids=lambda peer: peer.name)
def test_every_tick_of_a_closed_window_comes_through_a_peers_pipeline(nursery: Nursery, peer: Peer) -> None:
    reason = pipeline_wire.missing(peer.kind)
    if reason is not None:
        pytest.skip(reason)
    flows = pipeline_peer.throughput(peer, _without_model, nursery, TINY)
    assert [flow.lost for flow in flows] == [0, 0]
    assert all(isinstance(flow, Flow) and flow.per_s > 0 for flow in flows)
