"""What a program outside receives, over real sockets; who is refused; what a death or a slow reader costs."""

import json
import socket as sockets

import pytest
import zmq
import zmq.auth
from publisher_bench import receive, signals
from zmq.utils.monitor import recv_monitor_message

from hft_engine.config.schema import PublisherConfig
from hft_engine.publisher import events, socket
from hft_engine.publisher.wire import TOPIC_EVENT, TOPIC_SIGNAL
from hft_engine.runtime.actor import ControlError, FatalError
from hft_engine.runtime.messages import Event, Ping, Publish


def test_a_subscriber_gets_every_signal_in_order_with_names(bench):
    made = bench().start()
    subscriber = made.subscribe(TOPIC_SIGNAL)
    made.ring.publish_rows(signals(200))
    made.work()
    got = [receive(subscriber) for _ in range(200)]
    assert [int.from_bytes(sequence, "big") for _, sequence, _ in got] == list(range(200))
    assert {topic for topic, _, _ in got} == {b"signal"}
    second = json.loads(got[1][2])
    assert second == {
        "run_id": "run-1",
        "sequence": 1,
        "symbol": "MSFT",
        "side": "sell",
        "strength": 0.75,
        "reason": "model_down",
        "price": 101.0,
        "probability": None,
        "value": 1.5,
        "model_id": -1,
        "source_sequence": 0,
        "ts_venue_ns": 0,
        "ts_expiry_ns": 0,
        "ts_recv_ns": 0,
        "latency_us": 12.5,
        "chain_hash": "0000000000abcdef",
    }
    assert made.counters()["signals"] == 200
    assert made.counters()["congested"] == 0


def test_events_come_under_their_own_topic_and_stay_in_a_file(bench, tmp_path):
    made = bench().start()
    subscriber = made.subscribe(TOPIC_EVENT)
    event = Event(5, "feed", "state", "LIVE", 17)
    assert made.actor.on_control(Publish(event)) is None
    made.ring.publish_rows(signals(1))
    made.work()
    topic, sequence, body = receive(subscriber)
    assert (topic, int.from_bytes(sequence, "big")) == (b"event", 17)
    assert json.loads(body)["text"] == "LIVE"
    assert not subscriber.poll(0)  # no signal
    assert json.loads((tmp_path / events.FILE).read_text())["text"] == "LIVE"


def test_other_commands_are_refused(bench):
    with pytest.raises(ControlError, match="does not understand Ping"):
        bench().start().actor.on_control(Ping())


def test_the_event_file_stays_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(events, "FILE_BYTES_MAX", 2_000)
    file = events.EventFile(tmp_path)
    for i in range(200):
        file.append(Event(i, "feed", "state", "x" * 50, i))
    file.close()
    lines = [json.loads(line) for line in (tmp_path / events.FILE).read_text().splitlines()]
    assert (tmp_path / events.FILE).stat().st_size <= 2_000
    assert [line["sequence"] for line in lines] == list(range(200 - len(lines), 200))
    assert len(lines) > 5


def test_a_slow_subscriber_is_counted_and_the_others_lose_nothing(bench, monkeypatch):
    monkeypatch.setattr(socket, "HIGH_WATER", 200)
    made = bench(capacity=65_536).start()
    slow = made.subscribe(TOPIC_SIGNAL, RCVHWM=1, RCVBUF=4096)
    fast = made.subscribe(TOPIC_SIGNAL)
    sent = 0

    def publish_and_read_fast(count):
        nonlocal sent
        made.ring.publish_rows(signals(count, sent))
        made.work()
        got = [int.from_bytes(receive(fast)[1], "big") for _ in range(count)]
        assert got == list(range(sent, sent + count))
        sent += count

    while made.counters()["congested"] == 0:
        assert sent < 100_000, "the slow subscriber never got congested"
        publish_and_read_fast(8)
    for _ in range(10):
        publish_and_read_fast(8)
    seen = [int.from_bytes(receive(slow)[1], "big")]
    while seen[-1] < sent - 1:  # it reads again, and sees by the sequence what it missed
        if slow.poll(0):
            seen.append(int.from_bytes(slow.recv_multipart()[1], "big"))
        else:
            publish_and_read_fast(1)
    assert seen == sorted(set(seen))
    assert len(seen) < sent


def test_a_new_life_sends_what_the_dead_one_had_taken_but_not_sent(bench):
    made = bench().start()
    made.ring.publish_rows(signals(5))
    made.work()
    scratch = signals(8)
    made.ring.publish_rows(signals(3, 5))
    assert made.ring.poll(0, scratch, 8) == 3  # taken by the old life, which then dies
    made.actor.on_stop()
    sent = made.counters()["signals"]
    made.start()
    assert made.counters()["signals"] == sent + 3
    assert made.counters()["next_sequence"] == 8


def test_missed_signals_that_were_overwritten_since_are_left_out(bench):
    from hft_engine.publisher.actor import missed

    made = bench(capacity=8)
    for start in range(0, 20, 4):
        made.ring.publish_rows(signals(4, start))
    assert list(missed(made.ring, 10, 16)["sequence"]) == [12, 13, 14, 15]
    assert len(missed(made.ring, 16, 16)) == 0


def test_stopping_does_not_wait_for_one_who_hangs(bench):
    made = bench().start()
    made.subscribe(TOPIC_SIGNAL, RCVHWM=1)
    made.ring.publish_rows(signals(500))
    made.work()
    made.actor.on_stop()  # would never return
    made.actor = None


def test_tcp_on_loopback_needs_no_keys(bench):
    made = bench(PublisherConfig(tcp="127.0.0.1:0")).start()
    subscriber = made.subscribe(TOPIC_SIGNAL, address=made.address(1))
    made.ring.publish_rows(signals(1))
    made.work()
    assert receive(subscriber)[0] == TOPIC_SIGNAL


def test_another_address_than_loopback_is_refused_without_keys(bench):
    with pytest.raises(FatalError, match=r"publisher\.tcp 0\.0\.0\.0:0 can be reached.*CURVE"):
        bench(PublisherConfig(tcp="0.0.0.0:0")).start()


def test_a_port_in_use_is_refused_with_the_remedy(bench):
    with sockets.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            FatalError, match=rf"{port}: Address already in use; choose another publisher\.tcp"
        ):
            bench(PublisherConfig(tcp=f"127.0.0.1:{port}")).start()


def test_a_run_directory_too_deep_for_a_socket_is_refused_with_the_remedy(bench, tmp_path):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    made = bench()
    made.run_dir = deep
    with pytest.raises(FatalError, match=r"longer than 107 bytes.*engine\.run_root"):
        made.start()


class TestCurve:
    def config(self, keys=None, **more):
        self.public, self.secret = (key.decode() for key in zmq.curve_keypair())
        return PublisherConfig(
            tcp="127.0.0.1:0", curve_public_key=self.public, curve_secret_key=self.secret, **more
        )

    def client(self, pair=None):
        public, secret = pair or zmq.curve_keypair()
        return {
            "CURVE_SERVERKEY": self.public.encode(),
            "CURVE_PUBLICKEY": public,
            "CURVE_SECRETKEY": secret,
        }

    def refused(self, made, **options):
        """Watches the handshake of a client fail."""
        subscriber = made.socket(**options)
        monitor = subscriber.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            | zmq.EVENT_HANDSHAKE_SUCCEEDED
            | zmq.EVENT_DISCONNECTED
        )
        subscriber.setsockopt(zmq.SUBSCRIBE, TOPIC_SIGNAL)
        subscriber.connect(made.address(1))
        assert monitor.poll(10_000), "no answer to the handshake"
        event = recv_monitor_message(monitor)["event"]
        subscriber.disable_monitor()
        monitor.close(linger=0)
        return event != zmq.EVENT_HANDSHAKE_SUCCEEDED

    def test_a_client_that_knows_the_servers_key_is_let_in(self, bench):
        made = bench(self.config()).start()
        subscriber = made.subscribe(TOPIC_SIGNAL, address=made.address(1), **self.client())
        made.ring.publish_rows(signals(1))
        made.work()
        assert receive(subscriber)[0] == TOPIC_SIGNAL

    def test_a_client_without_keys_is_refused(self, bench):
        made = bench(self.config()).start()
        assert self.refused(made)

    def test_the_run_directorys_own_socket_stays_open_to_this_user(self, bench):
        made = bench(self.config()).start()
        subscriber = made.subscribe(TOPIC_SIGNAL)
        made.ring.publish_rows(signals(1))
        made.work()
        assert receive(subscriber)[0] == TOPIC_SIGNAL

    def test_with_a_folder_of_keys_only_those_clients_are_let_in(self, bench, tmp_path):
        keys = tmp_path / "clients"
        keys.mkdir()
        public_file, secret_file = zmq.auth.create_certificates(keys, "friend")
        made = bench(self.config(curve_client_keys_dir=str(keys))).start()
        assert self.refused(made, **self.client())
        friend = self.client(zmq.auth.load_certificate(secret_file))
        subscriber = made.subscribe(TOPIC_SIGNAL, address=made.address(1), **friend)
        made.ring.publish_rows(signals(1))
        made.work()
        assert receive(subscriber)[0] == TOPIC_SIGNAL
        assert public_file

    def test_a_missing_folder_of_keys_is_refused(self, bench, tmp_path):
        with pytest.raises(FatalError, match=r"curve_client_keys_dir .* is no folder"):
            bench(self.config(curve_client_keys_dir=str(tmp_path / "none"))).start()

    def test_keys_that_are_none_are_refused(self, bench):
        bad = PublisherConfig(tcp="127.0.0.1:0", curve_public_key="x" * 40, curve_secret_key=" " * 40)
        with pytest.raises(FatalError, match="no Z85 key"):
            bench(bad).start()
