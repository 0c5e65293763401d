"""
Databases, transactions, migrations, records, cursors: what is kept, and how it is written.

`Store` is hub.db: what was synced. The ledger opens its own file with `open_database(url, "ledger")`.
"""

from contextlib import AbstractContextManager

from hub.store.database import Branch, Database, Tx, open_database
from hub.store.sources import Source, Sources

__all__ = ["Branch", "Database", "Source", "Sources", "Store", "Tx", "open_database"]


class Store:
    """The hub's own copy of what its connections hold. Safe to use from many threads."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._sources = Sources()

    @classmethod
    def open(cls, url: str, *, read_only: bool = False) -> "Store":
        """Open hub.db, creating and migrating it on first use. Raises ConfigError, Temporary."""
        return cls(open_database(url, "hub", read_only=read_only))

    def write(self) -> AbstractContextManager[Tx]:
        """Open a write transaction (see Database.write)."""
        return self.database.write()

    def read(self) -> AbstractContextManager[Tx]:
        """Open a read transaction (see Database.read)."""
        return self.database.read()

    def sources(self, tx: Tx) -> Sources:
        """Give the registry of tables as this transaction sees it."""
        if not self._sources.current(tx):
            self._sources = Sources.load(tx)
        return self._sources

    def upgrade(self) -> None:
        """Bring the database to the newest version."""
        self.database.upgrade()

    def version(self) -> str | None:
        """Name the migration the database is at."""
        return self.database.version()

    def close(self) -> None:
        """Close all connections to the database."""
        self.database.close()
