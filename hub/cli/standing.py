"""The tables of `hub status`: connections, then streams, then what needs a person."""

from collections.abc import Mapping
from typing import Any

from hub.cli import out
from hub.cli.tables import table

_CONNECTIONS = ("connection", "state", "account", "next sync", "may send now", "vendor says is left")
_STREAMS = ("connection", "stream", "records", "rejects", "synced at", "age", "lag")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_ROOMY = 2


def show_status(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what App.status gives."""
    rows = [
        [name, line["state"].replace("_", " "), line["account"], line["next_sync_at"], _budget(line), _quotas(line)]
        for name, line in found.items()
    ]
    table(_CONNECTIONS, rows, none="", spare=("vendor says is left", "may send now", "next sync"))
    out.write("")
    streams = [(name, stream, each) for name, line in found.items() for stream, each in line["streams"].items()]
    told = [
        [name, stream, each["records"], each["rejects"], each["synced_at"], span(each["age_s"]), span(each["lag_s"])]
        for name, stream, each in streams
    ]
    table(_STREAMS, told, none="nothing was synced yet; `hub sync` does it", spare=("lag", "age"))
    for name, stream, each in streams:
        if each["running"]:
            out.write(f"running: {name} {stream}: {_running(each['running'])}")
    for name, line in found.items():
        if line["state"] != "ok" or (line["error"] and not line["error_at"]):
            out.write(_trouble(name, line))


def span(seconds: float | None) -> str | None:
    """Say a span of time in its largest unit, or two where the first is small: "3 h", "1 d 4 h", "40 s"."""
    if seconds is None:
        return None
    left = round(seconds)
    parts: list[tuple[int, str]] = []
    for size, unit in _UNITS:
        if left >= size or (unit == "s" and not parts):
            parts.append((left // size, unit))
            left %= size
    most = 2 if parts[0][0] <= _ROOMY and parts[0][1] in ("d", "h") else 1
    return " ".join(f"{number} {unit}" for number, unit in parts[:most])


def _budget(line: Mapping[str, Any]) -> str | None:
    parts = []
    for limit in line["limits"]:
        held = f" (syncs wait {span(limit['held_s'])})" if limit["held_s"] else ""
        parts.append(f"{limit['name']} {limit['free']:,}/{limit['count']:,}{held}")
    return ", ".join(parts) or None


def _quotas(line: Mapping[str, Any]) -> str | None:
    parts = []
    for quota in line["quotas"]:
        total = f"/{quota['total']:,}" if quota["total"] is not None else ""
        parts.append(f"{quota['name']} {quota['remaining']:,}{total}")
    return ", ".join(parts) or None


def _running(pull: Mapping[str, Any]) -> str:
    read = f"{pull['read']:,}" + (f" of {pull['total']:,}" if pull["total"] is not None else "")
    parts = [f"{read} read in {span(pull['seconds'])}"]
    if pull["records_per_s"] is not None:
        parts.append(f"{pull['records_per_s']:,.0f}/s")
    if pull["left_s"] is not None:
        parts.append(f"about {span(pull['left_s'])} left")
    return ", ".join(parts)


def _trouble(name: str, line: Mapping[str, Any]) -> str:
    since = f" since {line['since'][:16].replace('T', ' ')}Z" if line["since"] else ""
    error = f": {line['error']}" if line["error"] else ""
    if line["state"] == "reauth_needed":
        return f"reauth needed: {name}{since}{error}; replace its credentials, then `hub check {name}`"
    if line["state"] == "degraded":
        retry = line["retry_at"][:19].replace("T", " ")
        return f"degraded: {name}{since}{error}; the next try is at {retry}Z, `hub check {name}` tries now"
    return f"error: {name}{error}"
