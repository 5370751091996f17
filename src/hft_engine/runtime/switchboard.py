"""The supervisor's end of the control plane: events numbered, logged, passed on; commands answered or forwarded."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import zmq

from hft_engine.runtime.control import Hub
from hft_engine.runtime.limits import FORWARD_TIMEOUT_MS, MODEL_READ_MS
from hft_engine.runtime.logs import event_level
from hft_engine.runtime.messages import (
    Command,
    Event,
    Message,
    Ping,
    Publish,
    Reply,
    Restart,
    SetLogLevel,
    Stop,
    SwapModel,
)
from hft_engine.shm.counters import Counter

SUPERVISOR = "supervisor"
EVENT_READERS = ("publisher", "persistence")  # roles that are told of every event


class Switchboard:
    """``process_of``: role -> process. ``stop``, ``restart``: the supervisor's; ``restart`` returns a refusal."""

    def __init__(
        self,
        run_dir: Path,
        process_of: Mapping[str, str],
        log: logging.Logger,
        events: Counter,
        stop: Callable[[str], None],
        restart: Callable[[str], str],
    ) -> None:
        self._hub = Hub(run_dir)
        self._process_of = process_of
        self._log = log
        self._events = events
        self._stop = stop
        self._restart = restart
        self._pending: dict[int, tuple[str, int, float]] = {}  # our id -> client, its id, due
        self._next_id = 1
        self.last_error = ""  # the last words of an actor that gave up or crashed

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        return self._hub.socket

    def serve(self) -> None:
        """Deal with every message that is there."""
        for peer, message in self._hub.receive():
            self._on_message(peer, message)
        self._expire_pending()

    def close(self) -> None:
        """Take the last events; answer nobody any more."""
        for _, message in self._hub.receive():
            if isinstance(message, Event):
                self.on_event(message)
        self._hub.close()

    def on_event(self, event: Event) -> None:
        """Number it, log it, hand it to those who pass events on."""
        event = msgspec.structs.replace(event, sequence=self._events.value)
        self._events.add()
        # A fault of an actor is in the actor's own error log already.
        level = event_level(event.kind) if event.role == SUPERVISOR else logging.INFO
        self._log.log(level, "[%s] %s: %s", event.role, event.kind, event.text)
        if event.kind in ("fatal", "crash"):
            self.last_error = f"{event.role}: {event.text}"
        for role in EVENT_READERS:
            if role in self._process_of:
                self._hub.send(self._process_of[role], Command(0, Publish(event), role))

    def _on_message(self, peer: str, message: Message) -> None:
        if isinstance(message, Event):
            self.on_event(message)
        elif isinstance(message, Command):
            self._on_command(peer, message)
        elif message.id in self._pending:
            client, original, _ = self._pending.pop(message.id)
            self._hub.send(client, msgspec.structs.replace(message, id=original))

    def _on_command(self, peer: str, command: Command) -> None:
        if command.target:
            self._forward(peer, command)
        else:
            self._hub.send(peer, self._answer(command))

    def _answer(self, command: Command) -> Reply:
        match command.body:
            case Stop():
                self._stop("asked to")
                return Reply(command.id, True, payload=os.getpid())
            case Ping():
                return Reply(command.id, True, payload="supervisor")
            case SetLogLevel(level):
                self._log.setLevel(level)
                for role, process in self._process_of.items():
                    self._hub.send(process, Command(0, command.body, role))
                return Reply(command.id, True)
            case Restart(role):
                refusal = self._restart(role)
                return Reply(command.id, not refusal, refusal)
        return Reply(command.id, False, f"the supervisor does not do {type(command.body).__name__}")

    def _forward(self, peer: str, command: Command) -> None:
        process = self._process_of.get(command.target)
        identity, self._next_id = self._next_id, self._next_id + 1
        forwarded = msgspec.structs.replace(command, id=identity)
        if process is None or not self._hub.send(process, forwarded):
            known = ", ".join(self._process_of)
            text = f"{command.target!r} is not there to be asked; roles: {known}"
            self._hub.send(peer, Reply(command.id, False, text))
            return
        timeout_ms = FORWARD_TIMEOUT_MS + (MODEL_READ_MS if isinstance(command.body, SwapModel) else 0)
        self._pending[identity] = (peer, command.id, time.monotonic() + timeout_ms / 1e3)

    def _expire_pending(self) -> None:
        now_s = time.monotonic()
        for identity in [key for key, (_, _, due_s) in self._pending.items() if due_s < now_s]:
            client, original, _ = self._pending.pop(identity)
            text = "the actor did not answer in time"
            self._hub.send(client, Reply(original, False, text))
