"""Who holds a database: every hub that has it open shares a lock beside it, and a restore wants it alone."""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from weakref import finalize

from hub.errors import ConfigError, Conflict, Temporary


def share(path: Path, holder: object) -> Callable[[], object]:
    """
    Hold the database as one of many, until the function that is given back is called or `holder` is gone.

    Raises Temporary while it is being restored, ConfigError where no file can be made beside it.
    """
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(descriptor)
        raise Temporary(f"{path}: is being restored", code="restoring", retry_after_s=10.0) from exc
    return finalize(holder, os.close, descriptor)


@contextmanager
def alone(paths: Sequence[Path]) -> Iterator[None]:
    """Hold databases alone. Raises Conflict where a hub has one open."""
    with ExitStack() as stack:
        for path in paths:
            descriptor = _open(path)
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                text = f"{path}: a hub has it open; stop `hub serve`, `hub worker` and every other command first"
                raise Conflict(text, code="database_in_use") from exc
        yield


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as exc:
        raise ConfigError(f"{path.parent}: a database cannot be kept there: {exc.strerror}") from exc
