"""Which lines of an order are meant, how many of each are left, and what they come to: reckoning on a stored order."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from hub.actions import Item
from hub.errors import Conflict, Invalid
from hub.money import Money

Line = Mapping[str, Any]
Gone = Callable[[Line], int]


@dataclass(frozen=True)
class Taken:
    """So many of a line, after `before` of it were taken earlier."""

    line: Line
    quantity: int
    before: int

    @property
    def item(self) -> Item:
        sku = str(self.line.get("sku") or "").strip()[:255]
        return Item(line=key_of(self.line), sku=sku or None, quantity=self.quantity)


def taken(
    name: str, items: Sequence[Item], order: Mapping[str, Any], gone: Gone, *, word: str = "refunded"
) -> list[Taken]:
    """
    Find the lines that are meant, and see that so many of each are left; `gone` counts what no longer is, `word` says
    what became of it.

    Raises Invalid for a line that is not there, not the only one, named twice, or asked for more than is left of it.
    """
    lines = [line for line in order.get("lines") or () if key_of(line)]
    if not lines:
        text = f"{name}: no lines of this order are known here; name an amount"
        raise Conflict(text, code="lines_not_known", field_path="input.items")
    found: list[Taken] = []
    for number, item in enumerate(items):
        path = f"input.items.{number}"
        line = _meant(name, item, lines, path)
        if key_of(line) in {key_of(other.line) for other in found}:
            raise Invalid(f"{name}: {path}: this line is named before", code="ambiguous_item", field_path=path)
        found.append(_left(name, item, line, (gone(line), word), path))
    return found


def worth(name: str, chosen: Sequence[Taken], order: Mapping[str, Any]) -> Money:
    """
    Say what lines come to, by their totals; what is taken of a line piece by piece adds up to its total.

    Raises Conflict where a line says no price, where lines come to nothing, or to more than the order without its
    shipping: a discount on the whole is in none of them.
    """
    amounts = [_part(name, one) for one in chosen]
    currencies = {amount.currency for amount in amounts}
    if min(amount.amount for amount in amounts) < 0 or not any(amount.amount for amount in amounts):
        text = f"{name}: these lines come to nothing, or to less; name an amount"
        raise Conflict(text, code="lines_not_known", field_path="input.items")
    if _discounted(order):
        text = f"{name}: the lines come to more than the order; a discount on the whole is in none. Name an amount"
        raise Conflict(text, code="lines_not_whole", field_path="input.items")
    if len(currencies) != 1:
        raise Conflict(f"{name}: the lines are in several currencies", code="currency_mismatch")
    return Money(sum(amount.amount for amount in amounts), currencies.pop())


def _discounted(order: Mapping[str, Any]) -> bool:
    """Say whether a discount on the whole order is in none of its lines."""
    total = _money(order.get("total"))
    if total is None:
        return False
    known = [_worth(line) for line in order.get("lines") or ()]
    together = sum(one[0] for one in known if one is not None)
    off, shipping, tax = (_amount_of(order, f"{name}_total") for name in ("discount", "shipping", "tax"))
    return together > total.amount - shipping or (off > 0 and together - off + shipping + tax == total.amount)


def _amount_of(order: Mapping[str, Any], name: str) -> int:
    found = _money(order.get(name))
    return abs(found.amount) if found is not None else 0


def beside(order: Mapping[str, Any]) -> Money | None:
    """Give what an order costs beside its lines (shipping, or tax that is in none); None for nothing, or unknown."""
    total, known = _money(order.get("total")), [_worth(line) for line in order.get("lines") or ()]
    if total is None or not known or None in known:
        return None
    rest = total.amount - sum(one[0] for one in known if one is not None)
    return Money(rest, total.currency) if rest > 0 else None


def counted(items: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, int]]:
    """Give (line, quantity) of the items that a plan in the journal holds."""
    for item in items:
        if item.get("line") and item.get("quantity"):
            yield str(item["line"]), int(item["quantity"])


def key_of(line: Line) -> str | None:
    """Give what a line is named by: its id, else its number."""
    return str(line.get("remote_id") or line.get("line_no") or "").strip() or None


def _meant(name: str, item: Item, lines: Sequence[Line], path: str) -> Line:
    fits = lines
    if item.line is not None:
        fits = [one for one in fits if item.line in (key_of(one), str(one.get("line_no")).strip())]
    if item.sku is not None:
        fits = [one for one in fits if str(one.get("sku") or "").strip() == item.sku]
    if not fits:
        there = ", ".join(f"{key_of(one)} ({one.get('sku') or 'no sku'})" for one in lines[:20])
        text = f"{name}: {path}: the order has no such line; it has {there}"
        raise Invalid(text, code="unknown_item", field_path=path)
    if len(fits) > 1:
        text = f"{name}: {path}: several lines sell this; name one by line: {', '.join(str(key_of(o)) for o in fits)}"
        raise Invalid(text, code="ambiguous_item", field_path=f"{path}.line")
    return fits[0]


def refunded(line: Line) -> int:
    """Say how many of a line the order's system knows as given back."""
    return _whole(line.get("quantity_refunded")) or 0


def shipped(line: Line) -> int:
    """Say how many of a line are on their way, or were given back."""
    return max(_whole(line.get("quantity_shipped")) or 0, refunded(line))


def whole(chosen: Sequence[Taken], order: Mapping[str, Any]) -> bool:
    """Say whether nothing of an order is left beside what is taken."""
    taken_ = {key_of(one.line): one.quantity for one in chosen}
    return all(_whole(line.get("quantity")) == taken_.get(key_of(line), 0) for line in order.get("lines") or ())


def _left(name: str, item: Item, line: Line, known: tuple[int, str], path: str) -> Taken:
    ordered = _whole(line.get("quantity"))
    if ordered is None:
        text = f"{name}: {path}: how many of line {key_of(line)} were ordered is no whole number; name an amount"
        raise Conflict(text, code="lines_not_known", field_path=path)
    gone, word = known
    left = ordered - gone
    asked = left if item.quantity is None else item.quantity
    if asked > left or left <= 0:
        text = f"{name}: {path}: {asked} of line {key_of(line)} asked for; {ordered} ordered, {gone} {word} already"
        raise Invalid(text, code="quantity_exceeds", field_path=f"{path}.quantity")
    return Taken(line, asked, gone)


def _part(name: str, one: Taken) -> Money:
    """Give the share of a line's total: the difference of two rounded shares, so that all shares add up to it."""
    known, ordered = _worth(one.line), _whole(one.line.get("quantity"))
    if known is None or not ordered:
        text = f"{name}: line {key_of(one.line)} has no price; name an amount"
        raise Conflict(text, code="lines_not_known", field_path="input.items")
    total, currency = known

    def share(count: int) -> int:
        return int((Decimal(total) * count / ordered).quantize(Decimal(1), ROUND_HALF_UP))

    return Money(share(one.before + one.quantity) - share(one.before), currency)


def _worth(line: Line) -> tuple[int, str] | None:
    total = _money(line.get("total"))
    if total is not None:
        return total.amount, total.currency
    price, count = _money(line.get("unit_price")), _whole(line.get("quantity"))
    return None if price is None or count is None else (price.amount * count, price.currency)


def _whole(value: Any) -> int | None:
    """Give a quantity as records hold it (a decimal, as text) as a whole number; None for another."""
    try:
        exact = Decimal(str(value))
    except ArithmeticError:
        return None
    return int(exact) if exact.is_finite() and exact == exact.to_integral_value() else None


def _money(value: Any) -> Money | None:
    if not isinstance(value, Mapping) or value.get("amount") is None:
        return None
    return Money(int(value["amount"]), str(value.get("currency") or ""))
