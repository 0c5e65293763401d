"""What the campaign wants done: each business intent once, under the name the vendor's ledger will have it by."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from hub.app import App

ADDRESS = {"line1": "Lindenweg 7", "city": "Bonn", "postal_code": "53111", "country_code": "DE"}
SYSTEM = {"payment.refund": "stripe", "ticket.reply": "zendesk", "ticket.note": "zendesk"}


@dataclass(frozen=True)
class Size:
    """
    How much is asked for, how often a process is killed, and how many people live in the world.

    `settled` is how many runs must have settled whose effect was there before their process died. `in_flight_s` is
    longer than any request is under way to a sandbox, even on a busy machine; against real vendors it is 90 s.
    """

    refunds: int
    messages: int
    orders: int
    kills: int
    customers: int
    settled: int = 0
    in_flight_s: float = 2.5

    def small(self) -> "Size":
        """Give the size of the two smaller parts."""
        return Size(40, 20, 0, max(6, self.kills // 20), self.customers, in_flight_s=self.in_flight_s)


SHORT = Size(refunds=105, messages=30, orders=20, kills=15, customers=120, settled=25)
"""On each of two stores."""


@dataclass
class Intent:
    """
    One business wish. `effect` is what the vendor's ledger calls it; an agent asks under `key`, which it keeps while it
    does not know the end and renews after a definite failure.
    """

    number: int
    action: str
    input: dict[str, Any]
    effect: str
    tries: int = 0
    told: str | None = None
    runs: list[str] = field(default_factory=list)

    @property
    def system(self) -> str:
        return SYSTEM.get(self.action, "legacy")

    @property
    def key(self) -> str:
        return f"crash-{self.number}-{self.tries}"


class Supply:
    """All that may be asked for in a synced world; each intent is given out once."""

    def __init__(self, app: App) -> None:
        self.sorts = {"refunds": _refunds(app), "messages": _messages(app), "orders": _orders(app)}
        self.given = 0

    def take(self, size: Size) -> list[Intent]:
        """Give as many new intents as a campaign wants, shuffled."""
        found = []
        for name, wanted in (("refunds", size.refunds), ("messages", size.messages), ("orders", size.orders)):
            new = list(islice(self.sorts[name], wanted))
            if len(new) < wanted:
                raise SystemExit(f"the world has only {len(new)} of {wanted} {name}; let more people live in it")
            found += new
        random.Random(self.given).shuffle(found)
        made = [Intent(self.given + n, *one) for n, one in enumerate(found)]
        self.given += len(made)
        return made


def _refunds(app: App) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Refund every payment once with one amount, then every payment with the next."""
    payments = [row for row in _all(app, "payment") if _refundable(row)]
    for amount in range(101, 160):
        for row in payments:
            intent, currency = row["connections"][0]["remote_id"], row["amount"]["currency"]
            given = {"payment_ref": f"stripe/payment_intents/{intent}", "reason": "goodwill"}
            money = {"amount": amount, "currency": currency}
            yield "payment.refund", given | {"amount": money}, f"refund {intent} {amount} {currency.lower()}"


def _messages(app: App) -> Iterator[tuple[str, dict[str, Any], str]]:
    rows = [row for row in _all(app, "ticket") if row["status"] not in ("closed", "solved")]
    tickets = [r["remote_id"] for row in rows for r in row["connections"] if r["connection"] == "zendesk"]
    for turn in (0, 1):
        for n, one in enumerate(tickets):
            action, intent = (("ticket.reply", "reply to"), ("ticket.note", "note on"))[(n + turn) % 2]
            yield action, {"ticket_ref": f"zendesk/tickets/{one}", "body": "We look into it."}, f"{intent} ticket {one}"


def _orders(app: App) -> Iterator[tuple[str, dict[str, Any], str]]:
    for row in list(_all(app, "order")):
        if row["status"] == "open" and row["fulfillment_status"] in (None, "unfulfilled"):
            for record in row["connections"]:
                if record["connection"] == "legacy":
                    reference = f"legacy/orders/{record['remote_id']}"
                    given = {"order_ref": reference, "address": ADDRESS}
                    yield "order.update_shipping_address", given, f"address {row['number']}"


def _refundable(row: dict[str, Any]) -> bool:
    paid, back = (row.get(key) or {"amount": 0} for key in ("amount", "amount_refunded"))
    fine = row.get("status") == "succeeded" and not row.get("disputed")
    return fine and int(paid["amount"]) - int(back["amount"]) > 8_000


def _all(app: App, kind: str) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        page = json.loads(app.list(kind, {}, limit=200, cursor=cursor))
        yield from page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            return
