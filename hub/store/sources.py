"""The registry of tables: which connection's mapping has which table, of which stream and kind."""

from dataclasses import dataclass, field

from hub.store.database import Tx


@dataclass(frozen=True)
class Source:
    """One table of one connection. `stream` and `kind` are None until it is synced for the first time."""

    id: int
    connection: str
    name: str
    stream: str | None
    kind: str | None
    connector: str | None = None
    revision: str | None = None


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
        found = cls(_token(tx))
        for row in tx.execute("SELECT id, connection, name, stream, kind, connector, revision FROM source ORDER BY id"):
            found._add(Source(*row))
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


_UPSERT = """
INSERT INTO source (id, connection, name, stream, kind, connector, revision) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET stream = excluded.stream, kind = excluded.kind, connector = excluded.connector,
    revision = excluded.revision
"""


def _facts(source: Source) -> tuple[str, str, str | None, str | None, str | None, str | None]:
    return source.connection, source.name, source.stream, source.kind, source.connector, source.revision


def _token(tx: Tx) -> tuple[int, ...]:
    return tuple(tx.execute("SELECT coalesce(max(id), 0), count(stream) FROM source").fetchone())
