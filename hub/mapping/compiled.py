"""A mapping, compiled: what a connection works with."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from hub.connector import Page, Stream, Verb
from hub.errors import Unsupported
from hub.mapping import never, words
from hub.mapping.loading import Resolve, Source, load, revision
from hub.mapping.loop import compile_table, promoted
from hub.mapping.pages import Broken, Reader, parts_of
from hub.mapping.parsing import Allowed, parse_document
from hub.mapping.paths import Path, dotted
from hub.mapping.reads import inner_of, paths_of
from hub.mapping.rows import Made, MappedPage, MappedRecord, Reject, TableRows
from hub.mapping.shape import Node, Skip
from hub.mapping.spec import Each, Table
from hub.mapping.verbs import bind
from hub.mapping.words import Place
from hub.mapping.writing import Writing

_NO_PART = ("writable", "write", "raw_retention")


class StreamMap:
    """All tables of one stream: one decoder for their paths together, one function each."""

    def __init__(self, name: str, tables: list[Table], file: str, made_by: str = "") -> None:
        self.name = name
        self.tables = tables
        self.paths: dict[str, None] = {}
        self.texts: set[str] = set()
        root = Node()
        for table in tables:
            self._add(table, root, Place(file).at(table.name))
        self.revision = made_by
        self.never = never.of_stream(tables, self.paths, file)
        self.raw_retention = never.retention_of(tables, file)
        record = root.settle()
        self.reader = Reader(name, record, dict if root.whole else root.struct or Skip)
        self.run = {table.name: compile_table(table, root) for table in tables}
        self.promoted = {table.name: promoted(table) for table in tables}

    def _add(self, table: Table, root: Node, place: Place) -> None:
        scopes: list[tuple[Node, str]] = [(root, "")]
        if table.each is not None:
            scopes.append(self._list(scopes, table.each, place.under("each")))
        for path in _record_paths(table):
            self._use(scopes, path, place)
        for entry in table.entries:
            for each in inner_of(entry.rule):
                self._inside(scopes, each, place.at(f"{table.name}.fields").under(entry.name))

    def _inside(self, scopes: list[tuple[Node, str]], each: Each, place: Place) -> None:
        inner = [*scopes, self._list(scopes, each.path, place)]
        for path in (*(test.path for test in each.where), *paths_of(each.item, lists=False)):
            self._use(inner, path, place)
        for deeper in inner_of(each.item):
            self._inside(inner, deeper, place)

    def _base(self, scopes: list[tuple[Node, str]], path: Path, place: Place) -> tuple[Node, str]:
        if path.ups >= len(scopes):
            place.fail(f'"{path.text}" climbs above the record; ^ is the parent of `each`')
        return scopes[-1 - path.ups]

    def _use(self, scopes: list[tuple[Node, str]], path: Path, place: Place) -> None:
        node, prefix = self._base(scopes, path, place)
        node.add(path.steps)
        self.texts.add(path.text)
        for text in dotted(path.steps) or [""]:
            self.paths[_under(prefix, text) or "@"] = None

    def _list(self, scopes: list[tuple[Node, str]], path: Path, place: Place) -> tuple[Node, str]:
        node, prefix = self._base(scopes, path, place)
        node = node.add(path.steps, leaf=False)
        node.items = node.items or Node()
        here = dotted(path.steps)
        return node.items, f"{_under(prefix, here[-1] if here else '')}[]"

    def map(self, page: Page) -> MappedPage:
        if self.never:
            page = never.page(page, self.name, self.never)
        records = self.reader.read(page)
        found = {table.name: self._rows(table, records) for table in self.tables}
        self._broken(records, found)
        skipped = self._skipped(len(records), found)
        return MappedPage(len(records), found, skipped, lambda: parts_of(page, self.name))

    def _rows(self, table: Table, records: list[Any]) -> TableRows:
        read, rows, deleted, deleted_at, untaken, untaken_at, untaken_index, rejects = self.run[table.name](records)
        return TableRows(
            table.name, table.kind, read, rows, deleted, untaken, rejects, 0, deleted_at, untaken_at, untaken_index,
            self.promoted[table.name],
        )  # fmt: skip

    def _broken(self, records: list[Any], found: dict[str, TableRows]) -> None:
        """Count records that no function could look at, and reject them in the stream's first table."""
        root = self.reader.root
        odd = [(at, record) for at, record in enumerate(records) if record.__class__ is not root]
        for table in self.tables:
            if table.each is None:
                found[table.name].read = len(records)
        first = found[next((t.name for t in self.tables if t.each is None), self.tables[0].name)]
        for at, record in odd:
            reason = record.reason if isinstance(record, Broken) else _complaint(record)
            first.rejects.append(Reject(first.table, None, None, reason, at))

    def _skipped(self, read: int, found: dict[str, TableRows]) -> int:
        levels: dict[str, list[TableRows]] = {}
        for table in self.tables:
            levels.setdefault(table.each.text if table.each else "", []).append(found[table.name])
        for level in levels.values():
            untaken = set(level[0].untaken_at).intersection(*(rows.untaken_at for rows in level[1:]))
            for rows in level:
                rows.skipped = len(untaken)
        if list(levels) == [""]:
            return levels[""][0].skipped
        return read - len(set().union(*(rows.indexes() for rows in found.values())))


def _projecting(body: dict[str, Any]) -> dict[str, Any]:
    return {word: value for word, value in body.items() if word not in _NO_PART}


def _complaint(record: Any) -> str:
    """Give the reason from what a connector puts in place of a line that is no record: [reason, the line's text]."""
    told = isinstance(record, list) and len(record) == 2 and all(isinstance(item, str) for item in record)
    return record[0] if told else "the record is no object"


def _under(prefix: str, text: str) -> str:
    return f"{prefix}.{text}" if prefix and text and not text.startswith("[") else prefix + text


def _record_paths(table: Table) -> Iterator[Path]:
    yield from table.key
    yield from paths_of(table.updated_at)
    yield from (test.path for test in (*table.where, *table.deleted))
    for entry in table.entries:
        yield from paths_of(entry.rule, lists=False)


class CompiledMapping:
    """A mapping file with all it extends, ready to map pages, to write fields, and to bind legacy verbs."""

    def __init__(self, source: Source, document: dict[str, Any], allowed: Allowed) -> None:
        self.source = source
        self.revision = revision(document)
        self.tables, self.actions = parse_document(source.where, document, allowed)
        self._document = document
        self._streams: dict[str, StreamMap] = {}
        self._lock = threading.Lock()
        self.writing = Writing(source.where, self.tables)
        for name in self.streams():
            self._of(name)

    def streams(self) -> list[str]:
        """Name the streams in file order, each once."""
        return list(dict.fromkeys(table.stream for table in self.tables.values()))

    def tables_of(self, stream: str) -> list[str]:
        """Name the tables made of a stream's records, in file order."""
        return [table.name for table in self.tables.values() if table.stream == stream]

    def elements(self, stream: str) -> frozenset[str]:
        """Name those tables of a stream that are made of what is inside its records."""
        return frozenset(name for name in self.tables_of(stream) if self.tables[name].each is not None)

    def projection(self, stream: str) -> str:
        """Give the revision of what makes a stream's rows: verbs, write sides and other streams are no part of it."""
        return self._of(stream).revision

    def texts(self, stream: str) -> set[str]:
        """Give the paths that a stream's tables read, as they are written."""
        return self._of(stream).texts

    def raw_retention(self, stream: str) -> str | None:
        """Say how long a stream's raw records are kept: "90d", "none", or None for ever."""
        return self._of(stream).raw_retention

    def never(self, stream: str) -> tuple[Path, ...]:
        """Name what is cut out of a stream's records before anything is stored."""
        return self._of(stream).never

    def _of(self, stream: str) -> StreamMap:
        with self._lock:
            if stream not in self._streams:
                tables = [table for table in self.tables.values() if table.stream == stream]
                if not tables:
                    words.unknown(Place(self.source.where), "stream", stream, self.streams())
                share = {table.name: _projecting(self._document[table.name]) for table in tables}
                self._streams[stream] = StreamMap(stream, tables, self.source.where, revision(share))
            return self._streams[stream]

    def stream(self, name: str, *, since: datetime | None = None) -> Stream:
        """Say what a connector must bring for a stream. Raises MappingError for one that the mapping lacks."""
        mapped = self._of(name)
        plain = [table for table in mapped.tables if table.each is None]
        options: dict[str, Any] = {}
        for table in mapped.tables:
            for option, value in table.options.items():
                if options.setdefault(option, value) != value:
                    Place(self.source.where).at(table.name).fail(f"`{option}` differs between tables of stream {name}")
        stamp = next((table.updated_at for table in plain if table.updated_at), None)
        return Stream(
            name,
            paths=tuple(mapped.paths),
            key=tuple(text for path in plain[0].key for text in dotted(path.steps)[-1:]) if plain else ("id",),
            updated_at=dotted(stamp.paths[0].steps)[-1] if stamp and stamp.paths[0].steps else None,
            options=options,
            since=since,
        )

    def map_page(self, stream: str, page: Page) -> MappedPage:
        """
        Map a page for all tables of a stream; a record that cannot be mapped is a reject, the others go on.

        Raises Temporary if the page is no JSON or lacks its list.
        """
        return self._of(stream).map(page)

    def map_record(self, stream: str, raw: bytes | dict[str, Any]) -> MappedRecord:
        """Map one raw record and say what each table of the stream made of it."""
        page = self.map_page(stream, Page(records=[raw]))
        made: list[Made] = []
        children: list[Made] = []
        for name, rows in page.tables.items():
            (children if self.tables[name].each is not None else made).extend(_made(rows))
        return MappedRecord(made, children)

    def write(self, table_or_kind: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """
        Say unified changes in the vendor's words, nested as the vendor's paths say; null clears.

        Raises Unsupported for a field that is not writable, MappingError for a value that has no vendor word.
        """
        return self.writing.write(table_or_kind, changes)

    def bind(self, action: str, context: Mapping[str, Any]) -> Verb:
        """Fill a legacy verb from a run's context. Raises Unsupported if the mapping has no such verb, MappingError."""
        if action not in self.actions:
            raise Unsupported(f'{self.source.where} has no [actions."{action}"]; {words.hint(action, self.actions)}')
        return bind(self.actions[action], context, self.source.where)


def _made(rows: TableRows) -> Iterator[Made]:
    for row in rows.rows:
        yield Made(rows.table, rows.kind, "mapped", row.remote_id, msgspec.json.decode(row.body))
    for key in rows.deleted:
        yield Made(rows.table, rows.kind, "deleted", key)
    for bad in rows.rejects:
        yield Made(rows.table, rows.kind, "rejected", bad.remote_id, reject=bad)


_compiled: WeakValueDictionary[Any, CompiledMapping] = WeakValueDictionary()
_compiling = threading.Lock()


def compile_mapping(
    source: Source,
    *,
    converters: Mapping[str, Callable[..., Any]] | None = None,
    table_options: Collection[str] = frozenset(),
    resolve: Resolve | None = None,
    streams: Collection[str] | None = None,
) -> CompiledMapping:
    """
    Compile a mapping file.

    `converters` are the plugins', `table_options` the words that the connector adds to tables, `resolve` finds what
    `extends` names, `streams` are the connector's pulls ("*" takes any). What was compiled before, and is still in use,
    is given again. Raises MappingError that names file, table, key, what was found and what would be right.
    """
    document = load(source, resolve)
    allowed = Allowed(converters or {}, table_options, streams)
    key = (
        source,
        revision(document),
        tuple(sorted(allowed.converters.items(), key=itemgetter(0))),
        frozenset(table_options),
        None if streams is None else frozenset(streams),
    )
    with _compiling:
        found = _compiled.get(key)
        if found is None:
            found = _compiled[key] = CompiledMapping(source, document, allowed)
    return found
