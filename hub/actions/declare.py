"""What every verb is made of: risk, target, reversal, and the parts of inputs that several share."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from hub.errors import Invalid
from hub.money import Money, parse

Text = Annotated[str, StringConstraints(min_length=1, max_length=32_000, strip_whitespace=True)]
Short = Annotated[str, StringConstraints(min_length=1, max_length=255, strip_whitespace=True)]
Reference = Annotated[str, StringConstraints(min_length=3, max_length=300)]


class Risk(StrEnum):
    """R0 read, R1 internal write, R2 customer-visible or reversible, R3 money or entitlement, R4 irreversible."""

    R0 = "R0"
    R1 = "R1"
    R2 = "R2"
    R3 = "R3"
    R4 = "R4"


@dataclass(frozen=True)
class On:
    """What an action works on: the kind, and the input field that refers to it."""

    kind: str
    field: str


@dataclass(frozen=True)
class Undo:
    """
    What undoes an action: another one with its input, `within` so long after it was asked for.

    `residue` says what stays all the same.
    """

    action: str
    input: dict[str, Any]
    residue: str | None = None
    within: timedelta | None = None


class Action(BaseModel):
    """
    A verb: typed input plus what the hub must know to run it safely.

    `on` names the target, `reveals` the unified fields an answer may show, `reversal` the action that undoes it, or
    None, `residue` what stays even then (or why nothing undoes it). `changes()` tells what the input means in unified
    fields, per kind, the main kind first: the mapping's write side turns that into the vendor's words. One that is made
    of others (`parts()`) names in `needs` the one that a connection must be able to do. One that `fans_out` goes to
    every system that holds its target, or to those that its input names in `targets`. The fields of `optional` are left
    out, and told, where a system does not write them. Those of `special`, if given, go only to a connection that takes
    them; each comes with what to do where none does. Money that `money_goes` out goes to the customer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]
    title: ClassVar[str]
    risk: ClassVar[Risk]
    on: ClassVar[On | None] = None
    reveals: ClassVar[tuple[str, ...]] = ()
    reversal: ClassVar[str | None] = None
    residue: ClassVar[str | None] = None
    needs: ClassVar[str | None] = None
    fans_out: ClassVar[bool] = False
    money_goes: ClassVar[Literal["out", "in"]] = "out"
    optional: ClassVar[frozenset[str]] = frozenset()
    special: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def asks_specially(self) -> list[str]:
        """Name the special inputs that are given, and are not what a system does anyway."""
        fields = type(self).model_fields
        return [name for name in self.special if getattr(self, name) != fields[name].get_default()]

    def works_on(self) -> On | None:
        """Say what this input works on: `on`, unless the input decides."""
        return self.on

    def parts(self, target: str) -> tuple["Action", ...]:
        """Give the actions that this one is made of, the first of which it cannot do without; none for a plain one."""
        return ()

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        """
        Say what undoes this, or in words why nothing does.

        `target` is the hub id it worked on, `before` the main kind's fields as they were, `made` the hub id of what it
        created.
        """
        return None

    def changes(self) -> dict[str, dict[str, Any]]:
        """Give {kind: {unified field: value}} that this input asks for."""
        return {}

    @property
    def amount_of_money(self) -> Money | None:
        """The money this moves, or None; policy bands look at it."""
        return None


class Address(BaseModel):
    """A postal address; `country_code` is ISO 3166-1 alpha-2."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    line1: Short
    line2: Short | None = None
    city: Short
    region: Short | None = None
    postal_code: Annotated[str, StringConstraints(min_length=1, max_length=20, strip_whitespace=True)]
    country_code: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    recipient_name: Short | None = None
    phone: Short | None = None


class Item(BaseModel):
    """So many of one line of an order: the line by its id or number, or by what it sells, or by both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    line: Short | None = Field(None, description="the line's `remote_id` or `line_no`")
    sku: Short | None = Field(None, description="what it sells, where one line of the order does")
    quantity: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = Field(
        None, description="all that is left of it by default"
    )

    @model_validator(mode="after")
    def _named(self) -> "Item":
        if self.line is None and self.sku is None:
            raise ValueError("give line, sku, or both")
        return self


FILES_BYTES = 700_000
"""How large the files of one action may be together: as base64 they fit into one request."""


class File(BaseModel):
    """A file that goes with a message: its bytes as base64."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f/\\:*?\"<>|]{1,200}$", strip_whitespace=True)]
    content_type: Annotated[str, StringConstraints(pattern=r"^[a-z]+/[A-Za-z0-9][A-Za-z0-9.+_-]{0,120}$")]
    content: Annotated[str, Field(description="its bytes, as base64")]

    @field_validator("content")
    @classmethod
    def _base64(cls, value: str) -> str:
        try:
            found = base64.b64decode(value, validate=True)
        except ValueError as exc:
            raise ValueError("expected base64 without line breaks") from exc
        if not found:
            raise ValueError("the file is empty")
        return value

    @property
    def data(self) -> bytes:
        return base64.b64decode(self.content)

    def told(self) -> dict[str, Any]:
        """Describe the file without its bytes."""
        return {"name": self.name, "content_type": self.content_type, "size": len(self.data)}


def _together(files: list[File]) -> list[File]:
    size = sum(len(file.data) for file in files)
    if size > FILES_BYTES:
        raise ValueError(f"the files have {size:,} bytes together; at most {FILES_BYTES:,} are taken")
    return files


Files = Annotated[list[File], Field(min_length=1, max_length=10), AfterValidator(_together)]
NO_FILES = "leave them out, or say in the body where they are found"
Items = Annotated[list[Item], Field(min_length=1, max_length=100)]


def address_of(known: Any) -> dict[str, Any] | None:
    """Give a stored address as input takes it; None where it lacks a line, a city, a postal code or a country."""
    fields = {name: value for name, value in (known or {}).items() if name in Address.model_fields and value}
    try:
        return Address.model_validate(fields).model_dump(exclude_none=True)
    except ValidationError:
        return None


def _or_text(schema: dict[str, Any]) -> None:
    """Let the schema say that an amount may be text, too."""
    as_object = {key: schema.pop(key) for key in list(schema) if key not in ("title", "description")}
    text = {"type": "string", "pattern": r"^\d+(\.\d+)? [A-Z]{3}$", "examples": ["5.00 EUR"]}
    schema["anyOf"] = [as_object, text]


class Amount(BaseModel):
    """
    Money to move, as the unified model has it: `{"amount": 1250, "currency": "EUR"}`, `amount` in minor units.

    The string "12.50 EUR" is taken too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_or_text)

    amount: Annotated[int, Field(strict=True, gt=0, le=10**12)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            money = parse(value)
        except Invalid as exc:
            raise ValueError(exc.message) from exc
        return {"amount": money.amount, "currency": money.currency}

    def money(self) -> Money:
        return Money(self.amount, self.currency)
