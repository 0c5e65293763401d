"""Money that stands still: a row that survives a restart, seen by every process of the hub."""

import os

import msgspec

from hub.errors import Conflict
from hub.ledger.audit import Audit
from hub.ledger.rows import now
from hub.store import Database, Tx

_COLUMNS = "id, by_name, reason, at, lifted_by, lifted_at"
_NOW = f"SELECT {_COLUMNS} FROM money_freeze WHERE lifted_at IS NULL ORDER BY at LIMIT 1"  # noqa: S608


class Freeze(msgspec.Struct, kw_only=True):
    """Who froze money, when, and why."""

    id: str
    by: str
    reason: str | None
    at: str
    lifted_by: str | None = None
    lifted_at: str | None = None


def frozen(database: Database) -> Freeze | None:
    """Give the freeze that is on, or None."""
    with database.read() as tx:
        return frozen_in(tx)


def frozen_in(tx: Tx) -> Freeze | None:
    """Give the freeze that is on as a transaction sees it."""
    row = tx.execute(_NOW).fetchone()
    return None if row is None else Freeze(**dict(zip(Freeze.__struct_fields__, row, strict=True)))


def freeze(database: Database, audit: Audit, *, by: str, reason: str | None) -> Freeze:
    """Freeze money. Raises Conflict where it is frozen already, naming by whom."""
    with database.write() as tx:
        on = frozen_in(tx)
        if on is not None:
            raise Conflict(f"money is frozen already, since {on.at} by {on.by}", code="already_frozen")
        made = Freeze(id="frz_" + os.urandom(8).hex(), by=by, reason=reason, at=now())
        tx.execute(
            f"INSERT INTO money_freeze ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
            msgspec.structs.astuple(made),
        )
        hashed = {"reason": reason.encode() if reason else None, "by": by.encode()}
        audit.append(tx, "money_frozen", freeze=made.id, hashed=hashed)
    audit.sign_soon()
    return made


def unfreeze(database: Database, audit: Audit, *, by: str) -> Freeze:
    """Let money move again. Raises Conflict where it is not frozen."""
    with database.write() as tx:
        on = frozen_in(tx)
        if on is None:
            raise Conflict("money is not frozen", code="not_frozen")
        on.lifted_by, on.lifted_at = by, now()
        tx.execute("UPDATE money_freeze SET lifted_by = ?, lifted_at = ? WHERE id = ?", (by, on.lifted_at, on.id))
        audit.append(tx, "money_unfrozen", freeze=on.id, hashed={"by": by.encode()})
    audit.sign_soon()
    return on
