"""What a committed page remembers, as short JSON with a version in front."""

import msgspec

from hub import Invalid


class Cursor(msgspec.Struct, omit_defaults=True, frozen=True):
    """
    Where a stream stands.

    `after`: the cursor of a cursor export. `start`: the next start_time (epoch seconds) of a time-based export.
    `deleted`: the newest deletion seen in the feed of deleted tickets. All of it came from answers.
    """

    v: int = 1
    after: str | None = None
    start: int | None = None
    deleted: str | None = None

    def text(self) -> str:
        return msgspec.json.encode({"v": self.v, **msgspec.to_builtins(self)}).decode()


def parse(text: str | None) -> Cursor:
    """Read a cursor of ours. Raises Invalid if it is none; a full sync starts anew."""
    if text is None:
        return Cursor()
    try:
        cursor = msgspec.json.decode(text, type=Cursor)
    except msgspec.DecodeError as exc:
        raise Invalid("zendesk: the stored cursor cannot be read", code="bad_cursor") from exc
    if cursor.v != 1:
        raise Invalid("zendesk: the stored cursor is of another version", code="bad_cursor")
    return cursor
