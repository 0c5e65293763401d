"""Copy SQLite's write-ahead log into its file beside the writer, who then need not wait for the disk."""

import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing

log = logging.getLogger("hub.store")
ROWS = 4000
"""After so many changed rows the log is copied."""
LONG = 16_000
"""With so many pages the log is long: the writer copies it himself."""


class Checkpoints:
    """
    A thread that copies the log whenever enough was written; it is begun when that is so for the first time.

    The log begins anew only where all of it was copied, which a writer that goes on prevents: he does that himself once
    the log is long (`wal_autocheckpoint`), and finds little left to copy. Nobody else may be copying then, so on a slow
    disk, where this thread would never pause, every other turn is left to him.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._told = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wanted = self._closed = False
        self._rows = 0

    def written(self, rows: int) -> None:
        """Tell how many rows the writer has changed since it was opened."""
        if rows - self._rows < ROWS:
            return
        self._rows = rows
        with self._told:
            self._wanted = True
            if self._thread is None and not self._closed:
                self._thread = self._started()
            self._told.notify()

    def _started(self) -> threading.Thread | None:
        thread = threading.Thread(target=self._run, name="hub-checkpoint", daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:  # no more threads; what was written is committed all the same
            log.warning("the database's log is copied by its writer (%s)", exc)
            return None
        return thread

    def stop(self) -> None:
        """Let the thread end; what was not copied yet stays in the log, which whoever opens the file reads too."""
        with self._told:
            self._closed = True
            self._told.notify()

    def close(self) -> None:
        """Stop, and wait for the thread's end."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._due():
            try:
                with closing(self._connect()) as connection:
                    _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except sqlite3.Error as exc:
                log.warning("the database's log was not copied (%s); the writer does it", exc)
            else:
                if pages >= LONG:
                    self._wanted = False  # what was asked for meanwhile is the writer's
                    self._due()

    def _due(self) -> bool:
        with self._told:
            self._told.wait_for(lambda: self._wanted or self._closed)
            self._wanted = False
            return not self._closed
