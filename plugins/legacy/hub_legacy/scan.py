"""Read a table page by page along a key: each page in a transaction of its own, in memory that does not grow."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from hub import Invalid, Page
from hub_legacy.tables import Cursor, Plan
from hub_legacy.values import encode

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

PAGE_BYTES = 4 * 1024 * 1024
_WINDOW_BYTES = 4 * PAGE_BYTES
_STEP = 100
Pages = list[tuple[list[bytes], list[Any] | None, bool]]


def pull(plan: Plan, cursor: str | None) -> Iterator[Page]:
    """
    Read a table: all of it, or what changed since the cursor where a column tells.

    Every page is a transaction of its own. The last page of a full read is `complete`.
    """
    start = _started(plan, cursor)
    told = _Told(plan, start, cursor)
    yield from _loose(plan, start)
    at, again, last = start, start.fresh, False
    while not last:
        window = _read(plan, _where(plan, at, again=again), plan.order)
        for records, position, last in window:
            at, again = _moved(plan, at, position, last), False
            closes = start.full and last
            if records or closes:
                complete = closes and not plan.since()
                yield Page(records=records, cursor=told.cursor(at), complete=complete, warnings=told.warnings())
        if not last and plan.window > 1:
            told.once(f"an index on ({plan.by}) would make reading faster")


class _Told:
    """What the pages of one pull say beside their records: cursors, each once, and warnings."""

    def __init__(self, plan: Plan, start: Cursor, cursor: str | None) -> None:
        self.plan = plan
        self._settled, self._cursor = start.at, cursor
        self._warnings, self._said = list(plan.warnings), set[str]()

    def cursor(self, at: Cursor) -> str | None:
        """
        Give the cursor to store, None where it stays.

        A row whose clock is ahead of ours would hide all changes until then: the cursor waits before it.
        """
        if self.plan.is_ahead(at.at):
            self.once(f"rows with {self.plan.by.partition(',')[0]} in the future are read with every pull")
            at = msgspec.structs.replace(at, at=self._settled, fresh=False)
        else:
            self._settled = at.at
        text = at.text()
        before, self._cursor = self._cursor, text
        return text if text != before else None

    def once(self, warning: str) -> None:
        if warning not in self._said:
            self._said.add(warning)
            self._warnings.append(f"{self.plan.stream.name}: {warning}")

    def warnings(self) -> list[str]:
        found, self._warnings = self._warnings, []
        return found


def _started(plan: Plan, cursor: str | None) -> Cursor:
    if cursor is None:
        return Cursor(plan.by, full=True)
    try:
        start = msgspec.json.decode(cursor, type=Cursor)
    except msgspec.DecodeError as exc:
        raise Invalid(f"{plan.stream.name}: the stored cursor is not one of a table", code="bad_cursor") from exc
    goes_on = start.by == plan.by and start.at is not None and (start.full or plan.grows is not None)
    return start if goes_on else Cursor(plan.by, n=start.n + 1, full=True)


def _moved(plan: Plan, at: Cursor, position: list[Any] | None, last: bool) -> Cursor:
    position = at.at if position is None else position
    if plan.grows is None:
        return Cursor(at.by, at.n, full=not last, at=None if last else position)
    return Cursor(at.by, at.n, at.full and not last, position, position is not None and plan.is_fresh(position))


def _where(plan: Plan, at: Cursor, *, again: bool) -> list["ColumnElement[bool]"]:
    found = [*plan.since(), *plan.ordered()]
    if at.at is not None:
        found.append(plan.from_(at.at) if again else plan.after(at.at))
    return found


def _read(plan: Plan, where: Sequence["ColumnElement[bool]"], order: Sequence[Any], offset: int = 0) -> Pages:
    """
    Read the next pages: records, the last row's position, and whether no row follows (one more is asked for).

    Rows come through a server-side cursor where the driver has one, so that wide ones do not pile up.
    """
    most = plan.config.page_size * plan.window
    query = plan.select().where(*where).order_by(*order).limit(most + 1).offset(offset or None)
    window = _Window(plan, most)
    with plan.database.reading(f"reading {plan.stream.name}") as connection:
        options = {"stream_results": plan.streams, "max_row_buffer": window.step}
        result = connection.execute(query, execution_options=options)
        while not window.is_full and (rows := result.fetchmany(min(window.step, most - window.taken))):
            window.add(connection, rows)
        more = window.is_full and result.fetchone() is not None
        result.close()
    return window.pages(more)


class _Window:
    """The pages of one query, cut at the size of a page in rows and in bytes."""

    def __init__(self, plan: Plan, most: int) -> None:
        self.plan, self.most = plan, most
        self.step = plan.config.page_size if plan.nests else min(_STEP, plan.config.page_size)
        self.taken = self.held = self._bytes = 0
        self._records: list[bytes] = []
        self._position: list[Any] | None = None
        self._pages: list[tuple[list[bytes], list[Any] | None]] = []

    @property
    def is_full(self) -> bool:
        return self.taken >= self.most or self.held >= _WINDOW_BYTES

    def add(self, connection: "Connection", rows: Sequence[Any]) -> None:
        free = self.plan.config.page_size - len(self._records)
        for some in (rows[:free], rows[free:]):
            if some:
                self._add([encode(record) for record in self.plan.records(connection, some)], some[-1])

    def _add(self, records: list[bytes], last: Any) -> None:
        self._records += records
        self._position = self.plan.position(last)
        self.taken += len(records)
        size = sum(map(len, records))
        self.held, self._bytes = self.held + size, self._bytes + size
        if len(self._records) >= self.plan.config.page_size or self._bytes >= PAGE_BYTES:
            self._close()

    def _close(self) -> None:
        self._pages.append((self._records, self._position))
        self._records, self._bytes = [], 0

    def pages(self, more: bool) -> Pages:
        """Give the pages; the last one is the last of the table unless there is `more`."""
        if self._records or not self._pages:
            self._close()
        count = len(self._pages)
        return [(*page, n == count and not more) for n, page in enumerate(self._pages, 1)]


def _loose(plan: Plan, start: Cursor) -> Iterator[Page]:
    """Read the rows that no order reaches, without a cursor; those without changed_at anew with every pull."""
    told = f"{plan.stream.name}: there are rows without {' or '.join(column.name for column in plan.order)}"
    warnings: tuple[str, ...] = (told,)
    for where, order in plan.loose(full=start.full):
        at: list[Any] | None = None
        offset, more = 0, True
        while more:
            further = [plan.after(at[-len(order) :], order)] if at is not None and order else []
            window = _read(plan, [*where, *plan.since(), *further], order or plan.order, offset)
            more = not window[-1][2]
            for records, position, _ in window:
                at, offset = position, 0 if order else offset + len(records)
                if records:
                    yield Page(records=records, warnings=warnings)
                    warnings = ()
