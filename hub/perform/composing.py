"""Plan what an action does beyond its own step: the parts of one that is made of others, and what follows from it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hub.actions import (
    NEW,
    Action,
    AgentHandoff,
    CustomerUpdateAddress,
    OrderCancel,
    OrderUpdateShippingAddress,
    PaymentRefund,
    PaymentVoidAuthorization,
    TicketSetStatus,
    TicketSolve,
)
from hub.connections import Connection
from hub.connector import Target
from hub.errors import Conflict, Invalid, MappingError, Unsupported
from hub.perform import facts
from hub.perform.choosing import Choice, Chosen, Notes
from hub.perform.history import History
from hub.perform.refunding import Refunds
from hub.perform.steps import part_of
from hub.perform.words import Planned, words_for
from hub.records import RefundReason

Fresh = Callable[[Action, Connection, Target | None], Target | None]
_PAID = frozenset({"paid", "partially_paid", "partially_refunded", "authorized", "disputed"})
_NO_MONEY = frozenset({"failed", "canceled"})


@dataclass(frozen=True)
class Composer:
    """Plans parts; `fresh` reads a record from its system, `history` knows payments and orders."""

    choice: Choice
    fresh: Fresh
    history: History
    refunds: Refunds

    def parts(self, action: Action, chosen: Chosen, notes: Notes) -> list[Planned]:
        """Give the further steps of a plan, in order; what is left out is noted. Raises what forbids the whole."""
        if action.needs is not None:
            return [step for connection, target in chosen for step in self._made_of(action, connection, target, notes)]
        first = next((target for _, target in chosen if target is not None), None)
        if isinstance(action, OrderCancel) and first is not None:
            return self._money_back(action, first, notes)
        if isinstance(action, CustomerUpdateAddress) and action.apply_to_open_orders and first is not None:
            return list(self._open_orders(action, first, notes))
        return []

    def _made_of(
        self, action: Action, connection: Connection, target: Target | None, notes: Notes
    ) -> Iterator[Planned]:
        """Plan the steps of an action that is made of others; what a system cannot do is left out and told."""
        if isinstance(action, TicketSolve) and "resolution" not in connection.takes(TicketSetStatus.name):
            action = action.told()
        makes = isinstance(action, AgentHandoff) and action.customer_ref is not None
        begun = False
        for part in action.parts(target.id if target else ""):
            needed = part.name == action.needs or (makes and not begun)
            if connection.can(part.name) is None and not needed:
                notes.skip(connection.name, part.name, f"cannot do {part.name}; left out")
                continue
            made = makes and begun
            on = _to_be_made(connection, "ticket") if made else target
            try:
                words = words_for(connection, part, on)
            except (Unsupported, MappingError):
                if needed:
                    raise
                notes.skip(connection.name, part.name, f"{part.name} cannot be written there; left out")
                continue
            begun = True
            more = {"after": 0, "made": "ticket"} if made else {}
            yield part_of(part, connection, on, words=words, **more)  # type: ignore[arg-type]

    def _money_back(self, action: OrderCancel, order: Target, notes: Notes) -> list[Planned]:
        """Plan a refund for what was taken for an order, and a release of what is only authorised."""
        payments = list(self.history.payments(order))
        if action.items and sum(payment.get("status") == "succeeded" for payment in payments) > 1:
            names = ", ".join(payment["id"] for payment in payments)
            text = f"{action.name}: the order has several payments ({names}); cancel without refund, then refund one"
            raise Invalid(text, code="ambiguous_target", field_path="input.refund", next_actions=["payment.refund"])
        if not action.refund:
            if any(payment.get("status") == "succeeded" for payment in payments):
                notes.warnings.append("what was paid is not given back: refund is false")
            return []
        if not payments and order.data.get("payment_status") in _PAID:
            text = "order.cancel: the order is paid, but no payment of it is known here; cancel it without refund"
            raise Conflict(text, code="payment_not_known", field_path="input.refund", next_actions=["agent.handoff"])
        steps = [step for payment in payments for step in self._back(action, order, payment["id"], notes)]
        if not steps:
            notes.warnings.append("nothing was paid for the order, or nothing of it is left to give back")
        return steps

    def _back(self, action: OrderCancel, order: Target, payment: str, notes: Notes) -> Iterator[Planned]:
        for stored in self.choice.resolve(payment, "payment"):
            connection = self.choice.connections.open(stored.connection)
            target = self.fresh(PaymentVoidAuthorization(payment_ref=payment), connection, stored)
            data = target.data if target is not None else {}
            part = _way_back(action, payment, data.get("status"))
            if part is None:
                if data.get("status") not in _NO_MONEY:
                    text = f"payment {payment} is {data.get('status') or 'unknown'}; see to it when it has settled"
                    notes.skip(connection.name, PaymentRefund.name, text)
                continue
            if isinstance(part, PaymentRefund):
                left = facts.refundable(data)
                if left is not None and left.amount == 0:
                    continue
                part = self.refunds.of_items(part, order, notes) if part.items else part
                part = facts.completed(part, data)
            if action.items and isinstance(part, PaymentVoidAuthorization):
                text = f"payment {payment} is only authorised; capture less of it"
                notes.skip(connection.name, part.name, text)
                continue
            if connection.can(part.name) is None:
                if isinstance(part, PaymentRefund):
                    raise self.choice.cannot(part, [connection.name])
                text = f"cannot release the authorisation of {payment}; it lapses by itself"
                notes.skip(connection.name, part.name, text)
                continue
            yield part_of(part, connection, target, words=words_for(connection, part, target), after=0)

    def _open_orders(self, action: CustomerUpdateAddress, customer: Target, notes: Notes) -> Iterator[Planned]:
        """Plan the same address for the customer's orders that have not shipped; an order that cannot is told."""
        for order in self.history.open_orders(customer):
            part = OrderUpdateShippingAddress(order_ref=order["id"], address=action.address)
            held = self.choice.resolve(order["id"], "order")
            able = [target for target in held if self.choice.can(target.connection, part)]
            names = ", ".join(sorted({target.connection for target in able or held}))
            if len(able) != 1:
                why = "several systems hold it" if able else "its address cannot be changed there"
                notes.skip(names, part.name, f"order {order.get('number') or order['id']} keeps its address: {why}")
                continue
            connection = self.choice.connections.open(able[0].connection)
            try:
                target = self.fresh(part, connection, able[0])
                facts.completed(part, target.data if target else {})
                words = words_for(connection, part, target)
            except (Conflict, Unsupported, MappingError) as exc:
                text = f"order {order.get('number') or order['id']} keeps its address: {exc.message}"
                notes.skip(names, part.name, text)
                continue
            yield part_of(part, connection, target, words=words)


def _way_back(action: OrderCancel, payment: str, status: str | None) -> Action | None:
    if status == "authorized":
        return PaymentVoidAuthorization(payment_ref=payment)
    if status == "succeeded":
        reason = RefundReason.requested_by_customer
        return PaymentRefund(payment_ref=payment, items=action.items, reason=reason, note=action.reason)
    return None


def _to_be_made(connection: Connection, kind: str) -> Target:
    """Stand in for a record that an earlier step makes."""
    table = next(table for table in connection.mapping.tables.values() if table.kind == kind)
    return Target(connection.name, table.name, table.stream, kind, NEW, NEW)
