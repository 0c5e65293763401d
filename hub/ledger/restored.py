"""A ledger that was put back from an older copy: whatever was open in it may have been sent since."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from hub.ledger.journal import Ledger
from hub.ledger.rows import CLOSED, now

_SHUT = ", ".join(f"'{state}'" for state in sorted(CLOSED))
_OPEN = f"SELECT id FROM run WHERE state NOT IN ({_SHUT}) ORDER BY id"  # noqa: S608
_DOUBT = f"""
UPDATE step SET state = 'sending', attempt = attempt + CASE state WHEN 'planned' THEN 1 ELSE 0 END, updated_at = ?,
    sent_at = ?, first_sent_at = COALESCE(first_sent_at, ?)
WHERE state IN ('planned', 'sending', 'unknown')
AND run_id IN (SELECT id FROM run WHERE state NOT IN ({_SHUT}))
"""  # noqa: S608
_WAITING = "SELECT id, plan FROM run WHERE state IN ('queued', 'needs_approval')"
_LOOK_UP = "UPDATE run SET state = 'unknown', plan = ? WHERE id = ?"
_UNASKED = "UPDATE approval SET state = 'canceled', decided_by = 'hub', decided_at = ? WHERE state = 'pending'"
_FREE = f"UPDATE run SET lease_owner = NULL, lease_until = NULL WHERE state NOT IN ({_SHUT})"  # noqa: S608


def doubt(ledger: Ledger, *, copied_at: str, before: object) -> list[str]:
    """
    Treat every step of every open run as sent, and give those runs back; returns their ids.

    What the copy has as planned may have been sent at any time after `copied_at`, and may even now be under way. So
    each goes to the resolver, which looks it up before anything is sent. A run that was not let go yet (it waited for
    a person, or to be planned) is looked up only: nobody in this ledger has said that it may be sent.
    `before` is told in the audit: the head of the ledger that was there.
    """
    at = now()
    with ledger.database.write() as tx:
        runs = [row[0] for row in tx.execute(_OPEN).fetchall()]
        tx.execute(_DOUBT, (at, at, copied_at))
        for run_id, plan in tx.execute(_WAITING).fetchall():
            held = json.dumps(json.loads(plan) | {"look_up_only": True}, ensure_ascii=False).encode()
            tx.execute(_LOOK_UP, (held, run_id))
        tx.execute(_UNASKED, (at,))
        tx.execute(_FREE)
        ledger.audit.append(tx, "restored", copied_at=copied_at, runs=runs, before=before)
    ledger.audit.sign_soon()
    return runs


def made_after(path: Path, copied_at: str) -> list[str] | None:
    """Name the runs that a ledger's file has of later than the copy; None where it cannot be read."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            sql = "SELECT id FROM run WHERE created_at > ? AND mode = 'execute' ORDER BY id"
            return [row[0] for row in connection.execute(sql, (copied_at,)).fetchall()]
    except sqlite3.Error:
        return None
