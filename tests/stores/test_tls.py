"""A server behind ``libsql+https``: what goes there is encrypted, and its certificate has to be trusted.

The writer and the verifier each have a road of their own, so each is held to it.
"""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sessionlift.errors import StoreUnavailableError
from sessionlift.stores import open_store, parse_store_url
from sessionlift.stores._hrana import HranaReader

# both roads read the first result of a pipeline, and this text is all that is ever in it
RESULT = {"cols": [{"name": "a"}], "rows": [[{"type": "text", "value": "3.45.1"}]]}
ANSWER = {"baton": None, "results": [{"type": "ok", "response": {"type": "execute", "result": RESULT}}]}
CERTIFICATE = """
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = a server of the tests
[extensions]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign
subjectAltName = IP:127.0.0.1
"""


class Seen(NamedTuple):
    port: int
    certificate: Path
    requests: list[tuple[str | None, str | None]]
    """of each: the version of TLS that it came by, and its token"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signed itself; its key lies beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl program to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    (folder / "config").write_text(CERTIFICATE)
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -config config -keyout key.pem -out certificate.pem"
    made = subprocess.run(command.split(), cwd=folder, capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"this openssl makes no certificate: {made.stderr.strip()[:200]}")
    return folder / "certificate.pem"


@pytest.fixture
def server(certificate: Path) -> Iterator[Seen]:
    """A server that speaks TLS only, and gives the same answer to everything."""
    seen: list[tuple[str | None, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        connection: ssl.SSLSocket

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.append((self.connection.version(), self.headers.get("Authorization")))
            data = json.dumps(ANSWER).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is printed."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Who refuses the certificate, or sends plain text, is heard of at the other end."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with Server(("127.0.0.1", 0), Handler) as listening:
        # the handshake belongs to the thread of each connection
        listening.socket = context.wrap_socket(listening.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield Seen(listening.server_port, certificate, seen)
        finally:
            listening.shutdown()
            thread.join(timeout=10)


def write(url: str) -> Any:
    with open_store(url, mode="ro", role="target") as store:
        return store.query("SELECT sqlite_version()")


def verify(url: str) -> Any:
    place = parse_store_url(url)
    assert place.url is not None
    with HranaReader(place.url, place.token) as reader:
        return reader.query("SELECT sqlite_version()")


ROADS = pytest.mark.parametrize("ask", [write, verify])


@ROADS
def test_what_goes_to_a_server_by_https_is_encrypted_and_answered(
    ask: Callable[[str], Any], server: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
    assert ask(f"libsql+https://127.0.0.1:{server.port}?authToken=secret") == [("3.45.1",)]
    assert server.requests
    for version, token in server.requests:
        assert (str(version)[:5], token) == ("TLSv1", "Bearer secret")


@ROADS
@pytest.mark.parametrize(
    ("host", "trusted", "why"), [("127.0.0.1", False, "self.signed"), ("localhost", True, "localhost")]
)
def test_a_certificate_that_is_not_trusted_is_refused_and_the_next_step_names_it(
    ask: Callable[[str], Any], host: str, trusted: bool, why: str, server: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
    else:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(StoreUnavailableError, match="certificate is not trusted: .*" + why) as caught:
        ask(f"libsql+https://{host}:{server.port}?authToken=secret")
    assert caught.value.exit_code == 4
    assert "SSL_CERT_FILE" in caught.value.hint
    assert "certificate authority" in caught.value.hint
    assert "check that it runs" not in caught.value.hint
    assert server.requests == [], "nothing was sent, the token above all"
