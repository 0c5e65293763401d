"""Syncs that somebody asked for and no process has begun: rows of the same log, with the request as their report."""

import json
import secrets
from typing import Any

from hub.store import Store, clock


def ask(store: Store, connection: str, request: dict[str, Any]) -> str:
    """Note that a sync is wanted; give its id."""
    made = f"syn_{secrets.token_hex(12)}"
    with store.write() as tx:
        tx.execute(
            "INSERT INTO sync_run (id, connection, state, started_at, report) VALUES (?, ?, 'queued', ?, ?)",
            (made, connection, clock.text(clock.now()), json.dumps({"request": request})),
        )
    return made


def waiting(store: Store) -> list[str]:
    """Name the syncs that nobody has begun, oldest first."""
    with store.read() as tx:
        return [row[0] for row in tx.execute("SELECT id FROM sync_run WHERE state = 'queued' ORDER BY started_at, id")]


def waiting_for(store: Store, connection: str, request: dict[str, Any]) -> str | None:
    """Give the id of a sync that was asked for in the same words and has not begun."""
    sql = "SELECT id FROM sync_run WHERE state = 'queued' AND connection = ? AND report = ?"
    with store.read() as tx:
        row = tx.execute(sql, (connection, json.dumps({"request": request}))).fetchone()
    return str(row[0]) if row else None


def take(store: Store, sync_id: str) -> tuple[str, dict[str, Any]] | None:
    """Begin a sync that waits: give its connection and request, or None if another process was first."""
    with store.write() as tx:
        sql = "SELECT connection, report FROM sync_run WHERE id = ? AND state = 'queued'"
        row = tx.execute(sql, (sync_id,)).fetchone()
        if row is None:
            return None
        sql = "UPDATE sync_run SET state = 'running', started_at = ?, report = NULL WHERE id = ?"
        tx.execute(sql, (clock.text(clock.now()), sync_id))
    return str(row[0]), json.loads(row[1])["request"]
