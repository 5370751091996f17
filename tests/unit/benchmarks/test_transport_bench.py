from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker

import numpy as np
import pytest
from benchmarks.load import frames
from benchmarks.micro import transport, transport_peers
from benchmarks.micro.channel import RECORD
from benchmarks.micro.transport_ends import (
    PACK,
    Blast,
    Contender,
    PythonReceiver,
    fill,
    opened,
    stamped,
    wrong,
)
from benchmarks.micro.transport_peers import BLOCK, CONTENDERS

from support.streams import messages

PRELOAD = ["benchmarks.micro.transport_peers", "benchmarks.load.frames", "hft_engine.feed.transport"]
BY_NAME = {contender.name: contender for contender in CONTENDERS}


@pytest.fixture(scope="module", autouse=True)
def fork_server() -> Iterator[None]:
    """The standard library's helpers, started before and ended after the tests: they are not left behind."""
    forkserver.set_forkserver_preload(PRELOAD)
    forkserver.ensure_running()
    yield
    forkserver._forkserver._stop()
    resource_tracker._resource_tracker._stop()


@pytest.mark.parametrize("name", ["ring", "ring_python", "mp_pipe", "seqpacket", "zmq_push", "zmq_pub"])
def test_a_transport_brings_every_message_with_its_stamps(name: str) -> None:
    contender: Contender = BY_NAME[name]
    with opened(contender) as pair:
        for wait in contender.waits:
            timing = pair.paced(contender.pace(2_000, 20, wait))
            assert 0.0 < timing.sent_p50 <= timing.due_p50
        for blast in contender.blasts:
            assert pair.blast(Blast(blast.name, 4 * BLOCK, blast.batch, blast.packed)) > 0.0


def test_a_block_with_one_wrong_record_is_noticed() -> None:
    records = np.zeros(BLOCK, RECORD)
    fill(records, 100)
    assert wrong(records, 100) == 0
    records["payload"][7, 5] += 1
    assert wrong(records, 100) == 1
    receiver = PythonReceiver(records.tobytes)
    with pytest.raises(transport_peers.TransportError, match="were wrong"):
        receiver.blast(Blast("packed", 2 * BLOCK, BLOCK, packed=True))


def test_latency_is_taken_from_the_send_and_from_the_due_time() -> None:
    timing = stamped([10_000, 20_000], [PACK.pack(0, 9_000, 5_000), PACK.pack(0, 19_000, 15_000)])
    assert timing == (1.0, 1.0, 5.0, 5.0)


def test_a_contender_that_is_not_installed_is_named_with_the_remedy() -> None:
    with pytest.raises(transport_peers.TransportError, match=r"pip install .*bench"):
        transport_peers._installed("no_such_module_here")


def test_every_contender_has_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(CONTENDERS)
    assert {transport.RING, transport.ZMQ} <= BY_NAME.keys()
    assert set(frames.LIMITS.values()) <= {contender.name for contender in frames.CONTENDERS}


def test_every_frame_of_the_load_is_a_whole_message_of_the_same_size() -> None:
    payloads = messages(frames.wire_frames(500).tobytes())
    assert payloads == [frames.trade_event(number) for number in range(500)]
    assert {len(payload) for payload in payloads} == {frames.PAYLOAD_BYTES}


def test_clients_of_the_tests_own_packages_take_every_frame() -> None:
    names = ("raw", "ours", "ours_busy", "websocket_client", "websockets")
    contenders = [contender for contender in frames.CONTENDERS if contender.name in names]
    assert len(contenders) == len(names)
    pace = frames.Plan(frames.WARM_UP + 50, 10_000.0)
    load = frames.Load(1_000)
    try:
        for contender in contenders:
            figures = frames.Figures()
            frames.measure(load, contender, frames.Plan(1_000, 0.0), pace, figures)
            assert figures.rates[0] > 0.0
            assert 0.0 < figures.paced[0].sent_p50 <= figures.paced[0].due_p50
    finally:
        load.end()
