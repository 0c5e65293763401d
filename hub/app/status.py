"""What an operator looks at first: how each connection stands, how fresh its streams are, what is left of limits."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from hub import reads
from hub.app.underway import left_s
from hub.config import duration_s
from hub.connections import Connections, Standings
from hub.connector import Mark
from hub.engine import slot_at
from hub.errors import ConfigError
from hub.store import Store, clock
from hub.store.standings import Standing
from hub.store.traffic import Pull, Traffic
from hub.transport import Pace

Line = dict[str, Any]
_ONE_LINE = 2000


def status(store: Store, connections: Connections, standings: Standings, traffic: Traffic) -> dict[str, Line]:
    """Say for each configured connection how it stands, what is stored of its streams and as of when."""
    known, stands, now = reads.freshness(store), standings.all(), clock.now()
    under_way = {(pull.connection, pull.stream): pull for pull in traffic.pulls()}
    found: dict[str, Line] = {}
    for name, settings in connections.settings.connections.items():
        standing = stands.get(name, Standing())
        line: Line = {
            "connector": settings.connector,
            "every": settings.sync.every,
            "next_sync_at": _next(settings.sync.every),
            "live_actions": settings.live_actions,
            **_standing(standing),
        }
        pace, marks = _of_connector(connections, name, line)
        pace.account = standing.account or pace.account
        line |= {"limits": _limits(pace, traffic), "quotas": _quotas(pace, traffic, now)}
        line["streams"] = {
            stream: _stream(freshness, under_way.get((name, stream)), marks.get(stream, marks.get("*")), pace, now)
            for stream, freshness in known.get(name, {}).items()
        }
        found[name] = line
    return found


def _of_connector(connections: Connections, name: str, line: Line) -> tuple[Pace, dict[str, Mark]]:
    """Give the limits and pulls of a connection without opening it; a plugin that is not there is told."""
    try:
        cls = connections.connector(name)
        return connections.pace(name), {mark.name: mark for mark in cls.marks if mark.role == "pull"}
    except ConfigError as exc:
        line["error"] = exc.message[:_ONE_LINE]
        return Pace(name), {}


def _standing(standing: Standing) -> Line:
    since = standing.reauth_at or standing.degraded_at
    cut_off = standing.state != "ok"
    return {
        "state": standing.state,
        "since": _time(since),
        "retry_at": _time(standing.retry_at) if cut_off else None,
        "error": standing.error,
        "error_at": _time(standing.error_at),
        "account": standing.account,
    }


def _limits(pace: Pace, traffic: Traffic) -> list[Line]:
    """Tell of each class how many requests may be sent now; nothing where no limits are kept."""
    return [
        {
            "name": limit.name,
            "count": limit.count,
            "per_s": limit.per_s,
            "free": traffic.free(pace.account, limit),
            "reserve": limit.spare,
            "held_s": _rounded(traffic.held(pace.account, limit.name, sync=True)) or None,
        }
        for limit in (pace.limits if pace.on else ())
    ]


def _quotas(pace: Pace, traffic: Traffic, now: datetime) -> list[Line]:
    return [
        {
            "name": seen.name,
            "remaining": seen.remaining,
            "total": seen.total,
            "resets_at": None if seen.resets_s is None else clock.text(now + timedelta(seconds=seen.resets_s)),
            "as_of": clock.text(now - timedelta(seconds=seen.age_s)),
        }
        for seen in traffic.quotas(pace.account)
    ]


def _stream(freshness: Line, pull: Pull | None, mark: Mark | None, pace: Pace, now: datetime) -> Line:
    oldest, newest = _moment(freshness.pop("oldest_at")), _moment(freshness["newest_at"])
    line = freshness | {"age_s": _since(_moment(freshness["synced_at"]), now), "lag_s": _since(newest, now)}
    line["running"] = None
    if pull is not None:
        behind = mark is not None and mark.rising and freshness["synced_at"] is None
        share = _share(oldest, newest, now) if behind else None
        rate = min((limit.count / limit.per_s for limit in pace.limits), default=None) if pace.on else None
        line["running"] = {
            "read": pull.read,
            "changed": pull.changed,
            "total": pull.total,
            "seconds": _rounded(pull.took_s + pull.age_s),
            "records_per_s": round(pull.read / pull.took_s, 1) if pull.took_s > 0 else None,
            "left_s": _rounded(left_s(pull, rate, share=share)),
        }
    return line


def _share(oldest: datetime | None, newest: datetime | None, now: datetime) -> float | None:
    """Say which share of the time from the oldest record to now has been read."""
    if oldest is None or newest is None or not oldest < newest < now:
        return None
    return (newest - oldest) / (now - oldest)


def _next(every: str | None) -> str | None:
    if every is None:
        return None
    every_s = duration_s(every)
    return clock.text(datetime.fromtimestamp((slot_at(every_s, time.time()) + 1) * every_s, UTC))


def _since(moment: datetime | None, now: datetime) -> int | None:
    return None if moment is None else max(0, round((now - moment).total_seconds()))


def _moment(text: str | None) -> datetime | None:
    """Read a time; a vendor's version that is none says nothing."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _time(millis: int | None) -> str | None:
    return None if millis is None else clock.from_millis(millis)


def _rounded(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)
