"""Webhooks of the sandbox: events signed as Stripe signs them and posted to one URL."""

import hashlib
import hmac
import json
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import requests

TIMEOUT_S = 5.0


def signature(body: bytes, secret: str, at: int | None = None) -> str:
    """Make a Stripe-Signature header (https://docs.stripe.com/webhooks#verify-manually)."""
    moment = int(time.time()) if at is None else at
    signed = hmac.new(secret.encode(), b"%d.%s" % (moment, body), hashlib.sha256).hexdigest()
    return f"t={moment},v1={signed}"


class Deliveries:
    """Posts events from threads of its own, so that no request waits for the receiver. `done` tells what came of it."""

    def __init__(self, secret: str, *, url: str | None = None) -> None:
        self.secret = secret
        self.url = url
        self.done: list[tuple[str, int | None]] = []
        self._threads: list[threading.Thread] = []

    def send(self, events: list[dict[str, Any]]) -> None:
        """Post these events in this order; an event may be among them twice. Raises ValueError off loopback."""
        if self.url is None or not events:
            return
        if urlsplit(self.url).hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("a sandbox posts webhooks to loopback only")
        thread = threading.Thread(target=self._post, args=(self.url, events), daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self) -> None:
        """Wait until all is delivered."""
        while self._threads:
            self._threads.pop().join(TIMEOUT_S * 4)

    def _post(self, url: str, events: list[dict[str, Any]]) -> None:
        for event in events:
            body = json.dumps(event).encode()
            headers = {"Content-Type": "application/json", "Stripe-Signature": signature(body, self.secret)}
            try:
                status = requests.post(url, data=body, headers=headers, timeout=TIMEOUT_S).status_code
            except requests.RequestException:
                status = None
            self.done.append((event["id"], status))
