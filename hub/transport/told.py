"""
What a vendor's answer says about its limits: how long to wait, and how much is left of which quota.

Read are Retry-After (RFC 9110 10.2.3), Zendesk's `X-Rate-Limit…` and `ratelimit-…`
(https://developer.zendesk.com/api-reference/introduction/rate-limits/), Salesforce's `Sforce-Limit-Info`, and the
`RateLimit` fields of the IETF drafts, whichever of their three forms.
"""

import contextlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

DAY_S = 86_400
_PAIR = re.compile(r'([a-zA-Z]+)\s*=\s*"?(\d+)')
_ITEM = re.compile(r'^\s*"([^"]{1,60})"\s*((?:;[^,]*)?)$')
_USED = re.compile(r"api-usage=(\d+)/(\d+)")
_NAMED = "zendesk-ratelimit-"


@dataclass(frozen=True)
class Quota:
    """
    What is left, as the vendor told it last.

    `total` is None where only the rest was told, `resets_s` is in how many seconds it is full again, where that was.
    `general` quotas count all requests of the account; others only some, and nobody waits because of them.
    """

    name: str
    remaining: int
    total: int | None = None
    resets_s: float | None = None
    general: bool = True


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Read Retry-After in seconds, from either of its forms (RFC 9110 10.2.3); None where absent or unreadable."""
    value = (headers.get("Retry-After") or headers.get("retry-after") or "").strip()
    if not value:
        return None
    with contextlib.suppress(ValueError):
        seconds = float(value)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    with contextlib.suppress(ValueError, TypeError):
        when = parsedate_to_datetime(value)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
    return None


def quotas(headers: Mapping[str, str]) -> list[Quota]:
    """Read every quota that an answer tells of, the general one first; what cannot be read is left out."""
    lower = {name.lower(): value for name, value in headers.items()}
    return [*_general(lower), *_daily(lower), *_of_endpoints(lower)]


def _general(lower: Mapping[str, str]) -> Iterator[Quota]:
    """Read the account's own limit: the drafts' combined field, else three single ones, else Zendesk's two."""
    if "ratelimit" in lower:
        yield from _combined(lower["ratelimit"], lower.get("ratelimit-policy", ""))
        return
    for prefix in ("ratelimit-", "x-rate-limit-"):
        remaining = _number(lower.get(f"{prefix}remaining"))
        if remaining is not None:
            total = _number(lower.get(f"{prefix}limit")) or _number(lower.get("x-rate-limit"))
            yield Quota("api", remaining, total, _number(lower.get(f"{prefix}reset")))
            return


def _combined(value: str, policy: str) -> Iterator[Quota]:
    """Read `limit=100, remaining=50, reset=5` (draft 7) or `"name";r=50;t=5` beside its policy (draft 8 and later)."""
    pairs = {name.lower(): int(number) for name, number in _PAIR.findall(value)}
    if "remaining" in pairs:
        yield Quota("api", pairs["remaining"], pairs.get("limit"), pairs.get("reset"))
        return
    totals = {name: pairs.get("q") for name, pairs in _items(policy)}
    for name, found in _items(value):
        if "r" in found:
            yield Quota(name, found["r"], totals.get(name), found.get("t"))


def _items(value: str) -> Iterator[tuple[str, dict[str, int]]]:
    for part in value.split(","):
        found = _ITEM.match(part)
        if found:
            yield found[1], {name.lower(): int(number) for name, number in _PAIR.findall(found[2])}


def _daily(lower: Mapping[str, str]) -> Iterator[Quota]:
    found = _USED.search(lower.get("sforce-limit-info", ""))
    if found:
        used, total = int(found[1]), int(found[2])
        yield Quota("daily", max(0, total - used), total, general=False)


def _of_endpoints(lower: Mapping[str, str]) -> Iterator[Quota]:
    for name, value in lower.items():
        pairs = {key.lower(): int(number) for key, number in _PAIR.findall(value)}
        if name.startswith(_NAMED) and "remaining" in pairs:
            short = name.removeprefix(_NAMED)[:60]
            yield Quota(short, pairs["remaining"], pairs.get("total"), pairs.get("resets"), general=False)


def _number(value: str | None) -> int | None:
    """Read the first whole number of a field: `100, 100;w=60` is 100."""
    found = re.match(r"\s*(\d{1,12})", value or "")
    return int(found[1]) if found else None
