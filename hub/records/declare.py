"""How a noun is declared: marks on its fields, and the `x_raw` that every enum field `x` brings along."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

PERSONAL = msgspec.Meta(extra={"personal": True}, extra_json_schema={"x-personal": True})
Personal = Annotated[str | None, PERSONAL]
Time = datetime | None


class RecordRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reference to a record of the same connection, by table of the mapping and the vendor's id."""

    table: str
    remote_id: str


class EntityRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reference to an entity anywhere, by the value of a unified field."""

    kind: str
    by: str
    value: str


Ref = Annotated[dict[str, str] | None, msgspec.Meta(extra={"ref": True}, extra_json_schema={"x-ref": True})]
"""Stored as RecordRef or EntityRef; what reads answer with has the hub's `id` beside it."""
Refs = Annotated[list[dict[str, str]] | None, msgspec.Meta(extra={"ref": True}, extra_json_schema={"x-ref": True})]


class Noun(msgspec.Struct, kw_only=True):
    """What every part of a record is built from."""


C = TypeVar("C", bound=type)


def strip(hint: Any) -> tuple[Any, dict[str, Any]]:
    """Take Annotated and `| None` off a type; give the bare type and the marks found."""
    marks: dict[str, Any] = {}
    while True:
        if get_origin(hint) is Annotated:
            hint, *metas = get_args(hint)
            for meta in metas:
                marks |= meta.extra or {}
        elif get_origin(hint) in (Union, type(int | None)):
            hints = [h for h in get_args(hint) if h is not type(None)]
            if len(hints) != 1:
                return hint, marks
            hint = hints[0]
        else:
            return hint, marks


def declared(cls: C) -> C:
    """Add `x_raw` beside each enum field `x`."""
    enums = [n for n, h in get_type_hints(cls, include_extras=True).items() if is_enum(strip(h)[0])]
    extra = [(f"{name}_raw", str | None, None) for name in enums]
    made = msgspec.defstruct(cls.__name__, extra, bases=(cls,), module=cls.__module__, kw_only=True)
    made.__doc__ = cls.__doc__
    return made  # type: ignore[return-value]


def is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, StrEnum)
