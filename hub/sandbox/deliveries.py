"""Webhooks of a sandbox: events signed as the vendor signs them and posted to one URL on loopback."""

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests

TIMEOUT_S = 5.0


class Deliveries:
    """
    Posts events from threads of its own, so that no request waits for the receiver. `done` tells what came of it.

    A subclass says in `headers` how the vendor signs.
    """

    def __init__(self, secret: str, *, url: str | None = None) -> None:
        self.secret = secret
        self.url = url
        self.done: list[tuple[str, int | None]] = []
        self._threads: list[threading.Thread] = []

    def headers(self, body: bytes) -> Mapping[str, str]:
        """Give the headers that make a body genuine."""
        raise NotImplementedError

    def send(self, events: Sequence[dict[str, Any]]) -> None:
        """Post these events in this order; an event may be among them twice. Raises ValueError off loopback."""
        if self.url is None or not events:
            return
        if urlsplit(self.url).hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("a sandbox posts webhooks to loopback only")
        thread = threading.Thread(target=self._post, args=(self.url, list(events)), daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self) -> None:
        """Wait until all is delivered."""
        while self._threads:
            self._threads.pop().join(TIMEOUT_S * 4)

    def _post(self, url: str, events: Sequence[dict[str, Any]]) -> None:
        for event in events:
            body = json.dumps(event).encode()
            headers = {"Content-Type": "application/json", **self.headers(body)}
            try:
                status = requests.post(url, data=body, headers=headers, timeout=TIMEOUT_S).status_code
            except requests.RequestException:
                status = None
            self.done.append((event["id"], status))
