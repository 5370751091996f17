"""A vendor's REST side that serves stated bars: the endpoint of aggregates, its pages and its refusals."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

Bars = Callable[[str, str, int, int], list[dict]]  # (symbol, span, from ms, to ms) -> results


class AggregatesServer:
    """``answers``: (status, body) given instead of the next answers. ``asked``: paths; ``keys``: what authorised."""

    def __init__(self, bars: Bars, page: int) -> None:
        self.answers: list[tuple[int, dict | str]] = []
        self.asked: list[str] = []
        self.keys: list[str] = []
        self._bars, self._page = bars, page
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.keys.append(self.headers.get("Authorization", ""))
                status, body = owner._answer(self.path)
                raw = (body if isinstance(body, str) else json.dumps(body)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def _answer(self, path: str) -> tuple[int, dict | str]:
        self.asked.append(path)
        if self.answers:
            return self.answers.pop(0)
        parts = urlsplit(path)
        symbol, _, _, span, start, end = parts.path.split("/")[4:]
        first = int(parse_qs(parts.query).get("cursor", ["0"])[0])
        found = self._bars(symbol, span, int(start), int(end))
        body: dict = {"status": "OK", "resultsCount": len(found[first : first + self._page])}
        if found:  # a range without bars has no such key
            body["results"] = found[first : first + self._page]
        if first + self._page < len(found):
            body["next_url"] = f"https://api.polygon.io{parts.path}?cursor={first + self._page}"
        return 200, body


@contextmanager
def aggregates(bars: Bars, page: int = 50_000) -> Iterator[AggregatesServer]:
    made = AggregatesServer(bars, page)
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()
