"""A web server and an S3 of one folder, over a real socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class Objects:
    """What the server holds, and what it was asked for."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        self.serves_ranges = True
        self.status = 200
        self.url = ""


class _Handler(BaseHTTPRequestHandler):
    objects: Objects
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        asked, span = urlsplit(self.path), self.headers.get("Range")
        path = unquote(asked.path).lstrip("/")
        self.objects.asked.append((self.command, path, span))
        query = parse_qs(asked.query)
        if self.objects.status != 200:
            self._send(self.objects.status, b"", {}, body=body)
        elif "list-type" in query:
            self._send(200, self._listed(path, query.get("prefix", [""])[0]), {}, body=body)
        elif path in self.objects.held:
            self._object(self.objects.held[path], span, body=body)
        else:
            self._send(404, b"", {}, body=body)

    def _object(self, whole: bytes, span: str | None, *, body: bool) -> None:
        facts = {
            "ETag": f'"{hash(whole)}"',
            "Last-Modified": "Tue, 01 Sep 2026 12:00:00 GMT",
        }
        if span is None or not self.objects.serves_ranges:
            self._send(200, whole, facts, body=body)
            return
        first, _, last = span.removeprefix("bytes=").partition("-")
        stop = min(len(whole), int(last) + 1 if last else len(whole))
        facts["Content-Range"] = f"bytes {first}-{stop - 1}/{len(whole)}"
        self._send(206, whole[int(first) : stop], facts, body=body)

    def _listed(self, bucket: str, prefix: str) -> bytes:
        keys = [key.removeprefix(f"{bucket}/") for key in sorted(self.objects.held)]
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>1</Size><ETag>x</ETag>"
            "<LastModified>2026-09-01T12:00:00.000Z</LastModified></Contents>"
            for key in keys
            if key.startswith(prefix)
        )
        head = "<ListBucketResult><IsTruncated>false</IsTruncated>"
        return f"{head}{rows}</ListBucketResult>".encode()

    def _send(self, status: int, content: bytes, facts: dict[str, str], *, body: bool) -> None:
        self.send_response(status)
        for name, value in facts.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)


@contextmanager
def serving() -> Iterator[Objects]:
    """Serve objects by their path until the context ends."""
    objects = Objects()
    handler = type("Handler", (_Handler,), {"objects": objects})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    objects.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield objects
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
