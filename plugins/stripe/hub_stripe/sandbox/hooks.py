"""Webhooks of the sandbox: events signed as Stripe signs them."""

import hashlib
import hmac
import time

from hub.sandbox import Deliveries as Posted


def signature(body: bytes, secret: str, at: int | None = None) -> str:
    """Make a Stripe-Signature header (https://docs.stripe.com/webhooks#verify-manually)."""
    moment = int(time.time()) if at is None else at
    signed = hmac.new(secret.encode(), b"%d.%s" % (moment, body), hashlib.sha256).hexdigest()
    return f"t={moment},v1={signed}"


class Deliveries(Posted):
    """Stripe's webhooks."""

    def headers(self, body: bytes) -> dict[str, str]:
        return {"Stripe-Signature": signature(body, self.secret)}
