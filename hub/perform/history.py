"""What is known of the customer, the order and the payments behind a target: facts for the policy, from the store."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from hub.connector import Target
from hub.ledger import Ledger, now
from hub.perform import facts

_PAGE = 200
_NO_REFUND = frozenset({"failed", "canceled"})
REFUND_WINDOW = timedelta(days=90)
Get = Callable[[str, str], bytes | None]
List = Callable[[str, dict[str, str], str | None], bytes]


@dataclass(frozen=True)
class History:
    """Looks things up by hub id; `get` and `list_` answer JSON as the reads do."""

    get: Get
    list_: List
    ledger: Ledger

    def order_age_days(self, target: Target | None) -> int | None:
        """Count whole days since the order was placed, or since the payment where no order of it is known."""
        body = self._body(target)
        order = body if target and target.kind == "order" else self._of(body, "order")
        placed = (order or {}).get("placed_at") or (order or {}).get("created_at")
        if placed is None and target is not None and target.kind == "payment":
            placed = body.get("captured_at") or body.get("created_at")
        if not isinstance(placed, str):
            return None
        return max(0, (datetime.now(UTC) - _time(placed)).days)

    def open_dispute(self, target: Target | None) -> bool | None:
        """Say whether the payment (or one of the order, or of the customer) is disputed; None where nobody knows."""
        if target is None or target.kind not in ("payment", "order", "customer", "subscription"):
            return None
        if target.kind == "payment":
            return facts.disputed(target.data)
        return any(facts.disputed(payment) for payment in self._payments(target))

    def refunds_90d(self, target: Target | None) -> int | None:
        """Count the refunds that the customer got in the last 90 days, those that only the journal knows included."""
        customer = self.customer(target)
        if customer is None:
            return None
        since = datetime.now(UTC) - REFUND_WINDOW
        payments = list(self._all("payment", {"customer": customer}))
        paid_back = [payment for payment in payments if (payment.get("amount_refunded") or {}).get("amount")]
        refunds = (refund for payment in paid_back for refund in self._all("refund", {"payment": payment["id"]}))
        known = sum(_recent(refund, since) for refund in refunds)
        journaled = self.ledger.count(
            "payment.refund", [payment["id"] for payment in payments], since=now(plus_s=-REFUND_WINDOW.total_seconds())
        )
        return max(known, journaled)

    def customer(self, target: Target | None) -> str | None:
        """Give the id of the customer behind a target."""
        if target is None or target.kind == "customer":
            return target.id if target else None
        found = (self._body(target).get("customer_ref") or {}).get("id")
        return found if isinstance(found, str) else None

    def payments(self, order: Target) -> Iterator[dict[str, Any]]:
        """Give the payments of an order, wherever they were taken."""
        return self.payments_of(order.id)

    def payments_of(self, order: str) -> Iterator[dict[str, Any]]:
        """Give the payments of an order, by its hub id."""
        return self._all("payment", {"order": order})

    def order_of(self, payment: Target) -> dict[str, Any] | None:
        """Give the order that was paid with a payment, as all systems together have it; None where nobody knows."""
        return self._of(self._body(payment), "order")

    def whole(self, kind: str, id: str) -> dict[str, Any]:
        """Give one thing as all systems together have it; empty where it is not known."""
        return self._one(kind, id)

    def orders(self, target: Target | None) -> list[Mapping[str, Any]]:
        """Give an order as the system that is to be written has it, and as all systems together have it."""
        return [target.data, self._body(target)] if target is not None and target.kind == "order" else []

    def open_orders(self, customer: Target) -> Iterator[dict[str, Any]]:
        """Give a customer's orders that may still be sent somewhere else."""
        return (order for order in self._all("order", {"customer": customer.id}) if facts.is_open(order))

    def in_use(self, customer: Target) -> str | None:
        """Name a kind of which the customer has something, None where there is nothing."""
        kinds = ("order", "payment", "subscription", "ticket")
        found = (kind for kind in kinds if next(self._all(kind, {"customer": customer.id}), None) is not None)
        return next(found, None)

    def open_order(self, target: Target | None) -> bool | None:
        """Say whether the customer waits for an order; None where nobody knows whose it is."""
        if target is None or target.kind != "customer":
            return None
        return next(self.open_orders(target), None) is not None

    def _payments(self, target: Target) -> Iterator[dict[str, Any]]:
        if target.kind == "order":
            return self.payments(target)
        customer = self.customer(target)
        return self._all("payment", {"customer": customer}) if customer else iter(())

    def _body(self, target: Target | None) -> dict[str, Any]:
        return self._one(target.kind, target.id) if target is not None else {}

    def _of(self, body: Mapping[str, Any], kind: str) -> dict[str, Any] | None:
        found = (body.get(f"{kind}_ref") or {}).get("id")
        return self._one(kind, found) if isinstance(found, str) else None

    def _one(self, kind: str, id: str) -> dict[str, Any]:
        body = self.get(kind, id)
        return msgspec.json.decode(body, type=dict[str, Any]) if body is not None else {}

    def _all(self, kind: str, filters: dict[str, str]) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            page = msgspec.json.decode(self.list_(kind, filters, cursor), type=dict[str, Any])
            yield from page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                return


def _recent(refund: Mapping[str, Any], since: datetime) -> bool:
    made = refund.get("created_at")
    return refund.get("status") not in _NO_REFUND and (made is None or _time(made) >= since)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
