"""The connector: which stream is a table and which is files, and what each can do."""

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hub import (
    Absent,
    Action,
    Call,
    CannotTell,
    Checked,
    Connector,
    Field,
    Found,
    Invalid,
    Outcome,
    Page,
    Stream,
    Unsupported,
    act,
    fetch,
    find,
    pull,
)
from hub_legacy import scan, tables
from hub_legacy.database import Database
from hub_legacy.folder import Folder
from hub_legacy.options import TABLE_OPTIONS, LegacyConfig, is_files
from hub_legacy.verbs import LegacyVerb, verb_of

if TYPE_CHECKING:
    import requests


class LegacyConnector(Connector):
    """A SQL database, a drop folder, or both, as one connection. Nothing is opened before it is needed."""

    name = "legacy"
    Config = LegacyConfig
    sandbox = "hub_legacy.sandbox:LegacySandbox"
    table_options = TABLE_OPTIONS

    def __init__(self, config: LegacyConfig, transport: "requests.Session") -> None:
        super().__init__(config, transport)
        self._lock = threading.Lock()
        self._database: Database | None = None
        self._folder: Folder | None = None

    def database(self, what: str) -> Database:
        """Give the database. Raises Invalid naming `what` needs it."""
        url = self.config.database_url
        if url is None:
            raise Invalid(f"{what} is a table, and this connection has no database_url", code="unknown_stream")
        with self._lock:
            if self._database is None:
                self._database = Database(url.get_secret_value())
            return self._database

    def folder(self, what: str) -> Folder:
        """Give the folder. Raises Invalid naming `what` needs it."""
        if self.config.folder is None:
            raise Invalid(f"{what} means files, and this connection has no folder", code="unknown_stream")
        with self._lock:
            if self._folder is None:
                self._folder = Folder(self.config)
            return self._folder

    def check(self) -> Checked:
        names, notes = [], []
        if self.config.database_url is not None:
            database = self.database("check")
            notes.append(f"{len(database.names())} tables and views")
            names.append(database.account())
        if self.config.folder is not None:
            notes.append(f"{self.folder('check').count()} files in the folder")
            names.append(f"folder:{self.folder('check').place.label}")
        return Checked(" ".join(names), notes=tuple(notes))

    def describe(self, stream: str) -> list[Field]:
        if is_files(stream):
            return self.folder(stream).describe(stream)
        return tables.describe(self.database(stream).known(stream, anew=True))

    @pull("*", deletes="scan")
    def pull_any(self, stream: Stream, cursor: str | None) -> Iterator[Page]:
        if is_files(stream.name, stream.options.get("format")):
            yield from self.folder(stream.name).pull(stream, cursor)
        else:
            plan = tables.Plan(self.database(stream.name), stream, self.config, anew=True)
            yield from scan.pull(plan, cursor)

    @fetch("*")
    def fetch_any(self, stream: Stream, ids: Sequence[str]) -> Page:
        if is_files(stream.name, stream.options.get("format")):
            return self.folder(stream.name).fetch(stream, ids)
        return tables.fetch(tables.Plan(self.database(stream.name), stream, self.config), ids)

    @act("*", idempotency="ack")
    def do(self, action: Action, call: Call) -> Outcome:
        return self._verb(action, call).do()

    @find("*")
    def look_up(self, action: Action, call: Call) -> Found | Absent | CannotTell:
        return self._verb(action, call).find()

    def _verb(self, action: Action, call: Call) -> LegacyVerb:
        if call.verb is None:
            raise Unsupported(f'legacy: the mapping has no [actions."{action.name}"]')
        return verb_of(self, action.name, call, call.verb)

    def close(self) -> None:
        with self._lock:
            if self._database is not None:
                self._database.close()
            if self._folder is not None:
                self._folder.close()
            self._database = self._folder = None
