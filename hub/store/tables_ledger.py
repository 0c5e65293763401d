"""The tables of the ledger: runs with their steps, and API keys."""

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
    """An API key: only the SHA-256 of it is kept. `scopes` is a JSON list."""

    __tablename__ = "principal_key"

    id: str = Field(primary_key=True)
    name: str
    hash: str = Field(unique=True, index=True)
    scopes: str = Field(sa_column=Column(Text, nullable=False))
    created_at: str
    revoked_at: str | None = None
