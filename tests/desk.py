"""A desk whose pages tests put in by hand, under a mapping that they change."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hub import remap
from hub.config import ConnectionSettings
from hub.connector import Page
from hub.ingest import Counts, PageCommit, ingest
from hub.mapping import CompiledMapping, Source, compile_mapping
from hub.store import Sources, Store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAPPING = """
[tickets]
kind       = "ticket"
key        = "id"
updated_at = "changed"
where      = { shape = "ticket" }
deleted    = { state = "deleted" }
[tickets.fields]
subject      = "subject"
customer_ref = { ref = "people", from = "person" }
priority     = { from = "priority", values = { high = "high", low = "low" }, otherwise = "reject" }
[tickets.fields.status]
from   = "state"
values = { open = "open", closed = "closed" }

[notes]
stream = "tickets"
each   = "notes"
kind   = "message"
key    = "id"
where  = { draft = false }
[notes.fields]
ticket_ref = { ref = "tickets", from = "^.id" }
visibility = { from = "public", values = { true = "public", false = "internal" }, otherwise = "internal" }
body_text  = "text"

[people]
kind = "customer"
key  = "id"
[people.fields]
display_name = "name"
email        = "mail"
"""


@dataclass(frozen=True)
class Desk:
    """A store with one connection under a mapping, and the words to put pages into it."""

    store: Store
    mapping: CompiledMapping
    settings: ConnectionSettings
    name: str = "desk"

    def mapped_by(self, *changes: tuple[str, str]) -> "Desk":
        """Give the same desk after these changes of words of its mapping file."""
        text = self.mapping.source.text
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        return Desk(self.store, made(text), self.settings, self.name)

    def put(
        self, records: Any, *, stream: str = "tickets", minute: int = 0, advance: bool = True, **page: Any
    ) -> Counts:
        """Ingest a page asked for so many minutes after noon; without `advance` it was fetched by id."""
        found, mapping = Page(records=records, **page), self.mapping
        mapped, read_at = mapping.map_page(stream, found), NOON + timedelta(minutes=minute)
        commit = PageCommit(self.name, stream, mapped, found, read_at, mapping.revision, cursor=found.cursor)
        shares = {"advance": advance, "elements": mapping.elements(stream), "projection": mapping.projection(stream)}
        keep_raw = mapping.raw_retention(stream) != "none"
        return ingest(self.store, replace(commit, keep_raw=keep_raw, **shares))  # type: ignore[arg-type]

    def apply(self, **more: Any) -> dict[str, dict[str, Any]]:
        return remap.apply(self.store, self, **{"fuse": False} | more)

    def diff(self, **more: Any) -> dict[str, dict[str, Any]]:
        return remap.diff(self.store, self, **more)

    def rows(self, sql: str, *values: Any) -> list[Any]:
        with self.store.read() as tx:
            return tx.execute(sql, values).fetchall()

    def bodies(self, kind: str = "ticket") -> dict[str, Any]:
        """Give the living bodies of a kind by remote id."""
        rows = self.rows("SELECT remote_id, body FROM record WHERE kind = ? AND deleted_at IS NULL", kind)
        return {remote_id: json.loads(body) for remote_id, body in rows}

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Give the events and forget them."""
        with self.store.write() as tx:
            found = [(kind, json.loads(changes)) for kind, changes in tx.execute("SELECT kind, changes FROM event")]
            tx.execute("DELETE FROM event")
        return found

    def whole(self) -> set[str | None]:
        with self.store.read() as tx:
            return {one.whole for one in Sources.load(tx).by_stream[self.name, "tickets"]}


def made(text: str) -> CompiledMapping:
    return compile_mapping(Source(text, "mappings/desk.toml"))


def ticket(id: int, changed: int = 0, **more: Any) -> dict[str, Any]:
    time = (NOON - timedelta(days=1) + timedelta(minutes=changed)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"id": id, "shape": "ticket", "subject": "Hello", "title": "Other", "state": "open", "changed": time} | more


def counted(report: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in report.items() if isinstance(count, int) and count}
