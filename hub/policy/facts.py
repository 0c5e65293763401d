"""What rules may look at. A fact that nobody knows is None, and no condition about it holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from hub.config import did_you_mean
from hub.errors import ConfigError, Invalid
from hub.money import Money, parse

VERIFICATIONS = ("none", "claimed", "otp", "session", "human")
"""How sure it is who the customer is, from nothing to a person who looked."""


@dataclass(frozen=True)
class Facts:
    """
    The facts of one run in one connection.

    `live` is what the vendor says; `principal` the key's name; `channel` and `verification` are as a key that may
    assert them said. `order_age_days` counts whole days; `refunds_90d` the customer's refunds of the last 90 days;
    `open_dispute` is true where the payment is disputed, or the dispute was lost. `at` is the time of the decision.
    """

    connection: str = ""
    amount: Money | None = None
    live: bool | None = None
    principal: str = ""
    channel: str | None = None
    verification: str | None = None
    order_age_days: int | None = None
    open_dispute: bool | None = None
    refunds_90d: int | None = None
    shipped: bool | None = None
    moves_money: bool | None = None
    order_total: Money | None = None
    country_change: bool | None = None
    open_order: bool | None = None
    at: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give the facts as an answer shows them; those that nobody asked for are left out."""
        found: dict[str, Any] = {"connection": self.connection, "amount": _text(self.amount), "live": self.live}
        found["principal"] = self.principal
        more = (
            "channel", "verification", "order_age_days", "open_dispute", "refunds_90d", "shipped", "country_change",
            "open_order",
        )  # fmt: skip
        found |= {"order_total": str(self.order_total)} if self.order_total is not None else {}
        return found | {name: value for name in more if (value := getattr(self, name)) is not None}


def facts_of(table: Mapping[str, Any], where: str) -> Facts:
    """Read facts as a case or a command line writes them. Raises ConfigError naming the fact."""
    known = {field.name for field in fields(Facts)}
    given: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            raise ConfigError(f"{where}: {name}: unknown fact{did_you_mean(name, known)}")
        try:
            given[name] = _READ[name](value)
        except (ValueError, TypeError, Invalid) as exc:
            raise ConfigError(f"{where}: {name}: found {value!r}, {exc}") from exc
    return Facts(**given)


def _text(amount: Money | None) -> str | None:
    return None if amount is None else str(amount)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("expected a name")
    return value


def _amount(value: Any) -> Money:
    if not isinstance(value, str):
        raise ValueError('expected an amount such as "50.00 EUR"')
    return parse(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _count(value: Any) -> int:
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("expected a whole number")
    return value


def _level(value: Any) -> str:
    if value not in VERIFICATIONS:
        raise ValueError(f"expected one of {', '.join(VERIFICATIONS)}")
    return str(value)


def _time(value: Any) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        raise ValueError("expected a time such as 2026-01-31T08:00:00Z")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_READ: dict[str, Callable[[Any], Any]] = {
    "connection": _name,
    "amount": _amount,
    "live": _flag,
    "principal": _name,
    "channel": _name,
    "verification": _level,
    "order_age_days": _count,
    "open_dispute": _flag,
    "refunds_90d": _count,
    "shipped": _flag,
    "moves_money": _flag,
    "order_total": _amount,
    "country_change": _flag,
    "open_order": _flag,
    "at": _time,
}
