"""Leases of runs that take long: renewed for as long as this process works them, so that a lease may be short."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hub.errors import HubError

if TYPE_CHECKING:
    from hub.ledger.journal import Ledger

log = logging.getLogger("hub.ledger")
PER_LEASE = 4
"""How often a lease is renewed before it would end."""


class Keeper:
    """Renews what is held, in a thread that is there only while something is. Thread-safe."""

    def __init__(self, ledger: "Ledger") -> None:
        self._ledger = ledger
        self._held: dict[str, str] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def holding(self, run_id: str, owner: str) -> Iterator[None]:
        """Keep the lease that `owner` has of a run from ending inside the block; one that was lost stays lost."""
        with self._lock:
            self._held[owner] = run_id
            if self._thread is None and not self._over.is_set():
                self._thread = threading.Thread(target=self._keep, name="leases", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._held[owner]

    def close(self) -> None:
        """Renew nothing any more."""
        self._over.set()
        thread = self._thread
        if thread is not None:
            thread.join()

    def _keep(self) -> None:
        while not self._over.wait(self._ledger.lease_s / PER_LEASE):
            with self._lock:
                held = list(self._held.items())
                if not held:
                    self._thread = None
                    return
            try:
                self._ledger.renew(held)
            except HubError as exc:
                log.warning("the leases of %d runs could not be renewed: %s", len(held), exc.message)
