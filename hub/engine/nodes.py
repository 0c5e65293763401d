"""Which workers are alive: a row each in `hub_node`, renewed several times a lease."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from hub.errors import ConfigError, Temporary

_TABLE = "CREATE TABLE IF NOT EXISTS hub_node (executor_id TEXT PRIMARY KEY, beat DOUBLE PRECISION NOT NULL)"
_BEAT = (
    "INSERT INTO hub_node (executor_id, beat) VALUES (:id, {now})"
    " ON CONFLICT (executor_id) DO UPDATE SET beat = excluded.beat"
)
_NOW = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "extract(epoch FROM clock_timestamp())",  # the database's clock: those of nodes differ
}
_LOCK = {"sqlite": "", "postgresql": " FOR UPDATE SKIP LOCKED"}
_TURN = 7_237_001
"""Number of the advisory lock under which the table is created: two nodes may start at once."""


class Nodes:
    """The table of workers, as one of them sees it."""

    def __init__(self, url: str, node_id: str) -> None:
        self.node_id = node_id
        address = make_url(url)
        if address.get_backend_name() == "postgresql":
            address = address.set(drivername="postgresql+psycopg")
        self._kind = address.get_backend_name()
        self._engine = create_engine(address, pool_size=1, max_overflow=0, pool_pre_ping=True)
        try:
            with self._engine.begin() as tx:
                if self._kind == "postgresql":
                    tx.execute(text(f"SELECT pg_advisory_xact_lock({_TURN})"))
                tx.execute(text(_TABLE))
        except SQLAlchemyError as exc:
            self._engine.dispose()
            where = address.render_as_string(hide_password=True)
            raise ConfigError(f"[hub] engine_url: {where} does not answer: {_short(exc)}") from exc

    def beat(self) -> None:
        """Say that this worker lives. Raises Temporary where the database does not answer."""
        try:
            with self._engine.begin() as tx:
                tx.execute(text(_BEAT.format(now=_NOW[self._kind])), {"id": self.node_id})
        except SQLAlchemyError as exc:
            raise Temporary(f"the engine's database does not answer: {_short(exc)}") from exc

    def ages(self) -> dict[str, float]:
        """Give the seconds since each worker was last heard of."""
        with self._engine.begin() as tx:
            rows = tx.execute(text(f"SELECT executor_id, {_NOW[self._kind]} - beat FROM hub_node ORDER BY 1"))  # noqa: S608
            return {str(node): float(age) for node, age in rows}

    def bury(self, silent_s: float, recover: Callable[[Sequence[str]], None]) -> list[str]:
        """
        Remove the others that were silent that long, after `recover` has taken their jobs over; give their ids.

        All in one transaction on rows that nobody else is burying: a crash in between leaves them to the next.
        """
        try:
            with self._engine.begin() as tx:
                dead = self._silent(tx, silent_s)
                if dead:
                    recover(dead)
                    for node in dead:
                        tx.execute(text("DELETE FROM hub_node WHERE executor_id = :id"), {"id": node})
                return dead
        except SQLAlchemyError as exc:
            raise Temporary(f"the engine's database does not answer: {_short(exc)}") from exc

    def _silent(self, tx: Connection, silent_s: float) -> list[str]:
        now, lock = _NOW[self._kind], _LOCK[self._kind]
        sql = f"SELECT executor_id FROM hub_node WHERE executor_id <> :id AND beat <= {now} - :silent{lock}"  # noqa: S608
        return [str(row[0]) for row in tx.execute(text(sql), {"id": self.node_id, "silent": silent_s})]

    def leave(self) -> None:
        """Take this worker off the table."""
        try:
            with self._engine.begin() as tx:
                tx.execute(text("DELETE FROM hub_node WHERE executor_id = :id"), {"id": self.node_id})
        except SQLAlchemyError:
            return  # its row goes stale, which says the same later

    def close(self) -> None:
        self._engine.dispose()


def _short(exc: SQLAlchemyError) -> str:
    """Name an error without the statement and its values."""
    return str(getattr(exc, "orig", None) or type(exc).__name__).splitlines()[0]
