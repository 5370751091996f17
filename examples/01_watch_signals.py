"""Receive the engine's signals in a program of your own.

    .venv/bin/hft start --demo --detach
    .venv/bin/python examples/01_watch_signals.py            # Ctrl-C leaves; the engine goes on
    .venv/bin/python examples/01_watch_signals.py --count 5

A message has three frames: topic, sequence (8 bytes, big-endian), JSON. Nothing here but the way to the socket is
Python's own: any language with a ZeroMQ binding can do the same. A gap in the sequence is what you have missed.
"""

import argparse
import sys
from pathlib import Path

import orjson
import zmq

from hft_engine.config.load import load_config
from hft_engine.publisher.wire import SOCKET_NAME, TOPIC_SIGNAL
from hft_engine.runtime import rundir


def watch(socket: "zmq.Socket[bytes]", run_dir: Path, count: int | None) -> None:
    """Print signals until there were ``count``, or the engine has ended."""
    expected = None
    while count is None or count > 0:
        if not socket.poll(1_000):
            if not run_dir.exists():
                print("the engine has ended")
                return
            continue
        _topic, number, body = socket.recv_multipart()
        sequence = int.from_bytes(number, "big")
        if expected is not None and sequence > expected:
            print(f"... {sequence - expected} signals missed")
        expected = sequence + 1
        signal = orjson.loads(body)
        print(
            f"#{sequence:<6} {signal['symbol']:<8} {signal['side']:<4} strength {signal['strength']:.2f} "
            f"at {signal['price']:,.4f}  because of {signal['reason']}, {signal['latency_us']:,.1f} µs after the tick"
        )
        count = None if count is None else count - 1


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the signals of the running engine.")
    parser.add_argument("--count", type=int, help="leave after so many")
    count = parser.parse_args().count
    try:
        run_dir = rundir.find_run(load_config(None).engine.run_root)
    except rundir.RunError as error:
        sys.exit(f"error: {error}")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.connect(f"ipc://{run_dir / SOCKET_NAME}")
    socket.setsockopt(zmq.SUBSCRIBE, TOPIC_SIGNAL)
    try:
        watch(socket, run_dir, count)
    except KeyboardInterrupt:
        pass
    finally:
        context.destroy(linger=0)


if __name__ == "__main__":
    main()
