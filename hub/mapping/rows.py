"""What mapping a page gives: rows ready to store, tombstones, what no table took, and rejects."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
import xxhash

PROMOTED = (
    "updated_at", "created_at", "status", "display_name", "given_name", "family_name", "name", "email", "phone",
    "number", "external_ref", "url", "domains", "customer_ref", "ticket_ref", "payment_ref", "order_ref",
)  # fmt: skip
"""The fields whose values are handed out beside the body, for who stores a row filters and compares by them."""


class Row(msgspec.Struct, gc=False):
    """
    A mapped record, ready to store and to serve.

    `body` is compact JSON, `hash` the 16 bytes of xxh3_128 over it, `updated_at` the vendor's version time in RFC 3339
    UTC with microseconds (so that texts sort as times do), `index` the position of the raw record in its page,
    `promoted` the values that the body has of the fields in TableRows.promoted.
    """

    remote_id: str
    body: bytes
    hash: bytes
    updated_at: str | None
    index: int
    promoted: tuple[Any, ...] = ()


class Reject(msgspec.Struct, gc=False):
    """A record that cannot be mapped, and why. `reason` holds no customer's data."""

    table: str
    remote_id: str | None
    field: str | None
    reason: str
    index: int


@dataclass
class TableRows:
    """
    One table's share of a page.

    `read` counts the stream's records (elements, for a table with `each`). `untaken` are ids that the table's `where`
    did not take: if they were stored before, they must go; `untaken_index` and `deleted_at` are the positions of their
    raw records in the page. `skipped` counts what no table of the same level took. `promoted` names the values that
    every row hands out beside its body: those of PROMOTED that the table fills, in that order.
    """

    table: str
    kind: str
    read: int = 0
    rows: list[Row] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    untaken: list[str] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    skipped: int = 0
    deleted_at: list[int] = field(default_factory=list)
    untaken_at: list[int] = field(default_factory=list)
    untaken_index: list[int] = field(default_factory=list)
    promoted: tuple[str, ...] = ()

    def indexes(self) -> set[int]:
        """Give the raw records that this table made something of."""
        return {row.index for row in self.rows} | {bad.index for bad in self.rejects} | set(self.deleted_at)


@dataclass
class MappedPage:
    """A page, mapped: `read` raw records, of which `skipped` were taken by no table; `tables` in file order."""

    read: int
    tables: dict[str, TableRows]
    skipped: int
    split: Callable[[], Sequence[bytes | msgspec.Raw]]
    _parts: Sequence[bytes | msgspec.Raw] | None = None
    _raws: list[bytes] | None = None

    def raws(self) -> list[bytes]:
        """Split the page into its raw records, each as the bytes it came in."""
        if self._raws is None:
            self._raws = [bytes(part) for part in self.parts()]
        return self._raws

    def parts(self) -> Sequence[bytes | msgspec.Raw]:
        """Find the raw records in the page; nothing is copied."""
        if self._parts is None:
            self._parts = self.split()
        return self._parts

    @cached_property
    def raw_hashes(self) -> list[bytes]:
        """Hash the raw records: by this it is told whether one is another than before. Empty if no table needs it."""
        needed = any(table.rows or table.rejects for table in self.tables.values())
        return list(map(xxhash.xxh3_128_digest, self.parts())) if needed else []


@dataclass
class Made:
    """What one table made of one raw record; `status` decides which of the others are set."""

    table: str
    kind: str
    status: str
    key: str | None = None
    data: dict[str, Any] | None = None
    reject: Reject | None = None


@dataclass
class MappedRecord:
    """One raw record, mapped: what the tables of the stream made of it, and of its elements (`children`)."""

    made: list[Made]
    children: list[Made]
