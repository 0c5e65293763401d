"""Times that Postgres keeps and Python does not: infinity, 24:00, years before 1 and after 9999. They come as text."""

from collections.abc import Callable
from typing import Any


def load_odd_times(connection: Any, _: Any) -> None:
    """Let a psycopg connection give such a time as Postgres writes it, instead of failing the whole read."""
    from psycopg import adapters
    from psycopg.pq import Format

    for name in ("date", "time", "timetz", "timestamp", "timestamptz", "interval"):
        oid = adapters.types[name].oid
        loader = connection.adapters.get_loader(oid, Format.TEXT)
        connection.adapters.register_loader(oid, _lenient(loader, Format.TEXT))


def _lenient(inner: Any, its_format: Any) -> Any:
    from psycopg import DataError
    from psycopg.adapt import Loader

    class Lenient(Loader):
        format = its_format

        def __init__(self, oid: int, context: Any = None) -> None:
            super().__init__(oid, context)
            self._load: Callable[[Any], Any] = inner(oid, context).load

        def load(self, data: Any) -> Any:
            try:
                return self._load(data)
            except DataError:
                return bytes(data).decode()

    return Lenient
