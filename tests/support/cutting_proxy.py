"""A road to a server that is cut: before a request arrives, or when it was done and its answer is on the way."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

When = Literal["before", "after"]


class Proxy:
    """Counts requests; the ``at``-th is cut, and all that come later while the road stays cut."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream.removeprefix("libsql+"))
        self.host, self.port = str(parts.hostname), int(parts.port or 0)
        self.lock = threading.Lock()
        self.orders(0, "before")

    def orders(self, at: int, when: When) -> None:
        """From now on: count anew, and cut so."""
        self.at, self.when, self.seen = at, when, 0


@contextmanager
def cutting_proxy(upstream: str) -> Iterator[tuple[str, Proxy]]:
    """The URL of a server that hands on to ``upstream`` (a store's URL), and its orders."""
    proxy = Proxy(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with proxy.lock:
                proxy.seen += 1
                cut = proxy.at and proxy.seen >= proxy.at
                first = proxy.seen == proxy.at
            if cut and not (first and proxy.when == "after"):
                self._cut()
                return
            with closing(http.client.HTTPConnection(proxy.host, proxy.port, timeout=60)) as there:
                named = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                there.request(self.command, self.path, body or None, named)
                answer = there.getresponse()
                data = answer.read()
            if cut:
                self._cut()
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.do_POST()

        def _cut(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is printed."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that went away is none of ours."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"libsql+http://127.0.0.1:{server.server_address[1]}", proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
