"""
The tables of hub.db, declared once; migrations must equal them.

`state` is the narrow table every page is compared with, `record` holds what reads answer with, `raw` the vendor's own
bytes in compressed blocks. `rid` joins them and never leaves the hub.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from hub.store.dialect import LOT


def _bytes(*, null: bool = False) -> Any:
    return Field(default=None, sa_column=Column(LargeBinary, nullable=null))


def _text(*, null: bool = False) -> Any:
    return Field(default=None, sa_column=Column(Text, nullable=null))


def _ms(*, null: bool = False) -> Any:
    return Field(default=None, sa_column=Column(BigInteger, nullable=null))


class HubTable(SQLModel):
    """What all tables of hub.db share: metadata of their own."""

    metadata = MetaData()


class Source(HubTable, table=True):
    """
    A table of a connection's mapping, and the stream it comes from.

    `stream` and `kind` are null for a table that records refer to and that has not been synced yet. `whole` is the
    mapping of its stream that made all of its rows; null while they are of several, `>` before it while a remap to it
    is under way.
    """

    __tablename__ = "source"
    __table_args__ = (UniqueConstraint("connection", "name"),)

    id: int | None = Field(default=None, primary_key=True)
    connection: str
    name: str
    stream: str | None = None
    kind: str | None = None
    connector: str | None = None
    revision: str | None = None
    whole: str | None = None


class State(HubTable, table=True):
    """
    What the hub has of one record, in the form every page is compared with.

    `version` is the vendor's time of the record, `read_at` when it was asked for (ms since 1970), `seen` the last full
    scan that met it; `block` and `idx` find its raw bytes: null where they are not kept, and where the mapping does not
    take the record any more. A record that the mapping never took is in `reject` or `untaken` only.
    """

    __tablename__ = "state"
    __table_args__ = {"sqlite_with_rowid": False}

    source_id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    remote_id: str = Field(primary_key=True)
    rid: int
    mapped_hash: bytes = _bytes()
    raw_hash: bytes = _bytes()
    version: str | None = None
    read_at: int = _ms()
    seen: int | None = _ms(null=True)
    block: int | None = None
    idx: int | None = None
    deleted: bool = False


_LISTED = text("head AND deleted_at IS NULL")


class Record(HubTable, table=True):
    """
    One record, its mapped body ready to send, and the values that reads filter by.

    `entity_id` is the entity it belongs to; of an entity's records one is the `head`, and carries `golden`, the merged
    body, where there are several. `customer` and `parent` are references as `source:remote_id`, or `by=value`.
    """

    __tablename__ = "record"
    __table_args__ = (
        Index("record_entity", "entity_id"),
        Index("record_listed", "kind", "updated_at", sqlite_where=_LISTED, postgresql_where=_LISTED),
        *(
            Index(
                f"record_{name}",
                name,
                sqlite_where=text(f"{name} IS NOT NULL"),
                postgresql_where=text(f"{name} IS NOT NULL"),
            )
            for name in ("email", "phone", "number", "external_ref", "parent")
        ),
        Index(
            "record_customer",
            text(LOT),
            "customer",
            sqlite_where=text("customer IS NOT NULL"),
            postgresql_where=text("customer IS NOT NULL"),
        ),
    )

    rid: int = Field(primary_key=True)
    source_id: int
    remote_id: str
    kind: str
    entity_id: str
    head: bool = True
    updated_at: str
    read_at: int = _ms()
    deleted_at: str | None = None
    status: str | None = None
    name: str | None = None
    email: str | None = None
    phone: str | None = None
    number: str | None = None
    external_ref: str | None = None
    customer: str | None = None
    parent: str | None = None
    url: str | None = None
    body: bytes = _bytes()
    golden: bytes | None = _bytes(null=True)


class Raw(HubTable, table=True):
    """
    Up to 100 raw records of a stream, compressed together.

    `source_id` is one of the stream's tables. A record that was taken out is empty; nothing moves inside a block.
    """

    __tablename__ = "raw"

    block: int = Field(primary_key=True)
    source_id: int
    count: int
    data: bytes = _bytes()
    stream: str | None = None


class Untaken(HubTable, table=True):
    """
    A raw record of which no table has a row: skipped, or gone by its own word; a changed mapping may take it.

    `key` is the vendor's id as the stream's first table reads it, else the hash of the bytes.
    """

    __tablename__ = "untaken"
    __table_args__ = {"sqlite_with_rowid": False}

    connection: str = Field(primary_key=True)
    stream: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    raw_hash: bytes = _bytes()
    read_at: int = _ms()
    block: int
    idx: int


class Remap(HubTable, table=True):
    """A remap of a stream that is under way: to which mapping, and the last block of raw records that it is past."""

    __tablename__ = "remap"
    __table_args__ = {"sqlite_with_rowid": False}

    connection: str = Field(primary_key=True)
    stream: str = Field(primary_key=True)
    revision: str
    block: int
    noted_at: str


class Described(HubTable, table=True):
    """What a system last said of a stream's fields: `fields` is JSON, {name: [type, [values]]}."""

    __tablename__ = "described"
    __table_args__ = {"sqlite_with_rowid": False}

    connection: str = Field(primary_key=True)
    stream: str = Field(primary_key=True)
    at: str
    fields: str = _text()


class Drift(HubTable, table=True):
    """A change between two descriptions of a stream: added, removed, retyped, new_value or gone_value."""

    __tablename__ = "drift"
    __table_args__ = (Index("drift_of", "connection", "stream"),)

    id: int | None = Field(default=None, primary_key=True)
    connection: str
    stream: str
    at: str
    what: str
    field: str
    before: str | None = None
    after: str | None = None


class Filled(HubTable, table=True):
    """
    How often a unified field is filled, from samples of pages: in all before, and in those since the last look.

    `emptied_at` is when a field that used to be filled was found null in all rows of a look.
    """

    __tablename__ = "filled"
    __table_args__ = {"sqlite_with_rowid": False}

    source_id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    field: str = Field(primary_key=True)
    looked: int
    filled: int
    recent_looked: int
    recent_filled: int
    emptied_at: str | None = None


class MatchKey(HubTable, table=True):
    """A value besides the columns of `record` by which records may be one entity (an account's domains)."""

    __tablename__ = "match_key"
    __table_args__ = (Index("match_key_rid", "rid"), {"sqlite_with_rowid": False})

    kind: str = Field(primary_key=True)
    value: str = Field(primary_key=True)
    rid: int = Field(primary_key=True)


class Link(HubTable, table=True):
    """This record belongs to that entity together with others: why, who said so, and when."""

    __tablename__ = "link"
    __table_args__ = (Index("link_entity", "entity_id"),)

    rid: int = Field(primary_key=True)
    entity_id: str
    reason: str
    author: str
    at: str


class Alias(HubTable, table=True):
    """An id that was merged away, and the entity that answers for it."""

    __tablename__ = "alias"
    __table_args__ = (Index("alias_entity", "entity_id"), {"sqlite_with_rowid": False})

    id: str = Field(primary_key=True)
    entity_id: str
    at: str


class Event(HubTable, table=True):
    """
    What one page changed in one kind: `changes` is JSON, {change: [entity ids]}.

    Changes are created, updated, deleted, merged ([[from, into]]) and split ([[from, new]]).
    """

    __tablename__ = "event"

    id: int | None = Field(default=None, primary_key=True)
    at: str
    connection: str
    kind: str
    changes: str = _text()


class Cursor(HubTable, table=True):
    """
    How far a stream has been read.

    `scan` is when the pass began that is not finished (ms since 1970; negative: it is no full one), `read_at` when the
    last page was asked for, `synced_at` when the stream was last read to its end, `error` why it was not.
    """

    __tablename__ = "cursor"
    __table_args__ = {"sqlite_with_rowid": False}

    connection: str = Field(primary_key=True)
    stream: str = Field(primary_key=True)
    cursor: str | None = None
    scan: int | None = _ms(null=True)
    read_at: int | None = _ms(null=True)
    synced_at: str | None = None
    error: str | None = None
    error_at: str | None = None


class Reject(HubTable, table=True):
    """A record that the mapping could not take: its bytes, and the reason without its values."""

    __tablename__ = "reject"
    __table_args__ = (Index("reject_key", "source_id", "remote_id", unique=True),)

    id: int | None = Field(default=None, primary_key=True)
    source_id: int
    remote_id: str
    field: str | None = None
    reason: str = _text()
    revision: str
    read_at: int = _ms()
    data: bytes = _bytes()


class MappingRevision(HubTable, table=True):
    """An effective mapping that made stored records."""

    __tablename__ = "mapping_revision"
    __table_args__ = {"sqlite_with_rowid": False}

    connection: str = Field(primary_key=True)
    revision: str = Field(primary_key=True)
    first_used_at: str


class SyncRun(HubTable, table=True):
    """One sync of a connection, as /v1/syncs answers it; `report` is JSON."""

    __tablename__ = "sync_run"
    __table_args__ = (Index("sync_run_started", "started_at"),)

    id: str = Field(primary_key=True)
    connection: str
    state: str
    started_at: str
    finished_at: str | None = None
    report: str | None = _text(null=True)


class Delivery(HubTable, table=True):
    """
    A webhook that came: written down once by the vendor's own id of the event, before it is answered.

    `changes` is JSON, [[stream, remote id]]. It waits until all of them were fetched (`done_at`) and is tried again
    from `due_at` on; times are ms since 1970.
    """

    __tablename__ = "delivery"
    __table_args__ = (
        Index(
            "delivery_waiting",
            "due_at",
            sqlite_where=text("done_at IS NULL"),
            postgresql_where=text("done_at IS NULL"),
        ),
        {"sqlite_with_rowid": False},
    )

    connection: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    changes: str = _text()
    received_at: int = _ms()
    due_at: int = _ms()
    attempts: int = 0
    done_at: int | None = _ms(null=True)


class Dirty(HubTable, table=True):
    """A record that webhooks say has changed and that was not fetched since; `delivery` is the last to say so."""

    __tablename__ = "dirty"
    __table_args__ = {"sqlite_with_rowid": False}

    connection: str = Field(primary_key=True)
    stream: str = Field(primary_key=True)
    remote_id: str = Field(primary_key=True)
    delivery: str


class ConnectionState(HubTable, table=True):
    """How a connection stands, over all processes; see `standings.Standing`."""

    __tablename__ = "connection_state"
    __table_args__ = {"sqlite_with_rowid": False}

    connection: str = Field(primary_key=True)
    account: str | None = None
    failures: int = 0
    opened: int = 0
    retry_at: int | None = _ms(null=True)
    probing: int | None = _ms(null=True)
    degraded_at: int | None = _ms(null=True)
    reauth_at: int | None = _ms(null=True)
    sealed: str | None = None
    error: str | None = _text(null=True)
    error_at: int | None = _ms(null=True)
