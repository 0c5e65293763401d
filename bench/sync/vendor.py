"""
The loopback server that everybody in the comparison reads from: ready pages, sent from files, in a process of its own.

`python vendor.py FOLDER RECORDS [changed]` writes the pages and prints its addresses as JSON: of the plain export, and
of the one in which one ticket of a hundred is another. Behind the last page nothing is new.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import tickets

EXPORT = "/api/v2/incremental/tickets/cursor.json"


class Handler(BaseHTTPRequestHandler):
    """Answers the cursor export and the empty feed of deleted tickets."""

    protocol_version = "HTTP/1.1"
    server: "Export"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == EXPORT:
            cursor = parse_qs(parts.query).get("cursor", ["c0"])[0]
            file = self.server.folder / f"{cursor}.json"
            return self._file(file) if file.is_file() else self._bytes(200, b'{"tickets":[],"end_of_stream":true}')
        if parts.path == "/api/v2/deleted_tickets.json":
            return self._bytes(200, b'{"deleted_tickets":[],"meta":{"has_more":false}}')
        return self._bytes(404, b'{"error":"no such path"}')

    def _file(self, file: Path) -> None:
        with file.open("rb") as body:
            self._head(200, file.stat().st_size)
            self.wfile.flush()
            self.connection.sendfile(body)

    def _bytes(self, status: int, body: bytes) -> None:
        self._head(status, len(body))
        self.wfile.write(body)

    def _head(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Export(ThreadingHTTPServer):
    """One export, on a port of its own; its pages are files, each named after the cursor it is asked for with."""

    daemon_threads = True

    def __init__(self, folder: Path, records: int, *, changed: bool) -> None:
        self.folder = folder / ("changed" if changed else "plain")
        self.folder.mkdir(parents=True)
        for number, body in enumerate(tickets.pages(records, changed=changed)):
            (self.folder / f"c{number}.json").write_bytes(body)
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


def main() -> None:
    folder, records = Path(sys.argv[1]), int(sys.argv[2])
    exports = [Export(folder, records, changed=changed) for changed in (False, True)[: len(sys.argv) - 2]]
    print(json.dumps([export.url for export in exports]), flush=True)
    for export in exports[1:]:
        threading.Thread(target=export.serve_forever, daemon=True).start()
    exports[0].serve_forever()


if __name__ == "__main__":
    main()
