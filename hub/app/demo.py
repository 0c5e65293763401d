"""
The main job on sandboxes, with nothing to set up: sync four systems, show one customer, act, prove each effect.

The story reads and acts only through the hub; what happened is then counted in the sandboxes' own ledgers.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from hub.app.opened import App
from hub.app.sandboxes import Sandboxes
from hub.config import load
from hub.errors import HubError, NotFound
from hub.money import Money
from hub.perform import Request

SMALL = ("50.00 EUR", "50.00 GBP", "50.00 USD", "5000 JPY")
RULE = """\
[[rule]]
name    = "small refunds in {currency}"
action  = "payment.refund"
when    = {{ amount_lte = "{amount}" }}
verdict = "allow"
"""
POLICY = "\n".join(RULE.format(currency=amount.split()[1], amount=amount) for amount in SMALL)
REFUND_MINOR = 500
TICKETS, ORDERS = "zendesk", "legacy"
ADDRESS = {"line1": "Lindenweg 7", "city": "Bonn", "postal_code": "53111", "country_code": "DE"}


@dataclass
class Story:
    """What the demo did, in the shape of `hub demo --json`; `say` tells each step to a person as it happens."""

    app: App
    sandboxes: Sandboxes
    say: Callable[[str], None] = lambda line: None
    began: float = field(default_factory=time.monotonic)

    def tell(self, progress: Callable[[Any], None] | None = None) -> dict[str, Any]:
        """Do everything once and give the account of it. Raises HubError where a step cannot be done."""
        self.say("reading everything from the sandboxes")
        synced = self.app.sync(full=True, progress=progress)
        customer, payment, ticket, order = self._chosen()
        names = sorted({record["connection"] for record in customer["connections"]})
        self.say(f"{customer['display_name']} ({customer['id']}) is one customer in {', '.join(names)}")
        story = {
            "connections": synced,
            "customer": {"id": customer["id"], "name": customer["display_name"], "connections": names},
            "refund": self._refund(payment),
            "reply": self._once("ticket.reply", ticket, {"ticket_ref": ticket["id"], "body": "We refunded you."}),
            "address": self._once(
                "order.update_shipping_address",
                order,
                {"order_ref": _record_of(order, ORDERS), "address": ADDRESS},
            ),
        }
        return story | {"seconds": round(time.monotonic() - self.began, 2)}

    def _refund(self, payment: dict[str, Any]) -> dict[str, Any]:
        amount = Money(REFUND_MINOR, payment["amount"]["currency"])
        given = {"payment_ref": payment["id"], "amount": str(amount), "reason": "requested_by_customer"}
        before = self._effects(payment)
        preview = self._act("payment.refund", given, mode="preview")
        self.say(f"preview: refund {amount} of {payment['id']}; nothing is sent")
        first = self._act("payment.refund", given, key="demo-refund")
        second = self._act("payment.refund", given, key="demo-refund")
        effects = self._effects(payment) - before
        self.say(f"refunded twice with one key: {first['run_id']}, replayed {second['replayed']}, effects {effects}")
        return {"preview": preview, "first": first, "second": second, "effects": effects}

    def _once(self, action: str, record: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        before = self._effects(record)
        result = self._act(action, given, key=f"demo-{action}")
        effects = self._effects(record) - before
        self.say(f"{action}: {result['status']}, effects {effects}")
        return {"run_id": result["run_id"], "status": result["status"], "effects": effects}

    def _act(
        self, action: str, given: dict[str, Any], *, mode: Any = "execute", key: str | None = None
    ) -> dict[str, Any]:
        result = self.app.act(Request(action=action, input=given, mode=mode, key=key))
        if result["status"] not in ("succeeded", "previewed"):
            error = result.get("error") or {}
            raise HubError(f"{action} ended as {result['status']}: {error.get('human_message')}", code="demo_failed")
        return result

    def _effects(self, record: dict[str, Any]) -> int:
        """Count what the sandboxes of this record's systems say has changed in them."""
        connections = {found["connection"] for found in record["connections"]}
        return sum(_effects_in(self.sandboxes.addresses()[name]) for name in connections)

    def _chosen(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Find a customer whom all systems know, with something to refund, to answer and to redirect."""
        everywhere = len(self.sandboxes.sandboxes)
        for customer in self._all("customer", {}):
            if len({record["connection"] for record in customer["connections"]}) < everywhere:
                continue
            payment = next(filter(_refundable, self._all("payment", {"customer": customer["id"]})), None)
            ticket = next(filter(_answerable, self._all("ticket", {"customer": customer["id"]})), None)
            order = next(filter(_movable, self._all("order", {"customer": customer["id"]})), None)
            if payment and ticket and order:
                return customer, payment, ticket, order
        raise NotFound("no customer of this world is in all systems with a payment, a ticket and an open order")

    def _all(self, kind: str, filters: dict[str, str]) -> Iterator[dict[str, Any]]:
        cursor = None
        while True:
            page = json.loads(self.app.list(kind, filters, limit=200, cursor=cursor))
            yield from page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                return


@contextmanager
def staged(customers: int = 500, seed: int = 7) -> Iterator[tuple[App, Sandboxes]]:
    """
    Start the sandboxes and open a hub on them, in a temporary folder that is gone afterwards.

    The environment's settings are of a real hub, whose databases and credentials this one must not touch.
    """
    with (
        tempfile.TemporaryDirectory(prefix="deskhub-demo-") as folder,
        Sandboxes.start(customers=customers, seed=seed) as sandboxes,
    ):
        config = Path(folder) / "config.toml"
        config.write_text(sandboxes.toml(), encoding="utf-8")
        (Path(folder) / "policy.toml").write_text(POLICY, encoding="utf-8")
        with App.open(load(config, {})) as app:
            yield app, sandboxes


def _effects_in(url: str) -> int:
    with urlopen(f"{url}/_sandbox/ledger", timeout=10) as answer:  # noqa: S310 - our own sandbox on loopback
        return sum(1 for entry in json.load(answer) if entry["effect"] is not None)


def _refundable(payment: dict[str, Any]) -> bool:
    paid, back = (payment.get(key) or {"amount": 0} for key in ("amount", "amount_refunded"))
    fine = payment.get("status") == "succeeded" and not payment.get("disputed")
    return fine and int(paid["amount"]) - int(back["amount"]) >= REFUND_MINOR


def _answerable(ticket: dict[str, Any]) -> bool:
    return ticket.get("status") not in ("closed", "solved") and _record_of(ticket, TICKETS) is not None


def _movable(order: dict[str, Any]) -> bool:
    fresh = order.get("status") == "open" and order.get("fulfillment_status") in (None, "unfulfilled")
    return fresh and _record_of(order, ORDERS) is not None


def _record_of(entity: dict[str, Any], connection: str) -> str | None:
    """Refer to the entity's record in that connection: several systems may hold it, and one is to be changed."""
    for record in entity["connections"]:
        if record["connection"] == connection:
            return f"{connection}/{record['stream']}/{record['remote_id']}"
    return None
