"""Streams that are tables or views: what is read of one, in which order, and how its rows become records."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from hub import Field, Invalid, Page, Stream
from hub_legacy.database import Database, Known
from hub_legacy.nested import children
from hub_legacy.options import LegacyConfig, Nest, TableOptions, options_of, root, roots
from hub_legacy.values import as_time, encode, freeze, reader, thaw, turned_back

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection
    from sqlalchemy.sql import ColumnElement, Select

_ASKED = 100
_WINDOW, _WINDOW_NESTED = 50, 10
_ROW_VALUES = ("sqlite", "postgresql")


class Cursor(msgspec.Struct, omit_defaults=True):
    """
    How far a table was read: `at` is the position of the last row in the order `by`.

    `n` counts full scans, `full` says that one is under way, `fresh` that `at` was younger than the overlap.
    """

    by: str
    n: int = 1
    full: bool = False
    at: list[Any] | None = None
    fresh: bool = False
    v: int = 1

    def text(self) -> str:
        return msgspec.json.encode(self).decode()


@dataclass(frozen=True)
class Part:
    """One member of the records: its name there, and the column it comes from."""

    name: str
    column: "Column[Any]"


class Plan:
    """What is read of one table: columns, order, nested tables, and how rows become records."""

    def __init__(self, database: Database, stream: Stream, config: LegacyConfig, *, anew: bool = False) -> None:
        self.stream, self.config, self.database = stream, config, database
        self.options = options_of(stream, TableOptions)
        self.zone = ZoneInfo(self.options.zone or config.zone)
        self.known = database.known(stream.name, anew=anew)
        self.warnings: list[str] = []
        self.keys = self._keys()
        grows = self.options.grows
        self.grows = self.known.need(grows, f'stream "{stream.name}"') if grows else None
        self.order = [*([] if self.grows is None else [self.grows]), *self._unique(self.keys)]
        self.by = ",".join(column.name for column in self.order)
        self.nests = {name: self._nest(name, nest, anew) for name, nest in self.options.nest.items()}
        self.parts = self._parts()
        wide = _WINDOW_NESTED if self.nests else _WINDOW
        self.window = 1 if self._is_indexed() else wide
        self.streams = not self.nests  # some drivers run no second query while the first is being read

    def _is_indexed(self) -> bool:
        """Say whether the database finds the next page by itself; else each query sorts, and reads more at a time."""
        wanted, table = [column.name for column in self.order], self.known.table
        found = [[column.name for column in index.columns] for index in table.indexes]
        found += [[c.name for c in rule.columns] for rule in table.constraints if hasattr(rule, "columns")]
        return any(columns[: len(wanted)] == wanted for columns in found)

    def _keys(self) -> list["Column[Any]"]:
        return [self.known.need(root(path), f'stream "{self.stream.name}": key') for path in self.stream.key]

    def _unique(self, keys: list["Column[Any]"]) -> list["Column[Any]"]:
        """Add the primary key, so that rows with one key are told apart; a view's key is taken at its word."""
        return [*keys, *(column for column in self.known.table.primary_key if column not in keys)]

    def _nest(self, name: str, nest: Nest, anew: bool) -> tuple[Nest, Known, "Column[Any]"]:
        what = f'stream "{self.stream.name}": nest.{name}'
        child = self.database.known(nest.table, anew=anew)
        child.need(nest.key, what)
        if nest.order:
            child.need(nest.order, what)
        return nest, child, self.known.need(nest.parent, what) if nest.parent else self.keys[0]

    def _parts(self) -> list[Part]:
        wanted = None if self.options.select == "all" else roots(self.stream.paths)
        if not wanted:
            return [Part(c.name, c) for c in self.known.table.columns if self.known.sort(c) != "binary"]
        parts = [Part(name, c) for name in wanted if (c := self.known.column(name)) is not None]
        self.warnings = [
            f'{self.stream.name}: the table has no column "{name}"; the fields that use it stay empty'
            for name in wanted
            if name not in self.nests and self.known.column(name) is None
        ]
        parts += [
            Part(root(path), c) for path, c in zip(self.stream.key, self.keys, strict=True) if root(path) not in wanted
        ]
        return [part for part in parts if self.known.sort(part.column) != "binary"]

    def select(self) -> "Select[Any]":
        from sqlalchemy import select

        extra = [*self.order, *(parent for _, _, parent in self.nests.values())]
        columns = [part.column.label(f"p{i}") for i, part in enumerate(self.parts)]
        return select(*columns, *(column.label(f"x{i}") for i, column in enumerate(extra)))

    def clock(self) -> "Column[Any] | None":
        """Give the column that tells how old a row is: changed_at, or what the mapping takes for updated_at."""
        if self.options.changed_at:
            return self.grows
        return self.known.column(root(self.stream.updated_at)) if self.stream.updated_at else None

    def since(self) -> list["ColumnElement[bool]"]:
        """Leave out what is older than the stream wants, where a column tells."""
        clock = self.clock()
        if self.stream.since is None or clock is None:
            return []
        return [clock >= self._moment(clock, self.stream.since)]

    def _moment(self, column: "Column[Any]", moment: datetime) -> Any:
        sort = self.known.sort(column)
        if sort == "date" and self.known.native:
            return moment.date()
        if not self.known.native or sort != "datetime":
            return moment.astimezone(self.zone).date().isoformat()
        aware = bool(getattr(column.type, "timezone", False))
        return moment if aware else moment.astimezone(self.zone).replace(tzinfo=None)

    def records(self, connection: "Connection", rows: Sequence[Any]) -> list[dict[str, Any]]:
        """Turn rows into records: values fit for JSON, nested tables read along."""
        names = [part.name for part in self.parts]
        odd = [
            (part.name, convert)
            for part in self.parts
            if (convert := reader(self.known.sort(part.column), self.known.scales.get(part.column.name), self.zone))
        ]
        found = [dict(zip(names, row, strict=False)) for row in rows]
        for name, convert in odd:
            for record in found:
                if record[name] is not None:
                    record[name] = convert(record[name])
        first = len(self.parts) + len(self.order)
        for i, (name, (nest, child, _)) in enumerate(self.nests.items()):
            parents = [row[first + i] for row in rows]
            lists = children(connection, nest, child, parents, self.zone)
            for record, parent in zip(found, parents, strict=True):
                record[name] = lists.get(parent, [])
        return found

    def position(self, row: Any) -> list[Any]:
        return [freeze(value) for value in row[len(self.parts) : len(self.parts) + len(self.order)]]

    def after(self, at: Sequence[Any], order: "Sequence[Column[Any]] | None" = None) -> "ColumnElement[bool]":
        """
        Give (a, b) > (x, y), with a >= x before it for the index.

        Where the database compares rows along an index it is said so: many rows may have one `a`. Else it is spelt out.
        """
        from sqlalchemy import and_, or_, tuple_

        order = self.order if order is None else order
        values = self._thawed(at, order)
        if len(order) == 1:
            first: ColumnElement[bool] = order[0] > values[0]
            return first
        if self.database.engine().dialect.name in _ROW_VALUES:
            return and_(order[0] >= values[0], tuple_(*order) > tuple_(*values))
        steps = (
            and_(*(c == v for c, v in zip(order[:i], values[:i], strict=True)), order[i] > values[i])
            for i in range(len(order))
        )
        return and_(order[0] >= values[0], or_(*steps))

    def loose(self, *, full: bool) -> "list[tuple[list[ColumnElement[bool]], list[Column[Any]]]]":
        """
        Give the conditions of rows that no order reaches, each with the order they have among themselves.

        Those without changed_at are looked for by every pull, those without a key (they have no order) by full ones.
        """
        from sqlalchemy import or_

        found: list[tuple[list[ColumnElement[bool]], list[Column[Any]]]] = []
        keys = self.order if self.grows is None else self.order[1:]
        if self.grows is not None and _nullable(self.grows):
            found.append(([self.grows.is_(None), *(c.is_not(None) for c in keys if _nullable(c))], keys))
        missing = [column.is_(None) for column in keys if _nullable(column)]
        return [*found, ([or_(*missing)], [])] if full and missing else found

    def ordered(self) -> list["ColumnElement[bool]"]:
        return [column.is_not(None) for column in self.order if _nullable(column)]

    def from_(self, at: Sequence[Any]) -> "ColumnElement[bool]":
        """Give the condition that reads again what may have been committed late: the overlap before `at`."""
        column, value = self.order[0], self._thawed(at, self.order)[0]
        if self.options.version:
            start = _version_before(value, self.options.overlap_versions)
        else:
            start = _earlier(value, timedelta(seconds=self.options.overlap_s) + turned_back(value, self.zone))
        found: ColumnElement[bool] = column >= start
        return found

    def is_fresh(self, at: Sequence[Any]) -> bool:
        """
        Say whether rows around `at` may still be committed late.

        A time is only while it is young, or if the clocks showed it twice (the end of daylight saving): what came the
        second time may sort before it. A number was given out before its row was committed, and tells no age.
        """
        value = self._thawed(at, self.order)[0]
        if self.options.version:
            return self.options.overlap_versions > 0 and _version_before(value, 1) != value
        if not self.options.changed_at:
            return False
        if isinstance(value, date) and not isinstance(value, datetime):
            return value >= datetime.now(self.zone).date()
        moment = as_time(value, self.zone)
        young = moment is not None and moment > datetime.now(UTC) - timedelta(seconds=self.options.overlap_s)
        return young or bool(turned_back(value, self.zone))

    def is_ahead(self, at: Sequence[Any] | None) -> bool:
        """Say whether a row's time is more than a day in the future: no clock is that wrong, but people's typing is."""
        if not self.options.changed_at or at is None:
            return False
        moment = as_time(at[0], self.zone)
        return at[0] == "infinity" or (moment is not None and moment > datetime.now(UTC) + timedelta(days=1))

    def _thawed(self, at: Sequence[Any], order: "Sequence[Column[Any]]") -> list[Any]:
        try:
            return [
                thaw(value, self.known.sort(column), native=self.known.native)
                for column, value in zip(order, at, strict=True)
            ]
        except ValueError as exc:
            text = f"{self.stream.name}: the stored cursor does not fit the table"
            raise Invalid(text, code="bad_cursor") from exc


def _nullable(column: "Column[Any]") -> bool:
    return bool(column.nullable) and not column.primary_key


def _version_before(value: Any, count: int) -> Any:
    """Give the version `count` numbers before; a text stays, nobody knows what comes before it."""
    if isinstance(value, bytes):
        return max(0, int.from_bytes(value) - count).to_bytes(len(value))
    return value - count if isinstance(value, (int, Decimal)) and not isinstance(value, bool) else value


def _earlier(value: Any, span: timedelta) -> Any:
    if isinstance(value, datetime):
        return value - span
    moment = as_time(value, UTC) if isinstance(value, str) and len(value) >= 19 else None
    if moment is None:
        return value
    return (moment - span).isoformat(sep=value[10])[:19]  # a prefix sorts before all that continue it


def fetch(plan: Plan, ids: Sequence[str]) -> Page:
    """Read these rows as they are now; ids without a row are deleted."""
    from sqlalchemy import false, or_

    records: list[dict[str, Any]] = []
    there: set[str] = set()
    for i in range(0, len(ids), _ASKED):
        some = ids[i : i + _ASKED]
        where = or_(false(), *(condition for one in some for condition in _named(plan, one)))
        with plan.database.reading(f"reading {plan.stream.name}") as connection:
            rows = connection.execute(plan.select().where(where)).fetchall()
            found = plan.records(connection, rows)
        records += found
        names = [root(path) for path in plan.stream.key]
        there |= {":".join(str(record.get(name)) for name in names) for record in found}
    gone = [one for one in ids if one not in there]
    return Page(records=[encode(record) for record in records], deleted=gone, warnings=plan.warnings)


def _named(plan: Plan, remote_id: str) -> Iterator["ColumnElement[bool]"]:
    """Give the conditions that find an id; one of several columns may be cut at any of its colons."""
    from sqlalchemy import and_

    pieces = remote_id.split(":")
    for cuts in combinations(range(1, len(pieces)), len(plan.keys) - 1):
        edges = (0, *cuts, len(pieces))
        texts = [":".join(pieces[a:b]) for a, b in pairwise(edges)]
        try:
            values = [
                thaw(text, plan.known.sort(c), native=plan.known.native)
                for text, c in zip(texts, plan.keys, strict=True)
            ]
        except ValueError:
            continue
        yield and_(*(column == value for column, value in zip(plan.keys, values, strict=True)))


def describe(known: Known) -> list[Field]:
    """Name a table's columns and their sorts."""
    sorts = {column.name: known.sort(column) for column in known.table.columns}
    return [Field(name, "text" if sort == "padded" else sort) for name, sort in sorts.items()]
