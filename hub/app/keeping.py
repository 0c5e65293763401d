"""Keep house: raw records that are too old or that nothing is made of any more give their room back."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hub.app import remaps
from hub.config import duration_s
from hub.errors import HubError
from hub.store import clock, compacting, is_postgres, retention

if TYPE_CHECKING:
    from hub.app.opened import App

log = logging.getLogger("hub.keeping")
SUPERSEDED = 0.3
LEAST = 1000
SHRINK_BELOW = 200_000_000
FREE = 0.2


def expire(app: "App", names: Sequence[str] | None = None) -> dict[str, dict[str, int]]:
    """Forget raw records that their streams keep no longer; report by connection and stream how many rows had one."""
    report: dict[str, dict[str, int]] = {}
    for name in names or app.connections.names():
        try:
            mapping = remaps.mapped(app, name).mapping
        except HubError as exc:
            log.warning("%s: raw records are kept, for its mapping cannot be read: %s", name, exc.error_code)
            continue
        for stream in mapping.streams():
            kept = mapping.raw_retention(stream)
            if kept is not None:
                age_ms = 0 if kept == "none" else duration_s(kept) * 1000
                before = clock.millis(clock.now()) - age_ms
                gone = retention.expire(app.store.database, name, stream, before=before)
                report.setdefault(name, {})[stream] = gone
    return report


def compact(app: "App", *, shrink: bool = False, tell: compacting.Tell = lambda done, of: None) -> dict[str, Any]:
    """
    Forget what is too old, write blocks of raw records anew without what is superseded, and give the room back.

    A SQLite file is written anew, which lets writers wait, where that is quickly done or `shrink` asks for it.
    """
    database = app.store.database
    before, _ = database.size()
    expired = expire(app)
    room = compacting.compact(database, tell=tell)
    size, free = database.size()
    shrunk = shrink or is_postgres(database.url) or (size - free < SHRINK_BELOW and free >= FREE * size)
    if shrunk:
        database.shrink()
    after, free = database.size()
    return {
        **asdict(room),
        "superseded": round(room.superseded, 3),
        "expired": expired,
        "bytes_before": before,
        "bytes_after": after,
        "bytes_free": free,
        "shrunk": shrunk,
    }


def compact_if_due(app: "App") -> bool:
    """Compact where enough is superseded; the room is kept for what comes next. Say whether it was done."""
    room, _ = compacting.look(app.store.database)
    if room.records - room.live < LEAST or room.superseded < SUPERSEDED:
        return False
    done = compacting.compact(app.store.database)
    log.info("compacted raw records: %d bytes freed", done.freed_bytes)
    return True
