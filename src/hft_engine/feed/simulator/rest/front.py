"""What is common to the REST sides: a server in the venue's own loop, and the way of a request through it."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hft_engine.feed.simulator.scenario import RestFailure
from hft_engine.feed.simulator.venue import Venue, VenueError, explain

GZIP_FROM_BYTES = 500
STARTED_POLL_S = 0.002
STOP_TIMEOUT_S = 1


class RefusalError(Exception):
    """A request that is answered with ``status`` and a body of the vendor's."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class Asked(NamedTuple):
    """``path`` as it came; ``names`` are the parts of it that the endpoint's pattern names."""

    path: str
    names: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]


class Answer(NamedTuple):
    body: bytes
    media_type: str = "application/json"


class Vendor(Protocol):
    """``endpoints``: pattern of the path -> what answers, or raises RefusalError."""

    endpoints: Mapping[str, Callable[[Asked], Answer]]

    def admit(self, asked: Asked) -> None:
        """Raises RefusalError for a request without a key, over the budget, ..."""

    def failure(self, status: int, empty: bool) -> RefusalError:
        """The refusal that a scenario wants."""

    def unknown(self, path: str) -> RefusalError:
        """There is no such endpoint."""


def json_of(value: Any) -> Answer:
    return Answer(msgspec.json.encode(value))


class Budget:
    """At most ``calls`` in ``seconds`` from the first one on, then again; 0: any number."""

    def __init__(self, calls: int, seconds: float) -> None:
        self._calls, self._seconds = calls, seconds
        self._begun_s, self._made = -seconds, 0

    def spend(self) -> bool:
        """False: there is nothing left for now."""
        now_s = time.monotonic()
        if now_s >= self._begun_s + self._seconds:
            self._begun_s, self._made = now_s, 0
        self._made += 1
        return not self._calls or self._made <= self._calls


def application(venue: Venue, vendor: Vendor) -> Starlette:
    async def unknown(request: Request) -> Response:
        return await _respond(venue, vendor, request, None)

    routes = [Route(pattern, _handler(venue, vendor, answer)) for pattern, answer in vendor.endpoints.items()]
    routes.append(Route("/{path:path}", unknown))
    return Starlette(routes=routes, middleware=[Middleware(GZipMiddleware, minimum_size=GZIP_FROM_BYTES)])


def _handler(
    venue: Venue, vendor: Vendor, answer: Callable[[Asked], Answer]
) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        return await _respond(venue, vendor, request, answer)

    return handle


async def _respond(
    venue: Venue, vendor: Vendor, request: Request, answer: Callable[[Asked], Answer] | None
) -> Response:
    venue.note_client()
    venue.counts.rest_requests += 1
    asked = Asked(request.url.path, request.path_params, request.query_params, request.headers)
    try:
        planned = venue.conduct.answer(RestFailure)
        if planned is not None:
            raise vendor.failure(planned.status, planned.body == "empty")
        vendor.admit(asked)
        if answer is None:
            raise vendor.unknown(asked.path)
        body, media_type = answer(asked)
        return Response(body, media_type=media_type)
    except RefusalError as refusal:
        venue.counts.rest_failures += 1
        return Response(refusal.body, refusal.status, media_type="application/json")


class _Server(uvicorn.Server):
    """Signals belong to whoever runs the venue."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class RestServer:
    """``start`` it in the venue's loop, ``close`` it there."""

    def __init__(self, app: Starlette) -> None:
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", ws="none", server_header=False,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
        )  # fmt: skip
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None
        self._sockets: Sequence[socket.socket] = ()

    async def start(self, host: str, port: int) -> int:
        """Listens and returns the port. Raises VenueError where it cannot."""
        try:
            listener = socket.create_server((host, port))
        except OSError as error:
            raise VenueError(explain(error, host, port)) from error
        self._sockets = [listener]
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started:
            if self._task.done():
                await self._task  # says why
            await asyncio.sleep(STARTED_POLL_S)
        found: int = listener.getsockname()[1]
        return found

    async def close(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        for listener in self._sockets:
            listener.close()
