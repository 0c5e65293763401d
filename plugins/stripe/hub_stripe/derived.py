"""Converters of the default mapping: what Stripe does not say itself, but what follows from what it says."""

from collections.abc import Mapping, Sequence
from typing import Any

# ISO 4217 gives these no minor digits; Stripe gives them two (https://docs.stripe.com/currencies#special-cases).
HUNDREDTHS = frozenset(("isk", "ugx"))
# And this the other way round: two minor digits in ISO 4217, none at Stripe (…#zero-decimal).
WHOLE = frozenset(("mga",))


def stripe_minor(values: Sequence[Any]) -> Any:
    """Give the first of the amounts, which the currency follows, in ISO's minor units. Raises ValueError for parts."""
    *amounts, currency = values
    amount: Any = next((one for one in amounts if one is not None), None)
    code = currency.lower() if isinstance(currency, str) and _whole(amount) else ""
    if code in WHOLE:
        return amount * 100
    if code not in HUNDREDTHS:
        return amount
    if amount % 100:
        raise ValueError(f"{code.upper()} has no minor digits, so Stripe's amounts are whole hundreds")
    return amount // 100


def stripe_order(values: Sequence[Any]) -> str | None:
    """Give the first order number; for a subscription's payment Stripe puts the invoice's id (in_…) in its place."""
    texts = (str(one).strip() for one in values if one is not None and not isinstance(one, (dict, list, bool)))
    return next((one for one in texts if one and not one.startswith("in_")), None)


def stripe_amount_per_period(values: Sequence[Any]) -> int | None:
    """
    Add up quantity × unit amount of a subscription's items, in minor units, before discounts and tax.

    Of items, plan and quantity the last two count where there are no items (before 2018). Null where no one sum can be
    told: metered or tiered prices, packages, parts of a cent, several intervals or currencies.
    """
    items, plan, quantity = values
    rows = items if isinstance(items, list) else [{"plan": plan, "quantity": quantity}]
    found = [_item(item) for item in rows]
    periods = {period for _, period in found}
    amounts = [amount for amount, _ in found if amount is not None]
    return sum(amounts) if len(periods) == 1 and len(amounts) == len(found) else None


def stripe_next_billing(values: Sequence[Any]) -> int | None:
    """Give the end of the period (of the first item's that ends) unless cancel_at comes by then; epoch seconds."""
    cancel_at, own, of_items = values
    ends = [own] if _whole(own) else [end for end in of_items or () if _whole(end)]
    end = min(ends, default=None)
    return None if end is None or (_whole(cancel_at) and cancel_at <= end) else end


stripe_minor.takes = "many"  # type: ignore[attr-defined]
stripe_order.takes = "many"  # type: ignore[attr-defined]
stripe_amount_per_period.takes = "many"  # type: ignore[attr-defined]
stripe_next_billing.takes = "many"  # type: ignore[attr-defined]


def _item(item: Any) -> tuple[int | None, Any]:
    price = _object(item, "price") or _object(item, "plan")
    recurring = _object(price, "recurring") or price
    told = recurring.get("interval"), recurring.get("interval_count"), price.get("currency")
    period = tuple(str(one) for one in told)
    unit = price.get("unit_amount", price.get("amount"))
    packed = price.get("transform_quantity") or price.get("transform_usage")
    quantity = item.get("quantity", 1) if isinstance(item, Mapping) else None
    if recurring.get("usage_type") == "metered" or packed or not (_whole(unit) and _whole(quantity)):
        return None, period
    return stripe_minor([unit, price.get("currency")]) * quantity, period


def _object(value: Any, name: str) -> Mapping[str, Any]:
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _whole(value: Any) -> bool:
    return value.__class__ is int
