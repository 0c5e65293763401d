"""The sandbox itself: where the database and the folder lie, what is in them, and the admin endpoints beside."""

import csv
import io
import shutil
import sqlite3
import tempfile
import weakref
from contextlib import closing
from pathlib import Path
from typing import Any

from hub.sandbox import Request, Sandbox, SchemaChange, World
from hub_legacy.sandbox.mainframe import Mainframe, outbox
from hub_legacy.sandbox.schema import NAMES, TABLES, rows, stamp


class LegacySandbox(Sandbox):
    """
    A SQLite file and a folder instead of a vendor's API.

    `connect()` opens the database, `folder` is the drop folder. The HTTP side has only the admin endpoints. A request
    counts as received when the mainframe reads it.
    """

    name = "legacy"
    delimiter = ","

    def __init__(self, world: World | None = None, *, port: int = 0) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="deskhub-legacy-"))
        self._tidy = weakref.finalize(self, shutil.rmtree, self.directory, ignore_errors=True)
        self.database, self.folder = self.directory / "erp.db", self.directory / "drop"
        self.mainframe = Mainframe(self)
        super().__init__(world, port=port)

    def fill(self) -> None:
        with self.lock, closing(self.connect()) as database:
            database.execute("PRAGMA journal_mode = WAL")
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'orders'").fetchone():
                database.executescript(TABLES)
            database.execute("BEGIN IMMEDIATE")
            for name in NAMES:
                database.execute(f"DELETE FROM {name}")  # noqa: S608
            for table, row in rows(self.world):
                marks = ", ".join("?" * len(row))
                database.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))  # noqa: S608
            database.execute("COMMIT")
            self._fill_folder()
            self.mainframe.forget()

    def _fill_folder(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        outbox(self.folder)
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(("account_no", "name", "domain", "street", "city", "region", "zip", "country", "created"))
        for company in self.world.companies:
            country, _, city, code, region, *_ = company.place
            created = stamp(company.created)
            writer.writerow(
                (company.number, company.name, company.domain, "Industriestr. 1", city, region, code, country, created)
            )
        (self.folder / "accounts-2026.csv").write_text(text.getvalue(), "utf-8", newline="")

    def settings(self) -> dict[str, Any]:
        return {
            "connector": self.name,
            "database_url": f"sqlite:///{self.database}",
            "folder": str(self.folder),
            "settle_s": 0,
        }

    def schema(self, change: SchemaChange) -> bool:
        names = (change.stream, change.name, change.type)
        if change.do == "value" or not all(name.replace("_", "").isalnum() for name in names):
            return False  # a database has no enums that tell their words
        with self.lock, closing(self.connect()) as database:
            if change.do in ("remove", "retype"):
                database.execute(f"ALTER TABLE {change.stream} DROP COLUMN {change.name}")
            if change.do in ("add", "retype"):
                database.execute(f"ALTER TABLE {change.stream} ADD COLUMN {change.name} {change.type}")
        return True

    def connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.database, timeout=10, isolation_level=None)
        database.row_factory = sqlite3.Row
        return database

    def start(self) -> "LegacySandbox":
        super().start()
        self.mainframe.start()
        return self

    def stop(self) -> None:
        self.mainframe.stop()
        super().stop()
        self._tidy()

    def take(self, do: str, request: Request) -> str | None:
        """Take one fault of this sort for this request; give its whole word (`slow:2s`)."""
        for fault in self.faults:
            if fault.do.split(":")[0] == do and self.faulty(fault.do, request):
                return fault.do
        return None

    def is_booked(self, number: str) -> bool:
        return any(entry.key == number and entry.effect is not None for entry in self.ledger)
