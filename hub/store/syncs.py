"""The log of syncs that /v1/syncs answers from."""

import json
import secrets
from typing import Any

from hub.store import Store, clock
from hub.store.database import Tx

_COLUMNS = "id, connection, state, started_at, finished_at, report"


def start(store: Store, connection: str) -> str:
    """Note that a sync of a connection begins; give its id."""
    made = f"syn_{secrets.token_hex(12)}"
    with store.write() as tx:
        tx.execute(
            "INSERT INTO sync_run (id, connection, state, started_at) VALUES (?, ?, 'running', ?)",
            (made, connection, clock.text(clock.now())),
        )
    return made


def finish(store: Store, sync_id: str, report: dict[str, Any]) -> None:
    """Note how a sync ended: `failed` if a table reports an error, else `succeeded`."""
    state = "failed" if any(table.get("error") for table in report.values()) else "succeeded"
    _close(store, sync_id, state, report)


def broke(store: Store, sync_id: str, error: str) -> None:
    """Note that a sync ended before it could report by table."""
    _close(store, sync_id, "failed", {"error": error})


def one(store: Store, sync_id: str) -> dict[str, Any] | None:
    """Give a sync, or None."""
    with store.read() as tx:
        row = tx.execute(f"SELECT {_COLUMNS} FROM sync_run WHERE id = ?", (sync_id,)).fetchone()  # noqa: S608
    return _shown(row) if row else None


def latest(store: Store, limit: int = 50) -> list[dict[str, Any]]:
    """Give the newest syncs first."""
    sql = f"SELECT {_COLUMNS} FROM sync_run ORDER BY started_at DESC, id LIMIT ?"  # noqa: S608
    with store.read() as tx:
        return [_shown(row) for row in tx.execute(sql, (limit,))]


def abandon(tx: Tx, at: str) -> None:
    """Mark syncs that a stopped process left running; call it where no other process syncs."""
    tx.execute("UPDATE sync_run SET state = 'interrupted', finished_at = ? WHERE state = 'running'", (at,))


def _close(store: Store, sync_id: str, state: str, report: dict[str, Any]) -> None:
    with store.write() as tx:
        tx.execute(
            "UPDATE sync_run SET state = ?, finished_at = ?, report = ? WHERE id = ?",
            (state, clock.text(clock.now()), json.dumps(report), sync_id),
        )


def _shown(row: Any) -> dict[str, Any]:
    found = dict(zip(_COLUMNS.split(", "), row, strict=True))
    found["report"] = json.loads(found["report"]) if found["report"] else None
    return found
