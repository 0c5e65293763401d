"""The conditions of `when`: each looks at one fact, and does not hold where that fact is not known."""

import fnmatch
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hub.errors import ConfigError, Invalid
from hub.money import parse
from hub.policy.facts import VERIFICATIONS, Facts

Holds = Callable[[Facts], bool]
Compare = Callable[[Any, Any], bool]
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d) (\S+)")
_WEEKDAYS = re.compile(r"([a-z]{3}(?:[-,][a-z]{3})*) (\S+)")
COMPARE: dict[str, Compare] = {"lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge}


@dataclass(frozen=True)
class Predicate:
    """One condition of `when`, with its text as written and the fact it looks at."""

    key: str
    shown: str
    fact: str
    holds: Holds


def predicate(key: str, value: Any, where: str) -> Predicate:
    """Build a condition. Raises ConfigError that says what was expected."""
    fact, build = _PREDICATES[key]
    try:
        holds = build(value)
    except (ValueError, Invalid) as exc:
        raise ConfigError(f"{where}: found {value!r}, {exc}") from exc
    return Predicate(key, f"{key} {_shown(value)}", fact, holds)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(value) if isinstance(value, list) else str(value)


def _amount(compare: Compare, fact: str = "amount") -> Callable[[Any], Holds]:
    """Compare with the bound in the amount's own currency; a list names one bound for each currency."""

    def build(value: Any) -> Holds:
        texts = value if isinstance(value, list) else [value]
        if not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError('expected an amount such as "50.00 EUR", or a list of one for each currency')
        bounds = {bound.currency: bound.amount for bound in map(parse, texts)}
        if len(bounds) < len(texts):
            raise ValueError("expected one amount for each currency")

        def holds(facts: Facts) -> bool:
            amount = getattr(facts, fact)
            return amount is not None and amount.currency in bounds and compare(amount.amount, bounds[amount.currency])

        return holds

    return build


def _whole(fact: str, compare: Compare) -> Callable[[Any], Holds]:
    def build(value: Any) -> Holds:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError("expected a whole number")

        def holds(facts: Facts) -> bool:
            known = getattr(facts, fact)
            return known is not None and compare(known, value)

        return holds

    return build


def _level(compare: Compare) -> Callable[[Any], Holds]:
    def build(value: Any) -> Holds:
        if value not in VERIFICATIONS:
            raise ValueError(f"expected one of {', '.join(VERIFICATIONS)}")
        bound = VERIFICATIONS.index(value)

        def holds(facts: Facts) -> bool:
            known = facts.verification
            return known is not None and compare(VERIFICATIONS.index(known), bound)

        return holds

    return build


def _flag(fact: str) -> Callable[[Any], Holds]:
    def build(value: Any) -> Holds:
        if not isinstance(value, bool):
            raise ValueError("expected true or false")
        return lambda facts: getattr(facts, fact) is value

    return build


def _names(fact: str) -> Callable[[Any], Holds]:
    def build(value: Any) -> Holds:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            raise ValueError("expected a name, a pattern or a list of them")
        return lambda facts: any(fnmatch.fnmatchcase(getattr(facts, fact) or "", name) for name in names)

    return build


def _hours(value: Any) -> Holds:
    """Take "08:00-18:00 Europe/Berlin", the last minute left out; over midnight where it ends earlier."""
    found = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('expected hours with their zone, such as "08:00-18:00 Europe/Berlin"')
    start, end = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
    local = _zone(found[5])

    def holds(facts: Facts) -> bool:
        if facts.at is None:
            return False
        now = local(facts.at).time()
        return start <= now < end if start < end else now >= start or now < end

    return holds


def _weekdays(value: Any) -> Holds:
    """Take "mon-fri Europe/Berlin" or "sat,sun UTC"."""
    found = _WEEKDAYS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('expected weekdays with their zone, such as "mon-fri Europe/Berlin"')
    days: set[int] = set()
    for part in found[1].split(","):
        first, _, last = part.partition("-")
        if not {first, last or first} <= set(_DAYS):
            raise ValueError(f"expected days out of {', '.join(_DAYS)}")
        at, until = _DAYS.index(first), _DAYS.index(last or first)
        days |= {day % 7 for day in range(at, until + 1 if until >= at else until + 8)}
    local = _zone(found[2])
    return lambda facts: facts.at is not None and local(facts.at).weekday() in days


def _zone(name: str) -> Callable[[datetime], datetime]:
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ValueError(f"expected a time zone such as Europe/Berlin, not {name}") from exc
    return lambda moment: moment.astimezone(zone)


def _compared(fact: str, make: Callable[[Compare], Callable[[Any], Holds]]) -> dict[str, tuple[str, Any]]:
    return {f"{fact}_{word}": (fact, make(compare)) for word, compare in COMPARE.items()}


_PREDICATES: dict[str, tuple[str, Callable[[Any], Holds]]] = {
    **_compared("amount", _amount),
    **_compared("order_total", lambda compare: _amount(compare, "order_total")),
    **_compared("order_age_days", lambda compare: _whole("order_age_days", compare)),
    **_compared("refunds_90d", lambda compare: _whole("refunds_90d", compare)),
    **_compared("verification", _level),
    "open_dispute": ("open_dispute", _flag("open_dispute")),
    "live": ("live", _flag("live")),
    "shipped": ("shipped", _flag("shipped")),
    "moves_money": ("moves_money", _flag("moves_money")),
    "country_change": ("country_change", _flag("country_change")),
    "open_order": ("open_order", _flag("open_order")),
    "connection": ("connection", _names("connection")),
    "agent": ("principal", _names("principal")),
    "principal": ("principal", _names("principal")),
    "channel": ("channel", _names("channel")),
    "hours": ("at", _hours),
    "weekdays": ("at", _weekdays),
}
PREDICATES = tuple(_PREDICATES)
