"""An open hub: what every door gets ready-made."""

import inspect
import logging
import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from hub import perform, reads
from hub import sync as syncing
from hub.access import OPERATOR, OVERLAP, Keys, Principal, Terms
from hub.app import drifting, logs, remaps
from hub.app.setup import audit_key, ledger_url, private_database, traffic_url
from hub.app.status import status
from hub.app.syncs import Report, Syncs, check_streams, configured, unconfigured
from hub.app.webhooks import Webhooks
from hub.config import Settings, duration_s, load
from hub.connections import Breaker, Connection, Connections, Standings
from hub.errors import HubError, Invalid, Temporary, near
from hub.ledger import Ledger, freeze, frozen, seen, seen_in, unfreeze
from hub.plugins import Plugins, discover
from hub.policy import Policy, PolicyFile
from hub.records import PREFIXES
from hub.store import Store, is_postgres
from hub.store.database import file_of
from hub.store.traffic import Traffic
from hub.vault import Vault

log = logging.getLogger("hub.app")
_RUN_ID = re.compile(r"run_[0-9a-v]{20,40}")
_KINDS = {prefix: kind.name for prefix, kind in PREFIXES.items()}


class App:
    """
    Settings, plugins, databases, connections and performer of one hub. Thread-safe; use as a context manager.

    Databases are created and connections opened when first used.
    """

    def __init__(self, settings: Settings, plugins: Plugins | None = None) -> None:
        self.settings = settings
        self.vault = Vault()
        self.plugins = discover() if plugins is None else plugins
        self.standings = Standings(lambda: self.store, _breaker(settings), there=self._stored)
        self.connections = Connections(
            settings, self.plugins, self.vault, traffic=lambda: self.traffic, standings=self.standings
        )

    @classmethod
    def open(cls, config: Path | str | Settings | None = None) -> "App":
        """Open the hub that a config file (or ready settings) describes. Raises ConfigError."""
        return cls(config if isinstance(config, Settings) else load(config))

    def _stored(self) -> bool:
        url = self.settings.hub.database_url
        return "store" in vars(self) or is_postgres(url) or file_of(url).exists()

    def log_to_stderr(self, *, service: bool = False) -> None:
        """Send the log to stderr, as commands do; a library that opens a hub keeps its own logging."""
        logs.configure(self.settings.hub.log_level, self.vault, service=service)

    def __enter__(self) -> "App":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End background syncs, then close connections and databases."""
        for name in ("syncs", "webhooks"):
            if name in vars(self):
                getattr(self, name).in_background(False)
        if "performer" in vars(self):
            self.performer.close()
        self.connections.close()
        for name in ("store", "ledger", "traffic"):
            if name in vars(self):
                getattr(self, name).close()

    @cached_property
    def store(self) -> Store:
        private_database(self.settings.hub.database_url)
        return Store.open(self.settings.hub.database_url)

    @cached_property
    def traffic(self) -> Traffic:
        url = traffic_url(self.settings)
        private_database(url)
        return Traffic(url)

    @cached_property
    def ledger(self) -> Ledger:
        private_database(ledger_url(self.settings))
        lease_s = duration_s(self.settings.hub.engine_lease)
        return Ledger.open(ledger_url(self.settings), lease_s=lease_s, audit_key=audit_key(self.settings))

    @cached_property
    def keys(self) -> Keys:
        actions = list(self.plugins.actions.values())
        names = self.connections.names()
        return Keys(self.ledger.database, actions=actions, audit=self.ledger.audit, connections=names)

    @cached_property
    def policy(self) -> PolicyFile:
        """The policy, read again whenever its file changes. Raises ConfigError where it is wrong at the start."""
        return PolicyFile(Path(near(self.settings.hub.policy)), actions=self.plugins.actions)

    @cached_property
    def performer(self) -> perform.Performer:
        policy = self.policy
        policy.tell(self._policy_loaded)
        around = perform.Neighbours(
            reads.resolve_target,
            reads.find_customer,
            reads.get,
            syncing.fetch,
            reads.list_,
            self.keys.principal,
            reads.waiting,
        )
        return perform.Performer(self.store, self.ledger, self.connections, policy, self.plugins, neighbours=around)

    def _policy_loaded(self, policy: Policy, text: bytes | None) -> None:
        self.ledger.audit.note("policy_loaded", rules=[rule.name for rule in policy.rules], hashed={"policy": text})

    @cached_property
    def syncs(self) -> Syncs:
        return Syncs(self.store, self.connections, self.traffic)

    @cached_property
    def webhooks(self) -> Webhooks:
        return Webhooks(self.store, self.connections)

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

    def unconfigured(self) -> str:
        """Say that there is no connection, and what to do."""
        return f"{unconfigured(self.settings)}; `hub init` writes an example, `hub sandbox up` imitations to try"

    def _checked(self, name: str) -> dict[str, Any]:
        report: dict[str, Any] = {"ok": False, "connector": self.settings.connections[name].connector}
        try:
            check_streams(self.settings, name, self.connections.open(name).mapping.streams())
            report |= asdict(self.connections.check(name)) | {"ok": True, "error": None, "code": None}
        except HubError as exc:
            report |= {"error": self.vault.scrub(exc.message), "code": exc.error_code}
        return report

    def act(self, request: perform.Request, principal: Principal = OPERATOR) -> dict[str, Any]:
        """Run one action and give its result."""
        result = self.performer.run(request, principal).as_dict()
        if result.get("answer"):
            self.ledger.audit.saw(seen_in(principal.id, result["answer"], _KINDS))
        return result

    def run(self, run_id: str) -> dict[str, Any]:
        """Give the result of a run. Raises NotFound."""
        return self.performer.result(run_id).as_dict()

    def approve(self, reference: str, principal: Principal = OPERATOR, *, seen: str | None = None) -> dict[str, Any]:
        """Approve a run and do it; `seen` is the plan's hash as it was looked at. Raises Refused, Conflict."""
        approving = self.performer.approving
        asker = self.keys.principal(approving.approvals.find(reference).asked_by)
        return approving.approve(reference, principal, asker=asker, seen=seen).as_dict()

    def deny(self, reference: str, principal: Principal = OPERATOR, *, reason: str | None = None) -> dict[str, Any]:
        """Deny a run that waits. Raises Refused, Conflict."""
        return self.performer.approving.deny(reference, principal, reason=reason).as_dict()

    def cancel(self, run_id: str, principal: Principal = OPERATOR) -> dict[str, Any]:
        """Take back a run that waits. Raises Refused, Conflict."""
        return self.performer.approving.cancel(run_id, principal).as_dict()

    def reverse(self, run_id: str, principal: Principal = OPERATOR) -> dict[str, Any]:
        """Undo what a run did. Raises Conflict where it cannot be undone."""
        return self.performer.reversing.reverse(run_id, principal).as_dict()

    def approvals(self, *, pending: bool = True) -> dict[str, Any]:
        """List what waits for a person, with what the run would do."""
        found = self.performer.approving.approvals.list(pending=pending)
        names = self._names()
        lines = []
        for approval in found:
            run = self.ledger.get(approval.run_id)
            about = {"action": run.action, "target_id": run.target_id, "connection": run.connection}
            money = {"amount": run.amount_minor, "currency": run.currency} if run.currency else None
            asker = {"asked_by_name": names.get(approval.asked_by), "decided_by_name": names.get(approval.decided_by)}
            lines.append(perform.shown(approval) | about | {"money": money} | asker)
        return {"data": lines}

    def freeze(self, principal: Principal = OPERATOR, *, reason: str | None = None) -> dict[str, Any]:
        """Hold back all money and all that is irreversible. Raises Conflict where it is held back already."""
        return _plain(freeze(self.ledger.database, self.ledger.audit, by=principal.name, reason=reason))

    def unfreeze(self, principal: Principal = OPERATOR) -> dict[str, Any]:
        """Let money move again. Raises Conflict where nothing is held back."""
        return _plain(unfreeze(self.ledger.database, self.ledger.audit, by=principal.name))

    def frozen(self) -> dict[str, Any] | None:
        """Tell who froze money and when, None where it moves."""
        on = frozen(self.ledger.database)
        return _plain(on) if on else None

    def _names(self) -> dict[str | None, str]:
        return {OPERATOR.id: OPERATOR.name, **{key.id: key.name for key in self.keys.list()}}

    def runs(self, *, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """List runs, the newest first, without their effects."""
        if cursor is not None and not _RUN_ID.fullmatch(cursor):
            raise Invalid("cursor: expected next_cursor of the page before", field_path="cursor")
        found = self.ledger.runs(limit=limit + 1, before=cursor)
        names = self._names()
        lines = [
            {
                "run_id": run.id,
                "action": run.action,
                "status": run.state,
                "connection": run.connection,
                "target_id": run.target_id,
                "principal": run.principal,
                "principal_name": names.get(run.principal),
                "created_at": run.created_at,
                "updated_at": run.updated_at,
            }
            for run in found[:limit]
        ]
        return {"data": lines, "next_cursor": lines[-1]["run_id"] if len(found) > limit else None}

    def describe_actions(self) -> list[dict[str, Any]]:
        """
        List the actions with input schema and risk, and the connections that can do each.

        `special` names the inputs that only some systems heed, each with the connections that do.
        """
        able = [connection for name in self.connections.names() if (connection := self._opened(name))]
        return [
            {
                "name": action.name,
                "title": action.title,
                "description": inspect.getdoc(action),
                "risk": action.risk.value,
                "on": action.on.kind if action.on else None,
                "reversal": action.reversal,
                "connections": [connection.name for connection in able if connection.can(action.needs or action.name)],
                "special": {
                    name: [connection.name for connection in able if name in connection.takes(action.name)]
                    for name in action.special
                },
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

    def receive(self, connection: str, delivery_id: str) -> None:
        """Fetch what a webhook named: the body of the engine's job `receive`. See Webhooks.receive."""
        self.webhooks.receive(connection, delivery_id)

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
        wait_s: float = 0.0,
        progress: Callable[[Any], None] | None = None,
    ) -> dict[str, Report]:
        """Sync connections (all by default) and give each one's report by table. See Syncs.run."""
        return self.syncs.run(names, streams=streams, full=full, wait_s=wait_s, progress=progress)

    def get(self, kind: str, id: str, *, include: Sequence[str] = (), principal: Principal = OPERATOR) -> bytes | None:
        """Give an entity as JSON, ready to send; the audit tells that the principal saw it."""
        body = reads.get(self.store, kind, id, tuple(include))
        if body is not None:
            self.ledger.audit.saw(seen(principal.id, kind, body))
        return body

    def list(
        self,
        kind: str,
        filters: dict[str, str],
        *,
        limit: int,
        cursor: str | None = None,
        principal: Principal = OPERATOR,
    ) -> bytes:
        """
        Give a page of entities as JSON, ready to send; the audit tells that the principal saw them.

        Raises Invalid for a filter or cursor that cannot be.
        """
        body = reads.list_(self.store, kind, filters, limit, cursor)
        self.ledger.audit.saw(seen(principal.id, kind, body))
        return body

    def filters(self, kind: str) -> frozenset[str]:
        """Name the filters that a list of this kind takes."""
        return reads.filters(kind)

    def status(self) -> dict[str, dict[str, Any]]:
        """Say for each connection how it stands, what is stored of its streams and as of when. See app.status."""
        behind, drifted = remaps.behind(self, self.connections.names()), drifting.brief(self)
        found = status(self.store, self.connections, self.standings, self.traffic)
        return {name: line | {"behind": behind[name], "drift": drifted.get(name)} for name, line in found.items()}

    def create_key(self, name: str, scopes: Sequence[str], terms: Terms | None = None) -> dict[str, Any]:
        """Make an API key; `key` is told this once."""
        token, key = self.keys.create(name, scopes, terms or Terms())
        return {"key": token, **asdict(key)}

    def rotate_key(self, id_or_name: str, *, overlap: str = OVERLAP) -> dict[str, Any]:
        """Give an API key another token, told this once; the one before is good for `overlap` more."""
        token, key = self.keys.rotate(id_or_name, overlap=overlap)
        return {"key": token, "overlap": overlap, **asdict(key)}


def _breaker(settings: Settings) -> Breaker:
    hub = settings.hub
    return Breaker(hub.breaker_failures, duration_s(hub.breaker_pause) * 1000, duration_s(hub.breaker_longest) * 1000)


def _plain(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(value)
    return found
