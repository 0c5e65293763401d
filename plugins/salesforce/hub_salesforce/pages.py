"""Read sObjects page by page: rows that changed, then rows that were deleted."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

import msgspec

from hub import Invalid, NotFound, Page, Stream, Temporary
from hub_salesforce.client import Client, valid_id
from hub_salesforce.config import SalesforceConfig
from hub_salesforce.cursor import SEEN_AT_MOST, Cursor, Key, read_cursor
from hub_salesforce.errors import missing_name
from hub_salesforce.schema import Schema, SObject
from hub_salesforce.soql import Select, id_list, moment, select_for

_MASTER = "MasterRecordId"
"""Set on what lost a merge, which is deleted by it: the record that it was merged into."""
_NEXT = re.compile(r"/services/data/v[0-9x.]+/query(All)?/[A-Za-z0-9_-]+")
_RESTARTS = 3
_IDS_AT_ONCE = 200


class _Nested(msgspec.Struct):
    """What a subquery's answer says of itself; one with many rows comes in pages of its own."""

    done: bool = True


class _Rows(msgspec.Struct):
    records: list[msgspec.Raw]
    done: bool = True
    nextRecordsUrl: str | None = None


_ROWS = msgspec.json.Decoder(_Rows)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


@lru_cache(maxsize=64)
def _envelope(clock: str | None, children: tuple[str, ...], merges: bool = False) -> msgspec.json.Decoder[Any]:
    """Make a decoder of no more of a page than ids, times and whether there is more."""
    row: list[Any] = [("Id", str)]
    row += [("at", str | None, msgspec.field(default=None, name=clock))] if clock else []
    row += [(f"c{n}", _Nested | None, msgspec.field(default=None, name=name)) for n, name in enumerate(children)]
    row += [("into", str | None, msgspec.field(default=None, name=_MASTER))] if merges else []
    line = msgspec.defstruct("Line", row)
    fields: list[Any] = [("records", list[line])]  # type: ignore[valid-type]
    fields += [("done", bool, True), ("nextRecordsUrl", str | None, None), ("totalSize", int | None, None)]
    return msgspec.json.Decoder(msgspec.defstruct("Envelope", fields))


class Reader:
    """Reads one stream of one connection."""

    def __init__(self, client: Client, schema: Schema, config: SalesforceConfig, stream: Stream) -> None:
        self.client = client
        self.schema = schema
        self.config = config
        self.stream = stream
        self.warnings: list[str] = []
        self._dropped: set[str] = set()
        self._asked_anew = False
        self._sparing = False

    def pull(self, cursor: str | None) -> Iterator[Page]:
        """Yield what changed since `cursor`, then what was deleted; each page carries the position after it."""
        self._sparing = True
        sobject = self.schema.find(self.stream.name)
        if sobject is None:
            yield Page(records=[], warnings=[f"this org has no {self.stream.name}, or this user may not see it"])
            return
        self._say_currency(sobject)
        clock = sobject.clock()
        if clock is None:
            yield from self._scan()
            return
        at = read_cursor(cursor, self.stream.since)
        yield from self._live(at, clock)
        if "IsDeleted" in sobject.columns:
            yield from self._gone(at, clock)

    def fetch(self, ids: Sequence[str]) -> Page:
        """Give these records as they are now; those that are not there any more are named as deleted."""
        wanted = [valid_id(one) for one in ids]
        rows: list[msgspec.Raw] = []
        found: set[str] = set()
        self._say_currency(self.schema.get(self.stream.name))
        for start in range(0, len(wanted), _IDS_AT_ONCE):
            some = wanted[start : start + _IDS_AT_ONCE]
            for body, page in self._answers("query", f"Id IN {id_list(some)}", ""):
                rows += self._rows(body, page)
                found |= {row.Id[:15] for row in page.records}
        gone = [one for one in wanted if one[:15] not in found]
        return Page(records=[bytes(row) for row in rows], deleted=gone, warnings=tuple(self.warnings))

    def _live(self, at: Cursor, clock: str) -> Iterator[Page]:
        for _ in range(_RESTARTS):
            seen = frozenset(at.live.seen)
            try:
                pages = self._answers("query", at.live.after(clock), f"{clock}, Id")
                for n, (body, page) in enumerate(pages):
                    cursor = self._moved(at, "live", page, first=n == 0)
                    yield self._page(body, page, cursor, skip=_again(page, seen))
                return
            except Invalid as exc:
                if exc.reason != "INVALID_QUERY_LOCATOR":
                    raise
        raise Temporary(f"Salesforce: query {self.stream.name}: its pages expire before they are read")

    def _gone(self, at: Cursor, clock: str) -> Iterator[Page]:
        where = " AND ".join(filter(None, ("IsDeleted = true", at.gone.after(clock))))
        sobject = self.schema.get(self.stream.name)
        merges = _MASTER in sobject.columns
        soql = Select(sobject, ("Id", clock, *([_MASTER] if merges else []))).text(where, f"{clock}, Id")
        seen = frozenset(at.gone.seen)
        for number, (_, page) in enumerate(self._pages("queryAll", soql, _envelope(clock, (), merges))):
            again = _again(page, seen)
            fresh = [row for n, row in enumerate(page.records) if n not in again]
            merged = {row.Id: row.into for row in fresh if merges and row.into}
            cursor = self._moved(at, "gone", page, first=number == 0)
            if fresh or cursor is not None:
                gone = [row.Id for row in fresh if row.Id not in merged]
                yield Page(records=[], deleted=gone, merged=merged, cursor=cursor)

    def _moved(self, at: Cursor, leg: str, page: Any, *, first: bool) -> str | None:
        """Move a leg past this page; give the new cursor, or None where nothing moved."""
        before = at.text()
        keys = [key for row in page.records[-SEEN_AT_MOST - 1 :] if (key := _key(row))]
        setattr(at, leg, getattr(at, leg).moved(keys, self.config.overlap_s, first=first))
        after = at.text()
        return after if after != before else None

    def _scan(self) -> Iterator[Page]:
        """Read all of an sObject that has no time of change; only a whole scan tells what is gone."""
        for body, page in self._answers("query", "", "Id"):
            yield self._page(body, page, None, complete=page.done)

    def _page(
        self, body: bytes, page: Any, cursor: str | None, *, skip: frozenset[int] = frozenset(), complete: bool = False
    ) -> Page:
        warnings, self.warnings = tuple(self.warnings), []
        if not skip and not any(_cut(row) for row in page.records):
            return Page(
                body=body, at="records", cursor=cursor, complete=complete, warnings=warnings, total=page.totalSize
            )
        kept = [bytes(row) for n, row in enumerate(self._rows(body, page)) if n not in skip]
        return Page(records=kept, cursor=cursor, complete=complete, warnings=warnings, total=page.totalSize)

    def _answers(self, endpoint: str, where: str, order: str) -> Iterator[tuple[bytes, Any]]:
        """Send the stream's query; a field that the org turns out not to have is left out, with a warning."""
        while True:
            select = select_for(self.stream, self.schema, dropped=self._dropped)
            decoder = _envelope(select.sobject.clock(), tuple(name for name, _ in select.children))
            pages = self._pages(endpoint, select.text(where, order), decoder)
            try:
                first = next(pages)
            except Invalid as exc:
                if exc.reason != "INVALID_FIELD" or not self._drop(exc, select):
                    raise
                continue
            self.warnings += [text for text in select.warnings() if text not in self.warnings]
            for body, page in chain([first], pages):
                yield self._with_currency(body, select.sobject), page
            return

    def _drop(self, exc: Invalid, select: Select) -> bool:
        """Take what the org complains of out of the next query: first by a new describe, then by force."""
        name = missing_name(getattr(exc.__cause__, "content", None))
        asked = [*select.columns, *(c for _, columns in select.children for c in columns)]
        guilty = {column for column in asked if name and name in column.split(".")}
        guilty |= {c for child, columns in select.children if child == name for c in columns}
        if not guilty - {"Id"}:
            return False
        if not self._asked_anew:
            self._asked_anew = True
            self.schema.forget(self.stream.name)
            return True
        self._dropped |= guilty - {"Id"}
        return True

    def _pages(self, endpoint: str, soql: str, decoder: msgspec.json.Decoder[Any]) -> Iterator[tuple[bytes, Any]]:
        """Yield the pages of a query, as the vendor links them: each body, and its ids and times."""
        what = f"query {self.stream.name}"
        links: set[str] = set()
        self._spare()
        body = self.client.get(endpoint, what, {"q": soql})
        while True:
            page = _decoded(decoder, body, self.stream.name)
            yield body, page
            if page.nextRecordsUrl is None:
                return
            if page.nextRecordsUrl in links:
                raise Temporary(f"Salesforce: {what}: the vendor names the same page twice")
            links.add(page.nextRecordsUrl)
            body = self._next(page.nextRecordsUrl, what)

    def _spare(self) -> None:
        """Leave the last calls of the day to actions; what they read for themselves is no pull."""
        if self._sparing:
            self.client.leave_quota()

    def _next(self, link: str, what: str) -> bytes:
        """Read the page a link names: its path only, for the host is always our own."""
        link = urlsplit(link).path
        if not _NEXT.fullmatch(link):
            raise Temporary(f"Salesforce: {what}: the next page is named in a way that is not understood")
        self._spare()
        try:
            return self.client.get(link, what)
        except NotFound as exc:
            raise Invalid(f"{exc.message}; the query has expired", reason="INVALID_QUERY_LOCATOR") from exc

    def _rows(self, body: bytes, page: Any) -> list[msgspec.Raw]:
        """Split a page into its records, with children that came in pages of their own put together."""
        rows: list[msgspec.Raw] = _decoded(_ROWS, body, self.stream.name).records
        for n, row in enumerate(page.records):
            if _cut(row):
                rows[n] = self._completed(rows[n])
        return rows

    def _completed(self, row: msgspec.Raw) -> msgspec.Raw:
        record: dict[str, Any] = dict(_OBJECT.decode(row))
        for name, value in record.items():
            nested = _nested(value)
            if nested is None or nested.done:
                continue
            children = list(nested.records)
            while nested.nextRecordsUrl is not None:
                body = self._next(nested.nextRecordsUrl, f"query {self.stream.name}")
                nested = _decoded(_ROWS, body, self.stream.name)
                children += nested.records
            record[name] = {"totalSize": len(children), "done": True, "records": children}
        return msgspec.Raw(msgspec.json.encode(record))

    def _say_currency(self, sobject: SObject) -> None:
        if self._lacks_currency(sobject) and self.config.default_currency is None:
            self.warnings.append(
                "this org has one currency and does not say which; amounts stay null until default_currency is set"
            )

    def _lacks_currency(self, sobject: SObject) -> bool:
        wanted = any(path.rpartition(".")[2] == "CurrencyIsoCode" for path in self.stream.paths)
        return wanted and "CurrencyIsoCode" not in sobject.columns

    def _with_currency(self, body: bytes, sobject: SObject) -> bytes:
        """
        Put the configured currency into each record of an org that has only one and does not send it.

        Quotes inside JSON texts are escaped, so the beginning of a record cannot be mistaken.
        """
        code = self.config.default_currency
        if code is None or not self._lacks_currency(sobject):
            return body
        start = rb'\{(\s*"attributes"\s*:\s*\{\s*"type"\s*:\s*"' + sobject.name.encode() + rb'")'
        return re.sub(start, b'{"CurrencyIsoCode":"' + code.encode() + rb'",\1', body)


def _key(row: Any) -> Key | None:
    """Give a row's place in the order of reading. Salesforce writes UTC as +0000."""
    at = row.at
    if not at:
        return None
    return (f"{at[:-5]}Z" if at.endswith("+0000") else moment(at)), row.Id


def _again(page: Any, seen: frozenset[Key]) -> frozenset[int]:
    """Give the positions of rows that were read before."""
    if not seen or not page.records or (first := _key(page.records[0])) is None or first > max(seen):
        return frozenset()
    return frozenset(n for n, row in enumerate(page.records) if _key(row) in seen)


def _cut(row: Any) -> bool:
    """Say whether a subquery of this row has more rows than its answer holds."""
    nested = (getattr(row, name) for name in row.__struct_fields__ if name.startswith("c"))
    return any(one is not None and not one.done for one in nested)


def _nested(value: msgspec.Raw) -> _Rows | None:
    try:
        return _ROWS.decode(value)
    except msgspec.ValidationError:
        return None


def _decoded(decoder: msgspec.json.Decoder[Any], body: bytes, name: str) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Temporary(f"Salesforce: query {name}: the answer is cut off or is no page of records") from exc
