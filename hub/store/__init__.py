"""
Databases, transactions, migrations, records, cursors: what is kept, and how it is written.

`Store` is what was synced (hub.db). The ledger opens its own with `Database(url, "ledger")`.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from hub.store.database import Branch, Database, Tx, is_postgres, version
from hub.store.health import Health, look
from hub.store.sources import Source, Sources
from hub.store.turns import turns_of

__all__ = ["Branch", "Database", "Health", "Source", "Sources", "Store", "Tx", "is_postgres", "look", "version"]


class Store:
    """The hub's own copy of what its connections hold. Safe to use from many threads."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.turns = turns_of(database)
        self._sources = Sources()

    @classmethod
    def open(cls, url: str) -> "Store":
        """Open the database, creating and migrating it on first use. Raises ConfigError, Temporary."""
        return cls(Database(url, "hub"))

    def write(self) -> AbstractContextManager[Tx]:
        """Open a write transaction (see Database.write)."""
        return self.database.write()

    def read(self) -> AbstractContextManager[Tx]:
        """Open a read transaction (see Database.read)."""
        return self.database.read()

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Give the rows of one statement that reads (see Database.ask)."""
        return self.database.ask(sql, parameters)

    def sources(self, tx: Tx) -> Sources:
        """Give the registry of tables as this transaction sees it."""
        if not self._sources.current(tx):
            self._sources = Sources.load(tx)
        return self._sources

    def close(self) -> None:
        """Close all connections to the database."""
        self.turns.close()
        self.database.close()
