"""Verbs about customers."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from hub.actions.declare import Action, On, Reference, Risk, Short, Undo


class CustomerLookup(Action):
    """Find the one customer that an e-mail, phone, order number, ticket or external id belongs to."""

    name = "customer.lookup"
    title = "Look up a customer"
    risk = Risk.R0
    reveals = ("id", "display_name", "email", "phone", "status", "connections")

    email: Short | None = None
    phone: Short | None = None
    order_number: Short | None = None
    ticket_id: Short | None = None
    external_ref: Short | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "CustomerLookup":
        if len(self.model_fields_set & {k for k, v in self if v is not None}) != 1:
            raise ValueError("give exactly one of email, phone, order_number, ticket_id, external_ref")
        return self


class CustomerChanges(BaseModel):
    """The harmless fields of a customer. Contact data has actions of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    display_name: Short | None = None
    given_name: Short | None = None
    family_name: Short | None = None
    language: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] | None = None
    timezone: Short | None = None
    job_title: Short | None = None
    custom: dict[str, Any] | None = None


class CustomerUpdate(Action):
    """Change a customer's name, language, time zone, job title or custom fields."""

    name = "customer.update"
    title = "Update a customer"
    risk = Risk.R2
    on = On("customer", "customer_ref")
    reversal = "customer.update"
    residue = "a field that had no value keeps the new one"

    customer_ref: Reference
    changes_: Annotated[CustomerChanges, Field(alias="changes")]
    targets: list[Short] | None = Field(
        None, description="connections to write to; all that hold the customer by default"
    )

    @model_validator(mode="after")
    def _something(self) -> "CustomerUpdate":
        if not self.changes_.model_dump(exclude_none=True):
            raise ValueError("changes: name at least one field")
        return self

    def changes(self) -> dict[str, dict[str, Any]]:
        return {"customer": self.changes_.model_dump(exclude_none=True)}

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        known = {name: value for name, value in before.items() if value is not None}
        if not known or target is None:
            return "the fields had no value before"
        empty = [name for name, value in before.items() if value is None]
        residue = f"had no value before: {', '.join(empty)}" if empty else None
        given: dict[str, Any] = {"customer_ref": target, "changes": known}
        return Undo("customer.update", given | ({"targets": self.targets} if self.targets else {}), residue)
