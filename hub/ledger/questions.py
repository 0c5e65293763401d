"""What a person is asked: one question about one run, by the hash of its plan."""

import os
from typing import Literal

import msgspec

from hub.ledger.rows import now
from hub.store import Tx

ApprovalState = Literal["pending", "approved", "denied", "expired", "changed", "canceled"]


class Approval(msgspec.Struct, kw_only=True):
    """One question to a group. Times are RFC 3339 UTC."""

    id: str
    run_id: str
    plan_hash: str
    group: str
    four_eyes: bool
    on_expiry: str
    asked_by: str
    created_at: str
    expires_at: str
    state: ApprovalState
    decided_by: str | None = None
    decided_at: str | None = None

    @property
    def expired(self) -> bool:
        return self.state == "expired" or (self.state == "pending" and self.expires_at <= now())


class Question(msgspec.Struct, kw_only=True, frozen=True):
    """What is to be asked, before it is written down."""

    plan_hash: str
    group: str
    expires_s: float
    on_expiry: str
    four_eyes: bool


_COLUMNS = (
    "id, run_id, plan_hash, group_name, four_eyes, on_expiry, asked_by, created_at, expires_at, state, decided_by,"
    " decided_at"
)
SELECT = f"SELECT {_COLUMNS} FROM approval"  # noqa: S608
_INSERT = f"INSERT INTO approval ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608


def ask(tx: Tx, run_id: str, asked_by: str, question: Question) -> Approval:
    """Write a question down, in the transaction that makes or changes its run."""
    approval = Approval(
        id="apr_" + os.urandom(10).hex(),
        run_id=run_id,
        plan_hash=question.plan_hash,
        group=question.group,
        four_eyes=question.four_eyes,
        on_expiry=question.on_expiry,
        asked_by=asked_by,
        created_at=now(),
        expires_at=now(plus_s=question.expires_s),
        state="pending",
    )
    row = msgspec.structs.astuple(approval)
    tx.execute(_INSERT, (*row[:4], int(approval.four_eyes), *row[5:]))
    return approval


def approval_of(row: tuple[object, ...]) -> Approval:
    values = dict(zip(Approval.__struct_fields__, row, strict=True))
    return msgspec.convert(values | {"four_eyes": bool(values["four_eyes"])}, Approval)
