"""The publisher actor on rings of this process, with real sockets."""

import logging
import time

import numpy as np
import zmq

from hft_engine.config.schema import Config, PublisherConfig
from hft_engine.instruments import InstrumentTable
from hft_engine.publisher.actor import PublisherActor
from hft_engine.records import SIGNAL_DTYPE
from hft_engine.runtime.actor import ActorContext
from hft_engine.shm.counters import Stats
from hft_engine.shm.ring import Ring

DEADLINE_S = 40.0


class Bench:
    def __init__(self, run_dir, publisher=PublisherConfig(), capacity=1024):  # noqa: B008 - frozen
        self.run_dir = run_dir
        self.config = Config(publisher=publisher)
        self.instruments = InstrumentTable.private(8)
        self.instruments.id_of("AAPL")
        self.instruments.id_of("MSFT")
        self.ring = Ring.private("signals", SIGNAL_DTYPE, capacity, ("publisher",))
        self.stats = Stats.private()
        self.context = zmq.Context()
        self.sockets = []
        self.actor = None

    def start(self):
        actor = PublisherActor()
        self.stats.declare(actor.counters, actor.histograms)
        actor.on_start(
            ActorContext(
                role="publisher",
                config=self.config,
                log=logging.getLogger("test"),
                instruments=self.instruments,
                stats=self.stats,
                rings={"signals": self.ring},
                feature_schema=None,
                run_id="run-1",
                run_dir=self.run_dir,
                data_dir=self.run_dir,
                log_dir=self.run_dir,
            )
        )
        self.actor = actor
        return self

    def close(self):
        if self.actor is not None:
            self.actor.on_stop()
            self.actor = None
        for socket in self.sockets:
            socket.close(linger=0)
        self.context.term()

    def address(self, index=0):
        return self.actor._outlets.outlets[index].address

    def subscribe(self, *topics, address=None, **options):
        """A subscriber that the publisher has heard of."""
        before = self.stats.counters()["subscriptions"]
        socket = self.socket(**options)
        socket.connect(address or self.address())
        for topic in topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic)
        self.until(lambda: self.stats.counters()["subscriptions"] == before + len(topics))
        return socket

    def socket(self, **options):
        """A subscriber's socket, closed with the bench."""
        socket = self.context.socket(zmq.SUB)
        self.sockets.append(socket)
        for name, value in options.items():
            socket.setsockopt(getattr(zmq, name), value)
        return socket

    def until(self, condition):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            self.actor.do_work()
            assert time.monotonic() < deadline, "the condition never came true"

    def work(self):
        while self.actor.do_work():
            pass

    def counters(self):
        return self.stats.counters()


def receive(socket):
    assert socket.poll(int(DEADLINE_S * 1e3)), "nothing came"
    return socket.recv_multipart()


def signals(count, first=0):
    rows = np.zeros(count, SIGNAL_DTYPE)
    rows["instrument_id"] = np.arange(count) % 2
    rows["side"] = np.where(np.arange(count) % 2, -1, 1)
    rows["reason"] = np.arange(count) % 4
    rows["model_id"] = -1
    rows["price"] = 100.0 + np.arange(first, first + count)
    rows["strength"], rows["probability"], rows["value"] = 0.75, np.nan, 1.5
    rows["chain_hash"] = 0xABCDEF
    rows["ts_mono_ns"], rows["ts_publish_ns"] = 1_000, 13_500
    return rows
