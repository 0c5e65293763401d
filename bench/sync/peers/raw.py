"""
The raw limit: decode the used members typed, write them with executemany or COPY, a commit a page, nothing else.

`python raw.py DATABASE URL [payload]`; with `payload` the vendor's own bytes of each ticket are stored too.
"""

import sqlite3
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
from meter import PRAGMAS, Meter, bodies

COLUMNS = ("id", "subject", "description", "status", "priority", "type", "channel", "requester_id", "assignee_id",
           "organization_id", "group_id", "external_id", "tags", "created_at", "updated_at")  # fmt: skip


class Via(msgspec.Struct):
    channel: str | None = None


class Ticket(msgspec.Struct):
    id: int
    via: Via
    subject: str | None = None
    description: str | None = None
    status: str | None = None
    priority: str | None = None
    type: str | None = None
    requester_id: int | None = None
    assignee_id: int | None = None
    organization_id: int | None = None
    group_id: int | None = None
    external_id: str | None = None
    tags: list[str] = []
    created_at: str | None = None
    updated_at: str | None = None


class Page(msgspec.Struct):
    tickets: list[Ticket]


class Raws(msgspec.Struct):
    tickets: list[msgspec.Raw]


def pages(url: str, *, payload: bool) -> Iterator[list[tuple[Any, ...]]]:
    """Give the rows of page after page."""
    typed, split = msgspec.json.Decoder(Page).decode, msgspec.json.Decoder(Raws).decode
    for body in bodies(url):
        rows = [
            (t.id, t.subject, t.description, t.status, t.priority, t.type, t.via.channel, t.requester_id, t.assignee_id,
             t.organization_id, t.group_id, t.external_id, " ".join(t.tags), t.created_at, t.updated_at)
            for t in typed(body).tickets
        ]  # fmt: skip
        if payload:
            rows = [(*row, bytes(raw)) for row, raw in zip(rows, split(body).tickets, strict=True)]
        yield rows


def into_sqlite(path: str, url: str, *, payload: bool) -> int:
    """Insert everything into a file."""
    database = sqlite3.connect(path, isolation_level=None)
    for pragma in PRAGMAS:
        database.execute(f"PRAGMA {pragma}")
    columns = [*COLUMNS, *(["payload"] if payload else [])]
    database.execute(f"CREATE TABLE tickets (id INTEGER PRIMARY KEY, {', '.join(columns[1:])})")
    insert = f"INSERT INTO tickets VALUES ({', '.join('?' * len(columns))})"
    count = 0
    for rows in pages(url, payload=payload):
        database.execute("BEGIN IMMEDIATE")
        database.executemany(insert, rows)
        database.execute("COMMIT")
        count += len(rows)
    database.close()
    return count


def into_postgres(dsn: str, url: str, *, payload: bool) -> int:
    """Copy everything into a table."""
    import psycopg

    with psycopg.connect(dsn, autocommit=True, options="-c synchronous_commit=off") as database:
        database.execute("DROP TABLE IF EXISTS raw_tickets")
        types = {"id": "bigint PRIMARY KEY"} | dict.fromkeys(COLUMNS[7:11], "bigint")
        columns = [f"{name} {types.get(name, 'text')}" for name in COLUMNS] + (["payload bytea"] if payload else [])
        database.execute(f"CREATE TABLE raw_tickets ({', '.join(columns)})")
        count = 0
        for rows in pages(url, payload=payload):
            with database.transaction(), database.cursor().copy("COPY raw_tickets FROM STDIN") as lines:
                for row in rows:
                    lines.write_row(row)
            count += len(rows)
    return count


def main() -> None:
    database, url, payload = sys.argv[1], sys.argv[2], "payload" in sys.argv[3:]
    write = into_postgres if database.startswith("postgresql://") else into_sqlite
    meter = Meter()
    meter.told(write(database, url, payload=payload))


if __name__ == "__main__":
    main()
