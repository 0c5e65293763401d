"""How objects looked in older API versions, and what `expand[]` opens."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

BASIL = "2025-03-31"  # periods moved to the subscription's items, discounts became a list
LATEST_CHARGE = "2022-11-15"  # charges left the payment intent, refunds the charge
Find = Callable[[str, str], dict[str, Any] | None]  # (kind, id) → the object


def rendered(thing: dict[str, Any], version: str, expand: Iterable[str], find: Find) -> dict[str, Any]:
    """Give an object as this API version has it, with the named paths expanded."""
    made = copy.deepcopy(thing)
    if version < LATEST_CHARGE and made["object"] == "payment_intent":
        _charges_inside(made, find)
    for path in expand:
        _expand(made, path.split("."), find)
    _age(made, version)
    return made


def _charges_inside(intent: dict[str, Any], find: Find) -> None:
    found = find("charges", intent.pop("latest_charge") or "")
    own = [copy.deepcopy(found)] if found else []
    url = f"/v1/charges?payment_intent={intent['id']}"
    intent["charges"] = {"object": "list", "data": own, "has_more": False, "total_count": len(own), "url": url}


_KINDS = {
    "latest_charge": "charges",
    "default_payment_method": "payment_methods",
    "latest_invoice": "invoices",
    "customer": "customers",
    "payment_intent": "payment_intents",
    "charge": "charges",
}


def _expand(made: dict[str, Any], path: list[str], find: Find) -> None:
    name, *rest = path
    if name not in made:
        raise KeyError(name)
    value = made[name]
    if isinstance(value, str) and name in _KINDS:
        made[name] = copy.deepcopy(find(_KINDS[name], value)) or value
    if rest and isinstance(made[name], dict):
        _expand(made[name], rest, find)


def _age(made: dict[str, Any], version: str) -> None:
    if version >= BASIL:
        return
    made.pop("customer_account", None)
    if made["object"] == "payment_intent":
        made["invoice"] = None
        for name in ("payment_details", "excluded_payment_method_types"):
            made.pop(name)
    if made["object"] == "subscription":
        item = made["items"]["data"][0]
        made |= {"discount": None} | {k: item.pop(k) for k in ("current_period_start", "current_period_end")}
        for gone in ("discounts", "billing_mode", "billing_cycle_anchor_config"):
            made.pop(gone)
