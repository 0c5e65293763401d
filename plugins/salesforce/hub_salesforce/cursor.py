"""Where a pull stands: a keyset position per leg, and the rows after it that were seen already."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from hub import Invalid
from hub_salesforce.client import ID
from hub_salesforce.soql import moment

SEEN_AT_MOST = 100
Key = tuple[str, str]
"""(time of change, id); sorts as the rows are read."""


class Leg(msgspec.Struct, omit_defaults=True):
    """
    The position of one query that is read in order of (time, id).

    A transaction gets its time when it writes and shows its rows when it commits, so that a row may appear behind one
    that was read before. Therefore `at`, `id` stay behind by the overlap; `seen` are the rows after that position
    which were read already and are left out when they come again.
    """

    at: str = ""
    id: str = ""
    seen: list[Key] = []

    def after(self, clock: str) -> str:
        """Write the condition for all rows behind this position; empty at the beginning."""
        if not self.at:
            return ""
        at = moment(self.at)
        if not self.id:
            return f"{clock} >= {at}"
        return f"(({clock} > {at}) OR ({clock} = {at} AND Id > '{self.id}'))"

    def moved(self, keys: Sequence[Key], overlap_s: int, *, first: bool) -> "Leg":
        """
        Give the position after these rows, in the vendor's own order, were read.

        The first page of a query begins behind this position, so that it names again what of `seen` is still so.
        """
        if not keys:
            return self
        last = keys[-1]
        before = [] if first else [key for key in self.seen if key <= last]
        known = list(dict.fromkeys([*before, *keys, *(key for key in self.seen if key > last)]))
        edge = moment(datetime.fromisoformat(known[-1][0]) - timedelta(seconds=overlap_s))
        keep = [key for key in known if overlap_s and key[0] > edge][-SEEN_AT_MOST:]
        passed = [key for key in known[: len(known) - len(keep)] if key <= last]
        if not passed:
            return Leg(self.at, self.id, keep)
        return Leg(*passed[-1], known[known.index(passed[-1]) + 1 :])


class Cursor(msgspec.Struct, omit_defaults=True):
    """The legs of a stream: rows that are there, and rows in the recycle bin. `v` names this make of cursor."""

    v: Literal["sf1"]
    live: Leg = msgspec.field(default_factory=Leg)
    gone: Leg = msgspec.field(default_factory=Leg)

    def text(self) -> str:
        return msgspec.json.encode(self).decode()


def read_cursor(text: str | None, since: datetime | None) -> Cursor:
    """Read a cursor that an earlier page carried; none starts at `since`. Raises Invalid for one of another make."""
    if text is None:
        start = moment(since) if since else ""
        return Cursor("sf1", Leg(start), Leg(start))
    try:
        cursor = msgspec.json.decode(text, type=Cursor)
        for leg in (cursor.live, cursor.gone):
            _checked(leg)
    except (msgspec.DecodeError, ValueError) as exc:
        raise Invalid("Salesforce: the stored cursor cannot be read", code="bad_cursor") from exc
    return cursor


def _checked(leg: Leg) -> None:
    if leg.at:
        moment(leg.at)
    if leg.id and not ID.fullmatch(leg.id):
        raise ValueError("no id")
