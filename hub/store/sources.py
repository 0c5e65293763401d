"""The registry of tables: which connection's mapping has which table, of which stream and kind."""

from dataclasses import dataclass, field

from hub.store.database import Tx


@dataclass(frozen=True)
class Source:
    """One table of one connection, as tables.Source says."""

    id: int
    connection: str
    name: str
    stream: str | None
    kind: str | None
    connector: str | None = None
    revision: str | None = None
    whole: str | None = None


@dataclass
class Sources:
    """All tables the store knows, as of one moment."""

    token: tuple[int, ...] = ()
    by_id: dict[int, Source] = field(default_factory=dict)
    by_name: dict[tuple[str, str], Source] = field(default_factory=dict)
    by_stream: dict[tuple[str, str], list[Source]] = field(default_factory=dict)

    @classmethod
    def load(cls, tx: Tx) -> "Sources":
        """Read the registry."""
        found = cls()
        for row in tx.execute(_ALL):
            found._add(Source(*row))
        streams = sum(one.stream is not None for one in found.by_id.values())
        found.token = (max(found.by_id, default=0), streams)
        return found

    def current(self, tx: Tx) -> bool:
        """Tell whether the registry is still what the database says."""
        return self.token == _token(tx)

    def siblings(self, source_id: int) -> list[Source]:
        """Give the tables of the same stream: a reference to one of them may mean a record of any."""
        source = self.by_id.get(source_id)
        if source is None or source.stream is None:
            return []
        return self.by_stream.get((source.connection, source.stream), [])

    def of_kind(self, kind: str) -> list[Source]:
        return [source for source in self.by_id.values() if source.kind == kind]

    def register(self, tx: Tx, wanted: Source) -> Source:
        """Put a table into the registry, or update what is known of it; `wanted.id` is ignored."""
        known = self.by_name.get((wanted.connection, wanted.name))
        made = Source(known.id if known else self._next_id(), *_facts(wanted))
        if known == made:
            return known
        tx.execute(_UPSERT, (made.id, *_facts(made)))
        if known:
            self._drop(known)
        self._add(made)
        return made

    def made_by(self, wanted: Source, mapping: str) -> str | None:
        """Say which mapping made all rows of a table, now that one of them is made by `mapping` (see tables.Source)."""
        known = self.by_name.get((wanted.connection, wanted.name))
        if known is not None and known.stream == wanted.stream:
            return known.whole if known.whole in (mapping, under_way(mapping)) else None
        beside = self.by_stream.get((wanted.connection, wanted.stream or ""), [])
        new = known is None or known.stream is None
        return mapping if new and all(one.whole == mapping for one in beside) else None

    def mention(self, tx: Tx, connection: str, name: str) -> Source:
        """Find a table that a record refers to; register its name if it has not been synced yet."""
        known = self.by_name.get((connection, name))
        return known or self.register(tx, Source(0, connection, name, None, None))

    def _next_id(self) -> int:
        return max(self.by_id, default=0) + 1

    def _add(self, source: Source) -> None:
        self.by_id[source.id] = source
        self.by_name[source.connection, source.name] = source
        if source.stream is not None:
            self.by_stream.setdefault((source.connection, source.stream), []).append(source)

    def _drop(self, source: Source) -> None:
        if source.stream is not None:
            self.by_stream[source.connection, source.stream].remove(source)


_ALL = "SELECT id, connection, name, stream, kind, connector, revision, whole FROM source ORDER BY id"
_UPSERT = """
INSERT INTO source (id, connection, name, stream, kind, connector, revision, whole) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET stream = excluded.stream, kind = excluded.kind, connector = excluded.connector,
    revision = excluded.revision, whole = excluded.whole
"""


def under_way(mapping: str) -> str:
    """Say that the rows of a table are on their way to a mapping."""
    return f">{mapping}"


_OTHERS = "FROM source WHERE connection = ? AND stream = ? AND coalesce(whole, '') <> ?"
_BEGIN = "UPDATE source SET whole = ? WHERE connection = ? AND stream = ? AND coalesce(whole, '') <> ?"
_SETTLE = "UPDATE source SET whole = ? WHERE connection = ? AND stream = ? AND whole = ?"


def begin(tx: Tx, connection: str, stream: str, *, mapping: str) -> None:
    """Note that all rows of a stream's tables will be made anew; a page of another mapping takes that back."""
    tx.execute(_BEGIN, (under_way(mapping), connection, stream, mapping))


def settled(tx: Tx, connection: str, stream: str, *, mapping: str) -> bool:
    """Note that all rows of a stream's tables are made by a mapping; False where a page of another one came between."""
    tx.execute(_SETTLE, (mapping, connection, stream, under_way(mapping)))
    left = tx.execute(f"SELECT 1 {_OTHERS} LIMIT 1", (connection, stream, mapping))
    return left.fetchone() is None


def _facts(one: Source) -> tuple[str, str, str | None, str | None, str | None, str | None, str | None]:
    return one.connection, one.name, one.stream, one.kind, one.connector, one.revision, one.whole


def _token(tx: Tx) -> tuple[int, ...]:
    return tuple(tx.execute("SELECT coalesce(max(id), 0), count(stream) FROM source").fetchone())
