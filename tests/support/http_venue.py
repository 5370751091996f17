"""An HTTP server on loopback whose every answer a test decides."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit


class Answer(NamedTuple):
    body: bytes = b"{}"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class HttpVenue:
    """``asked``: the parameters of each request, in order. ``answer``: makes the answer to one."""

    def __init__(self, answer: Callable[[dict[str, str]], Answer]) -> None:
        self.asked: list[dict[str, str]] = []
        self.answer = answer
        venue = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parameters = dict(parse_qsl(urlsplit(self.path).query))
                venue.asked.append(parameters)
                answer = venue.answer(parameters)
                self.send_response(answer.status)
                for name, value in answer.headers:
                    self.send_header(name, value)
                if not any(name == "Content-Length" for name, _ in answer.headers):
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/query"


@contextlib.contextmanager
def http_venue(answer: Callable[[dict[str, str]], Answer]) -> Iterator[HttpVenue]:
    venue = HttpVenue(answer)
    thread = threading.Thread(target=venue._server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield venue
    finally:
        venue._server.shutdown()
        venue._server.server_close()
        thread.join()
