"""What every contender measures of itself: the time and the processor from the first request to the last commit."""

import http.client
import json
import resource
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

EXPORT = "/api/v2/incremental/tickets/cursor.json"
PRAGMAS = ("page_size = 8192", "journal_mode = WAL", "synchronous = NORMAL", "cache_size = -8000",
           "temp_store = MEMORY", "wal_autocheckpoint = 16000")  # fmt: skip
"""Those of the hub's own database."""


class Meter:
    """Started when the work begins; `told` prints the figures as JSON."""

    def __init__(self) -> None:
        self.began, self.cpu = time.perf_counter(), time.process_time()

    def told(self, records: int) -> None:
        """Print what was measured since."""
        seconds, cpu = time.perf_counter() - self.began, time.process_time() - self.cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"records": records, "seconds": seconds, "cpu": cpu, "rss_mb": peak}))


class Following(msgspec.Struct):
    """Where a page says what follows it."""

    after_url: str | None = None


def bodies(url: str) -> Iterator[bytes]:
    """Read the export page by page over one connection."""
    parts, following = urlsplit(url), msgspec.json.Decoder(Following).decode
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    path: str | None = EXPORT
    while path:
        connection.request("GET", path)
        body = connection.getresponse().read()
        yield body
        path = following(body).after_url
    connection.close()
