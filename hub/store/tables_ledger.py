"""The tables of the ledger: runs with their steps, approvals, freezes, API keys, and the audit chain."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, Text, UniqueConstraint
from sqlmodel import Field, SQLModel


class LedgerTable(SQLModel):
    """What all tables of the ledger share: metadata of their own."""

    metadata = MetaData()


class Run(LedgerTable, table=True):
    """
    One execution of an action.

    `request` is what was asked, `plan` what was decided before anything was sent (target, facts, verdict), `result`
    the first answer; all JSON. Times are RFC 3339 UTC. `intent` is equal for two runs that would do the same.
    """

    __tablename__ = "run"
    __table_args__ = (
        UniqueConstraint("principal", "action", "idempotency_key"),
        Index("run_intent", "principal", "intent", "created_at"),
        Index("run_open", "state", "lease_until"),
        Index("run_created", "created_at"),
    )

    id: str = Field(primary_key=True)
    action: str
    principal: str
    idempotency_key: str | None = None
    body_hash: str
    mode: str
    state: str
    intent: str | None = None
    connection: str | None = None
    target_id: str | None = None
    amount_minor: int | None = Field(default=None, sa_column=Column(BigInteger))
    currency: str | None = None
    request: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    plan: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    result: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    created_at: str
    updated_at: str
    lease_owner: str | None = None
    lease_until: str | None = None


class Step(LedgerTable, table=True):
    """
    One effect of a run in one connection: planned → sending → done, failed, absent or unknown.

    `call` is what the connector is given, `vendor_key` goes along to the vendor, `attempt` counts the sends.
    """

    __tablename__ = "step"

    run_id: str = Field(primary_key=True, foreign_key="run.id")
    number: int = Field(primary_key=True)
    connection: str
    state: str
    attempt: int = 0
    vendor_key: str
    call: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    outcome: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    error: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    first_sent_at: str | None = None
    sent_at: str | None = None
    updated_at: str


class PrincipalKey(LedgerTable, table=True):
    """
    An API key: only the SHA-256 of it is kept. `scopes` is a JSON list.

    `old_hash` is the key before it was rotated, good until `old_until`. `rate` is such as "60/minute"; `ceilings` is
    JSON of the money a day by currency, in minor units.
    """

    __tablename__ = "principal_key"

    id: str = Field(primary_key=True)
    name: str
    hash: str = Field(unique=True, index=True)
    scopes: str = Field(sa_column=Column(Text, nullable=False))
    created_at: str
    revoked_at: str | None = None
    expires_at: str | None = None
    rate: str | None = None
    ceilings: str | None = None
    last_used_at: str | None = None
    old_hash: str | None = Field(default=None, index=True)
    old_until: str | None = None


class Approval(LedgerTable, table=True):
    """
    What a person is asked to decide: a run, by the hash of its plan. `state` is pending, approved, denied or expired.

    A plan that changed gets a row of its own; the one before it is `changed`.
    """

    __tablename__ = "approval"
    __table_args__ = (
        Index("approval_run", "run_id", "created_at"),
        Index("approval_state", "state", "expires_at"),
    )

    id: str = Field(primary_key=True)
    run_id: str = Field(foreign_key="run.id")
    plan_hash: str
    group_name: str
    four_eyes: int
    on_expiry: str
    asked_by: str
    created_at: str
    expires_at: str
    state: str
    decided_by: str | None = None
    decided_at: str | None = None


class Freeze(LedgerTable, table=True):
    """Money that stands still, from `at` until it is lifted."""

    __tablename__ = "money_freeze"

    id: str = Field(primary_key=True)
    by_name: str
    reason: str | None = Field(default=None, sa_column=Column(Text))
    at: str
    lifted_by: str | None = None
    lifted_at: str | None = None


class Audit(LedgerTable, table=True):
    """
    What happened, row after row, each sealed with a key outside the database and chained to the one before.

    `facts` is JSON of ids, names of fields and keyed hashes, never of contents. `key` names the key that sealed it.
    Rows are never changed and never removed.
    """

    __tablename__ = "audit"
    __table_args__ = (Index("audit_kind", "kind", "seq"), Index("audit_run", "run_id"))

    seq: int = Field(primary_key=True)
    at: str
    kind: str
    principal: str | None = None
    run_id: str | None = None
    facts: str = Field(sa_column=Column(Text, nullable=False))
    key: str
    prev_hash: str
    hash: str
