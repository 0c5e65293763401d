"""Look at some rows of some pages of a pull: how often is each field filled?"""

from typing import Any

import msgspec

from hub.mapping import MappedPage
from hub.store.fills import Look

EVERY = 20
ROWS = 100
_NOTHING: tuple[Any, ...] = (None, "", [], {})
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Sample:
    """Of the pages that brought something new the first and each twentieth: the pull does not notice."""

    def __init__(self) -> None:
        self.pages = 0
        self.looks: dict[str, Look] = {}

    def add(self, page: MappedPage) -> None:
        """Look at a page, if it is its turn."""
        if self.pages % EVERY == 0:
            for name, table in page.tables.items():
                step = max(1, len(table.rows) // ROWS)
                for row in table.rows[::step][:ROWS]:
                    _add(self.looks.setdefault(name, Look()), _decode(row.body))
        self.pages += 1


def _add(look: Look, body: dict[str, Any]) -> None:
    look.looked += 1
    custom = body.pop("custom", None)
    for name, value in body.items():
        look.filled[name] = look.filled.get(name, 0) + (value not in _NOTHING)
    for name, value in (custom or {}).items():
        look.filled[f"custom.{name}"] = look.filled.get(f"custom.{name}", 0) + (value not in _NOTHING)
