"""An open hub: what every door gets ready-made."""

import inspect
import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from hub import perform, reads
from hub import sync as syncing
from hub.access import OPERATOR, Keys, Principal
from hub.app import logs
from hub.app.setup import ledger_url
from hub.app.syncs import Report, Syncs, configured
from hub.config import Settings, load
from hub.connections import Connection, Connections
from hub.errors import HubError, Temporary
from hub.ledger import Ledger
from hub.plugins import Plugins, discover
from hub.policy import load_policy
from hub.store import Store
from hub.vault import Vault

log = logging.getLogger("hub.app")


class App:
    """
    Settings, plugins, databases, connections and performer of one hub. Thread-safe; use as a context manager.

    Databases are created and connections opened when first used.
    """

    def __init__(self, settings: Settings, plugins: Plugins | None = None) -> None:
        self.settings = settings
        self.vault = Vault()
        self.plugins = discover() if plugins is None else plugins
        self.connections = Connections(settings, self.plugins, self.vault)

    @classmethod
    def open(cls, config: Path | str | Settings | None = None) -> "App":
        """Open the hub that a config file (or ready settings) describes. Raises ConfigError."""
        return cls(config if isinstance(config, Settings) else load(config))

    def log_to_stderr(self, *, service: bool = False) -> None:
        """Send the log to stderr, as commands do; a library that opens a hub keeps its own logging."""
        logs.configure(self.settings.hub.log_level, self.vault, service=service)

    def __enter__(self) -> "App":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End background syncs, then close connections and databases."""
        if "syncs" in vars(self):
            self.syncs.in_background(False)
        self.connections.close()
        for name in ("store", "ledger"):
            if name in vars(self):
                getattr(self, name).close()

    @cached_property
    def store(self) -> Store:
        return Store.open(self.settings.hub.database_url)

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger.open(ledger_url(self.settings))

    @cached_property
    def keys(self) -> Keys:
        return Keys(self.ledger.database, actions=list(self.plugins.actions.values()))

    @cached_property
    def performer(self) -> perform.Performer:
        policy = load_policy(self.settings.hub.policy)
        near = perform.Neighbours(reads.resolve_target, reads.find_customer, reads.get, syncing.fetch)
        return perform.Performer(self.store, self.ledger, self.connections, policy, self.plugins, neighbours=near)

    @cached_property
    def syncs(self) -> Syncs:
        return Syncs(self.store, self.connections)

    def warm(self) -> None:
        """Open what a server needs before its first request. Raises ConfigError; a broken connection is only told."""
        self.ready()
        self.performer  # noqa: B018 - reads the policy
        for name in self.connections.names():
            self._opened(name)

    def check(self, names: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
        """Try connections (all by default) with one cheap read each. Raises ConfigError for an unknown name."""
        for name in names or ():
            if name not in self.connections.names():
                self.connections.open(name)
        return {name: self._checked(name) for name in names or configured(self.connections)}

    def _checked(self, name: str) -> dict[str, Any]:
        report: dict[str, Any] = {"ok": False, "connector": self.settings.connections[name].connector}
        try:
            report |= asdict(self.connections.check(name)) | {"ok": True, "error": None, "code": None}
        except HubError as exc:
            report |= {"error": self.vault.scrub(exc.message), "code": exc.error_code}
        except Exception as exc:
            log.warning("check of %s failed", name, exc_info=exc)
            report |= {"error": f"{name}: the connector failed ({type(exc).__name__})", "code": "internal"}
        return report

    def act(self, request: perform.Request, principal: Principal = OPERATOR) -> dict[str, Any]:
        """Run one action and give its result."""
        return self.performer.run(request, principal).as_dict()

    def run(self, run_id: str) -> dict[str, Any]:
        """Give the result of a run. Raises NotFound."""
        return self.performer.result(run_id).as_dict()

    def runs(self, *, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """List runs, the newest first, without their effects."""
        found = self.ledger.runs(limit=limit + 1, before=cursor)
        lines = [
            {
                "run_id": run.id,
                "action": run.action,
                "status": run.state,
                "connection": run.connection,
                "target_id": run.target_id,
                "principal": run.principal,
                "created_at": run.created_at,
                "updated_at": run.updated_at,
            }
            for run in found[:limit]
        ]
        return {"data": lines, "next_cursor": lines[-1]["run_id"] if len(found) > limit else None}

    def describe_actions(self) -> list[dict[str, Any]]:
        """List the actions with input schema and risk, and the connections that can do each."""
        able = [connection for name in self.connections.names() if (connection := self._opened(name))]
        return [
            {
                "name": action.name,
                "title": action.title,
                "description": inspect.getdoc(action),
                "risk": action.risk.value,
                "on": action.on.kind if action.on else None,
                "reversal": action.reversal,
                "connections": [connection.name for connection in able if connection.can(action.name)],
                "input": action.model_json_schema(),
            }
            for action in self.plugins.actions.values()
        ]

    def _opened(self, name: str) -> Connection | None:
        try:
            return self.connections.open(name)
        except HubError as exc:
            log.warning("%s cannot be opened: %s", name, exc.message)
            return None

    def principal(self, key: str) -> Principal:
        """Say whose API key this is. Raises Unauthorized."""
        return self.keys.verify(key)

    def ready(self) -> dict[str, str | None]:
        """Read from both databases; give their versions. Raises HubError where one does not answer."""
        found = {}
        for name, database in (("hub", self.store.database), ("ledger", self.ledger.database)):
            try:
                with database.read() as tx:
                    tx.execute("SELECT 1").fetchone()
            except sqlite3.Error as exc:
                raise Temporary(f"the database {name} does not answer: {type(exc).__name__}") from exc
            found[name] = database.version()
        return found

    def sync(
        self,
        names: Sequence[str] | None = None,
        *,
        streams: Sequence[str] | None = None,
        full: bool = False,
        progress: Callable[[Any], None] | None = None,
    ) -> dict[str, Report]:
        """Sync connections (all by default) and give each one's report by table. See Syncs.run."""
        return self.syncs.run(names, streams=streams, full=full, progress=progress)

    def get(self, kind: str, id: str, *, include: Sequence[str] = ()) -> bytes | None:
        """Give an entity as JSON, ready to send."""
        return reads.get(self.store, kind, id, tuple(include))

    def list(self, kind: str, filters: dict[str, str], *, limit: int, cursor: str | None = None) -> bytes:
        """Give a page of entities as JSON, ready to send. Raises Invalid for a filter or cursor that cannot be."""
        return reads.list_(self.store, kind, filters, limit, cursor)

    def filters(self, kind: str) -> frozenset[str]:
        """Name the filters that a list of this kind takes."""
        return reads.filters(kind)

    def status(self) -> dict[str, dict[str, Any]]:
        """Say for each connection what is stored of its streams, and as of when."""
        known = reads.freshness(self.store)
        return {
            name: {
                "connector": connection.connector,
                "every": connection.sync.every,
                "live_actions": connection.live_actions,
                "streams": known.get(name, {}),
            }
            for name, connection in self.settings.connections.items()
        }

    def create_key(self, name: str, scopes: Sequence[str]) -> dict[str, Any]:
        """Make an API key; `key` is told this once."""
        token, key = self.keys.create(name, scopes)
        return {"key": token, **asdict(key)}
