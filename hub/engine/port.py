"""The engine as the rest of the hub sees it."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hub.engine.durable import Durable
from hub.engine.owner import Owner
from hub.errors import Temporary

if TYPE_CHECKING:
    from hub.engine.nodes import Nodes

log = logging.getLogger("hub.engine")
LEASE_S = 30.0
BEATS_PER_LEASE = 4


class Engine:
    """
    Hands out jobs to the workers on one database. One per process; thread-safe.

    On SQLite one worker owns the file; on Postgres many share the database, and one that has not been heard of for
    `lease_s` seconds loses its jobs to the others.
    """

    _open: "Engine | None" = None

    def __init__(self, owner: Owner, nodes: "Nodes", durable: Durable, lease_s: float) -> None:
        self._owner = owner
        self._nodes = nodes
        self._durable = durable
        self._lease_s = lease_s
        self._heard = time.monotonic()
        self._ending = threading.Event()
        self._beating = threading.Thread(target=self._beats, name="engine-beat", daemon=True)

    @classmethod
    def open(
        cls, url: str, node_id: str, jobs: Mapping[str, Callable[..., object]], *, lease_s: float = LEASE_S
    ) -> "Engine":
        """
        Open the engine's database, creating it on first use; nothing runs before `start`.

        `node_id` must be new for every process. Raises ConfigError where the database cannot be used, Conflict where
        another worker owns the file.
        """
        if cls._open is not None:
            raise RuntimeError("an engine is open in this process")
        from hub.engine.nodes import Nodes  # SQLAlchemy: 10 MB that only workers need

        owner = Owner.take(url, node_id)
        try:
            nodes = Nodes(url, node_id)
            engine = cls(owner, nodes, Durable(url, node_id, jobs), lease_s)
        except BaseException:
            owner.release()
            raise
        cls._open = engine
        return engine

    @property
    def alone(self) -> bool:
        """Whether no other worker can be on this database."""
        return self._owner.alone

    def start(self) -> None:
        """Begin to work; jobs that dead workers left are taken over first."""
        self._nodes.beat()
        self._durable.launch()
        self._take_over(0.0 if self.alone else self._lease_s)
        self._beating.start()

    def enqueue(self, job: str, job_id: str, partition: str, *args: Any) -> bool:
        """
        Ask for one call of `job`; False where this id was asked for before.

        Jobs of one partition (a connection) run one at a time, in the order they were asked for; `args` are plain JSON,
        ids rather than contents. Raises Temporary where the database does not answer.
        """
        return self._durable.enqueue(job, job_id, partition, args)

    def waits(self, prefix: str) -> bool:
        """Say whether a job whose id begins so has not begun yet."""
        return self._durable.waits(prefix)

    def finished(self, *, older_than_s: float, prefix: str = "") -> list[str]:
        """Name up to 500 jobs that ended longer ago than that."""
        return self._durable.finished(older_than_s, prefix)

    def forget(self, *, older_than_s: float, prefix: str = "") -> int:
        """Delete what is known of jobs that ended longer ago than that; their ids may be asked for again."""
        count = 0
        while ids := self._durable.finished(older_than_s, prefix):
            self._durable.delete(ids)
            count += len(ids)
        return count

    def nodes(self) -> dict[str, float]:
        """Give the workers on this database, each with the seconds since it was last heard of."""
        return self._nodes.ages()

    def healthy(self) -> bool:
        """Say whether the database is there and has taken this worker's beat within the lease."""
        return self._owner.holds() and time.monotonic() - self._heard < max(self._lease_s, 1.0)

    def stop(self, drain_s: float = 0.0) -> bool:
        """
        Begin no more jobs, let those under way end, and close; False where some had not ended after `drain_s`.

        Jobs claimed and not begun go back. Those that had not ended are taken over by another worker after the lease.
        """
        if Engine._open is not self:
            return True
        drained = self._durable.drain(drain_s)
        self._ending.set()
        if self._beating.is_alive():
            self._beating.join(5.0)
        if drained and self.healthy():
            self._durable.recover([self._nodes.node_id])
            self._nodes.leave()
        self._durable.close()
        self._nodes.close()
        self._owner.release()
        Engine._open = None
        return drained

    def _beats(self) -> None:
        while not self._ending.wait(self._lease_s / BEATS_PER_LEASE):
            try:
                self._nodes.beat()
                self._heard = time.monotonic()
                if not self.alone:
                    self._take_over(self._lease_s)
            except Temporary as exc:
                log.warning("%s", exc.message)

    def _take_over(self, silent_s: float) -> None:
        dead: Sequence[str] = self._nodes.bury(silent_s, self._durable.recover)
        for node in dead:
            log.warning("worker %s is gone; its jobs are taken over", node)
