"""The settings themselves: every key with its type, default and meaning."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_DURATION = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration_s(text: str) -> int:
    """Turn "90s", "5m", "4h" or "365d" into seconds. Raises ValueError."""
    found = _DURATION.fullmatch(text.strip())
    if not found or int(found[1]) == 0:
        raise ValueError('expected a duration such as "90s", "5m", "4h" or "365d"')
    return int(found[1]) * _SECONDS[found[2]]


def _duration(text: str) -> str:
    duration_s(text)
    return text


def _since(text: str) -> str:
    since_time(text, datetime.now(UTC))
    return text


def since_time(text: str, now: datetime) -> datetime:
    """Turn "365d" (before `now`) or a date such as "2025-01-31" into an aware time. Raises ValueError."""
    if _DURATION.fullmatch(text.strip()):
        return now - timedelta(seconds=duration_s(text))
    try:
        when = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ValueError('expected a duration such as "365d" or a date such as "2025-01-31"') from exc
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _http_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fine = False
    if not fine:
        raise ValueError("expected a URL such as http://127.0.0.1:9102")
    return text.rstrip("/")


def _database_url(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme.partition("+")[0] not in ("sqlite", "postgresql") or not rest.strip("/"):
        raise ValueError("expected sqlite:///hub.db or postgresql://user@host/name")
    return text


DatabaseUrl = Annotated[str, AfterValidator(_database_url)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HubSettings(_Table):
    """The hub itself. Every key has a default; `load` makes paths absolute and fills in the URLs."""

    database_url: DatabaseUrl = Field("sqlite:///hub.db", description="synced data; or postgresql://…")
    ledger_url: DatabaseUrl | None = Field(
        None,
        description="runs, keys and audit; by default ledger.db beside the database",
        examples=["sqlite:///ledger.db"],
    )
    engine_url: DatabaseUrl | None = Field(
        None,
        description="who works on what; by default engine.db beside the database. Postgres for several workers",
        examples=["sqlite:///engine.db"],
    )
    engine_lease: Annotated[str, AfterValidator(_duration)] = Field(
        "30s", description="a process that is silent this long loses its jobs and runs to the others"
    )
    breaker_failures: int = Field(
        5, ge=1, le=1000, description="failures in a row after which a connection is left alone for a while"
    )
    breaker_pause: Annotated[str, AfterValidator(_duration)] = Field(
        "30s", description="for how long; doubled each time it fails again"
    )
    breaker_longest: Annotated[str, AfterValidator(_duration)] = Field("15m", description="and for how long at most")
    audit_key_file: Path | None = Field(
        None,
        description="seals the audit; by default audit.key beside the ledger. Best on another disk",
        examples=["audit.key"],
    )
    mappings_dir: Path = Field(
        Path("mappings"), description="your mappings, <connector>.toml, before the built-in ones"
    )
    policy: Path = Field(Path("policy.toml"), description="which actions are allowed; without it money is refused")
    host: str = Field("127.0.0.1", description="where `hub serve` listens")
    port: int = Field(8321, ge=0, le=65535, description="0 takes a free one")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "warning", description="debug, info, warning or error"
    )


class SyncSettings(_Table):
    """What of a connection is pulled, and how often."""

    every: Annotated[str, AfterValidator(_duration)] | None = Field(
        None, description="for `hub worker`", examples=["5m"]
    )
    streams: list[str] | None = Field(None, description="default: all that the mapping names", examples=[["tickets"]])
    since: Annotated[str, AfterValidator(_since)] | None = Field(
        None, description="age or date; default: from the beginning", examples=["365d"]
    )
    fuse: float = Field(
        0.2, ge=0, le=1, description="share of a table that a full scan may delete at once before it asks a person"
    )
    ahead: bool = Field(
        False,
        description="take the next page while one is written, where the connector can; a crash may repeat two pages",
    )


class LimitSettings(_Table):
    """How the vendor's limits are kept; the classes and their counts are the connector's own."""

    enforce: Literal["auto", "always"] = Field(
        "auto", description='"always": even where base_url is this machine, which by default is no vendor'
    )
    counts: dict[str, Annotated[int, Field(ge=1, le=100_000)]] = Field(
        default_factory=dict,
        description="requests per window by class, where the account's plan has others than the connector's",
        examples=[{"api": 700}],
    )


class ConnectionSettings(_Table):
    """One connection. `options` holds the keys that belong to its connector, checked by `connector_config`."""

    connector: str = Field(description="which plugin speaks to it")
    mapping: Path | None = Field(None, description="a mapping file of its own", examples=["mappings/my.toml"])
    base_url: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None, description="sandbox, proxy or test server", examples=["http://127.0.0.1:9102"]
    )
    sync: SyncSettings = SyncSettings()
    limits: LimitSettings = LimitSettings()
    live_actions: bool = Field(False, strict=True, description="true permits money to move in a live account")
    options: dict[str, Any] = Field(default_factory=dict)
    from_environment: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Settings:
    """All settings. `path` is the file they came from, or None; relative paths start at `directory`."""

    hub: HubSettings = field(default_factory=HubSettings)
    connections: dict[str, ConnectionSettings] = field(default_factory=dict)
    path: Path | None = None
    directory: Path = field(default_factory=Path.cwd)


class HasConfig(Protocol):
    """What `connector_config` needs of a connector class."""

    name: str
    Config: type[BaseModel]
