"""Acknowledgements: what a system without an API says became of a request, in a table or in a file."""

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from hub import Ack, Conflict, Temporary
from hub_legacy.options import is_files
from hub_legacy.places import Entry
from hub_legacy.values import same

if TYPE_CHECKING:
    from hub_legacy.connector import LegacyConnector

Said = Literal["done", "failed", "nothing"]
CODES = ("reason_code", "error_code", "reject_code", "code")


class Acks:
    """Where the acknowledgement of one request is looked for. `code` is the system's own, once it refused."""

    def __init__(self, connector: "LegacyConnector", ack: Ack) -> None:
        self.connector, self.ack = connector, ack
        self.code: str | None = None
        self._seen: set[Entry] = set()

    def check(self) -> None:
        """See that the table has the columns that the mapping names. Raises Invalid."""
        if is_files(self.ack.table):
            self.connector.folder(f"ack: {self.ack.table}")
            return
        known = self.connector.database(f"ack: {self.ack.table}").known(self.ack.table)
        for name in (*self.ack.where, *self.ack.done, *self.ack.failed):
            known.need(name, "ack")

    def wait(self, seconds: float) -> Said:
        """Look, again and again with growing pauses, until the system said something or the time is over."""
        until, pause = time.monotonic() + min(seconds, self.ack.within_s), 0.02
        while True:
            said = self.look()
            left = until - time.monotonic()
            if said != "nothing" or left <= 0:
                return said
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 1.0)

    def look(self) -> Said:
        """Look once. Raises Conflict if rows of one request disagree."""
        said: set[Said] = set()
        for row in self._rows():
            if _holds(row, self.ack.failed):
                said.add("failed")
                self.code = _code(row, self.ack.failed)
            elif _holds(row, self.ack.done):
                said.add("done")
        if len(said) > 1:
            raise Conflict(f"ack: {self.ack.table} says both done and failed of one request")
        return said.pop() if said else "nothing"

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        return self._rows_of_files() if is_files(self.ack.table) else self._rows_of_table()

    def _rows_of_table(self) -> Iterator[Mapping[str, Any]]:
        from sqlalchemy import select

        from hub_legacy.statements import condition

        database = self.connector.database(self.ack.table)
        known = database.known(self.ack.table)
        codes = [c for name in CODES if (c := known.column(name)) is not None]
        named = [known.need(name, "ack") for name in (*self.ack.done, *self.ack.failed)]
        columns = list({column.name: column for column in (*named, *codes)}.values())
        query = select(*columns).where(condition(known, self.ack.where)).limit(20)
        with database.reading(f"reading {self.ack.table}") as connection:
            rows = connection.execute(query).mappings().fetchall()
        asked = {known.need(name, "ack").name: name for name in (*self.ack.done, *self.ack.failed)}
        return iter([{asked.get(name, name): value for name, value in row.items()} for row in rows])

    def _rows_of_files(self) -> Iterator[Mapping[str, Any]]:
        folder = self.connector.folder(self.ack.table)
        try:
            for entry, rows in folder.rows(self.ack.table):
                if entry in self._seen:
                    continue
                found = False
                for row in rows:
                    if _holds(row, self.ack.where):
                        found = True
                        yield row
                if not found and folder.is_settled(entry):
                    self._seen.add(entry)
        except OSError as exc:
            raise Temporary(f"ack: {self.ack.table} cannot be read now ({type(exc).__name__})") from exc


def _holds(row: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    def one(name: str, value: Any) -> bool:
        return any(same(row.get(name), v) for v in (value if isinstance(value, list) else [value]))

    return bool(wanted) and all(one(name, value) for name, value in wanted.items())


def _code(row: Mapping[str, Any], failed: Mapping[str, Any]) -> str:
    """Give the system's own word for why: a code column where there is one, else the status."""
    words = [row.get(name) for name in CODES] + [row.get(name) for name in failed]
    for word in words:
        text = str(word) if word is not None else ""
        if text and len(text) <= 40 and all(sign.isalnum() or sign in "_-" for sign in text):
            return text
    return "FAILED"
