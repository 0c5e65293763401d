"""What a refund means in full: which payment of an order, what its lines come to, and which ticket is told."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from hub.actions import Action, Amount, OrderCancel, PaymentRefund, TicketNote
from hub.connections import Connection
from hub.connector import Target
from hub.errors import Conflict, Invalid, NotFound
from hub.ledger import Reckoned
from hub.money import Money
from hub.perform import lines
from hub.perform.choosing import Choice, Notes
from hub.perform.history import History
from hub.perform.steps import part_of
from hub.perform.words import Planned, words_for

_GIVE_BACK = (PaymentRefund.name, OrderCancel.name)
"""The actions that give money of an order's lines back."""


@dataclass(frozen=True)
class Refunds:
    """Settles what the input of a refund leaves open, from what is stored."""

    choice: Choice
    history: History

    def settled(self, action: Action, notes: Notes | None = None) -> Action:
        """
        Name the one payment of an order, and the amount that items come to; other actions stay as they are.

        Raises NotFound, Invalid and Conflict where that cannot be told, or does not fit the amount that is given.
        """
        if not isinstance(action, PaymentRefund):
            return action
        order = self._order(action)
        if action.order_ref is not None:
            action = action.model_copy(update={"payment_ref": self._one_payment(action, order), "order_ref": None})
        return self._reckoned(action, order, notes) if action.items else action

    def of_items(self, action: PaymentRefund, order: Target, notes: Notes) -> PaymentRefund:
        """Put into a refund what the items of an order come to, by its lines as they are now."""
        return self._reckoned(action, {**order.data, "id": order.id}, notes)

    def told(self, action: Action) -> Iterator[Planned]:
        """Plan the note on the ticket that is named; where it fails, the refund stays done."""
        if not isinstance(action, PaymentRefund) or action.ticket_ref is None:
            return
        connection, ticket = self._ticket(action, action.ticket_ref)
        note = TicketNote(ticket_ref=ticket.id, body=_note(action))
        words = words_for(connection, note, ticket)
        yield part_of(note, connection, ticket, words=words, after=0, remark=True)

    def _order(self, action: PaymentRefund) -> dict[str, Any]:
        """Give the stored order behind a refund, as far as it is asked about."""
        if action.order_ref is not None:
            found = self.choice.resolve(action.order_ref, "order")
            if not found:
                raise NotFound(f"{action.name}: there is no such order", field_path="input.order_ref")
            return self.history.whole("order", found[0].id)
        if not action.items:
            return {}
        paid = self.choice.resolve(action.payment_ref or "", "payment")
        order = self.history.order_of(paid[0]) if paid else None
        if paid and not order:
            text = f"{action.name}: no order of this payment is known here; name an amount"
            raise Conflict(text, code="lines_not_known", field_path="input.items")
        return order or {}

    def _one_payment(self, action: PaymentRefund, order: dict[str, Any]) -> str:
        """Name the one payment of an order that was taken. Raises Invalid where there are several."""
        paid = [p for p in self.history.payments_of(order["id"]) if p.get("status") == "succeeded"]
        if len(paid) > 1:
            text = f"{action.name}: the order has several payments; say which: {', '.join(p['id'] for p in paid)}"
            raise Invalid(text, code="ambiguous_target", field_path="input.payment_ref")
        if not paid:
            text = f"{action.name}: no payment of this order is known that was taken"
            raise NotFound(text, code="payment_not_known", field_path="input.order_ref")
        return str(paid[0]["id"])

    def _reckoned(self, action: PaymentRefund, order: dict[str, Any], notes: Notes | None) -> PaymentRefund:
        if not order or not action.items:
            return action  # a payment that is not there is told where it is looked for
        before = self._before(order["id"], notes)

        def gone(line: lines.Line) -> int:
            return max(lines.refunded(line), before[str(lines.key_of(line))])

        chosen = lines.taken(action.name, action.items, order, gone)
        worth = lines.worth(action.name, chosen, order)
        given = action.amount.money() if action.amount else worth
        if given != worth:
            text = f"{action.name}: the items come to {worth}, the amount is {given}; leave one of them out"
            raise Invalid(text, code="amount_mismatch", field_path="input.amount")
        rest = lines.beside(order)
        if rest is not None and notes is not None:
            notes.warnings.append(f"the order holds {rest} beside its lines (shipping, tax); none of it is refunded")
        amount = Amount(amount=worth.amount, currency=worth.currency)
        return action.model_copy(update={"items": [one.item for one in chosen], "amount": amount})

    def _before(self, order: str, notes: Notes | None) -> Counter[str]:
        """Count what refunds and cancellations of this hub gave back of each line, or may have."""
        counts: Counter[str] = Counter()
        targets = (order, *(payment["id"] for payment in self.history.payments_of(order)))
        plans = self.history.ledger.plans(_GIVE_BACK, targets)
        if notes is not None:
            notes.knows = Reckoned(_GIVE_BACK, targets, frozenset(run for run, _ in plans))
        for _, plan in plans:
            action = msgspec.json.decode(plan)["action"]
            given = action.get("refund", True)  # only a cancellation says whether
            for line, quantity in lines.counted(action.get("items") or () if given else ()):
                counts[line] += quantity
        return counts

    def _ticket(self, action: PaymentRefund, reference: str) -> tuple[Connection, Target]:
        held = self.choice.resolve(reference, "ticket")
        if not held:
            raise NotFound(f"{action.name}: there is no such ticket", field_path="input.ticket_ref")
        able = [ticket for ticket in held if self.choice.can(ticket.connection, action, TicketNote.name)]
        if not able:
            raise self.choice.cannot(action, sorted({ticket.connection for ticket in held}), TicketNote.name)
        return self.choice.connections.open(able[0].connection), able[0]


def _note(action: PaymentRefund) -> str:
    """Say in words what is given back and why."""
    money = action.amount.money() if action.amount else None
    said = [f"Refund of {_amount(money)} ({action.reason.value.replace('_', ' ')})"]
    said += [f"- {item.quantity} x {item.sku or item.line}" for item in action.items or ()]
    return "\n".join([*said, *(["", action.note] if action.note else [])])


def _amount(money: Money | None) -> str:
    return str(money) if money is not None else "what is left of the payment"
