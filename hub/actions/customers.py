"""Verbs about customers."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, EmailStr, Field, StringConstraints, model_validator

from hub.actions.declare import Action, Address, On, Reference, Risk, Short, Undo, address_of

Language = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
Phone = Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$")]
Systems = list[Short] | None
TARGETS = "connections to write to, or single records (connection/stream/id); all that hold the customer by default"
MADE_LATELY = timedelta(days=30)
"""How long a customer that was made may be taken away again."""
EMAIL_KEPT = timedelta(days=14)
"""How long a changed e-mail may be taken back: until then the old one is kept for it."""


class Hints(BaseModel):
    """What else is known of a customer who is looked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Short | None = Field(None, description="all its words are in the customer's name")
    postal_code: Short | None = None
    email: Short | None = None
    phone: Short | None = None
    order_number: Short | None = None
    ticket_id: Short | None = None
    external_ref: Short | None = None

    @property
    def given(self) -> dict[str, str]:
        return {name: value for name, value in self if value is not None}


class CustomerLookup(Action):
    """
    Find the one customer that an e-mail, phone, order number, ticket or external id belongs to.

    Where several fit, hints choose: if all of them fit exactly one, that one is the answer, else it stays at several.
    """

    name = "customer.lookup"
    title = "Look up a customer"
    risk = Risk.R0
    reveals = ("id", "display_name", "email", "phone", "status", "connections")

    email: Short | None = None
    phone: Short | None = None
    order_number: Short | None = None
    ticket_id: Short | None = None
    external_ref: Short | None = None
    hints: Hints | None = Field(None, description="further values that are known, to choose among several")

    @property
    def by(self) -> dict[str, str]:
        """The one value to look by, under its name."""
        return {name: value for name, value in self if value is not None and name != "hints"}

    @model_validator(mode="after")
    def _exactly_one(self) -> "CustomerLookup":
        if len(self.by) != 1:
            raise ValueError("give exactly one of email, phone, order_number, ticket_id, external_ref")
        return self


class CustomerChanges(BaseModel):
    """The harmless fields of a customer. Contact data has actions of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    display_name: Annotated[Short | None, Field(validation_alias=AliasChoices("display_name", "name"))] = None
    given_name: Short | None = None
    family_name: Short | None = None
    language: Language | None = None
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
    fans_out = True

    customer_ref: Reference
    changes_: Annotated[CustomerChanges, Field(alias="changes")]
    targets: Systems = Field(None, description=TARGETS)

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
        return Undo("customer.update", {"customer_ref": target, "changes": known}, residue)


class CustomerCreate(Action):
    """
    Make a customer in one system or in several.

    An e-mail or external id that a known customer has already is a conflict, not a second customer.
    """

    name = "customer.create"
    title = "Create a customer"
    risk = Risk.R2
    reversal = "customer.archive"
    residue = "within 30 days, and only while nothing was bought or asked"

    name_: Annotated[Short, Field(alias="name")]
    given_name: Short | None = Field(None, description="where a system keeps two names; else all but the last word")
    family_name: Short | None = Field(None, description="where a system keeps two names; else the last word of name")
    email: EmailStr | None = None
    phone: Phone | None = Field(None, description="E.164, such as +4930123456")
    language: Language | None = None
    address: Address | None = None
    external_ref: Short | None = Field(None, description="your own number of the customer")
    connections: Systems = Field(None, description="where to make it; needed only when several connections can")

    @model_validator(mode="after")
    def _reachable(self) -> "CustomerCreate":
        if self.email is None and self.phone is None:
            raise ValueError("give email, phone, or both")
        return self

    def changes(self) -> dict[str, dict[str, Any]]:
        first, _, last = self.name_.rpartition(" ")
        fields = {
            "display_name": self.name_,
            "given_name": self.given_name or first.strip() or None,
            "family_name": self.family_name or last,
            "email": self.email,
            "phone": self.phone,
            "language": self.language,
            "default_address": _whole(self.address) if self.address else None,
            "external_ref": self.external_ref,
        }
        return {"customer": {name: value for name, value in fields.items() if value is not None}}

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        if made is None:
            return "the new customer is not known yet"
        return Undo("customer.archive", {"customer_ref": made}, self.residue, MADE_LATELY)


class CustomerArchive(Action):
    """
    Take a customer away again that was made here by mistake.

    Only one that `customer.create` made, within 30 days, and only while there is no order, payment, subscription or
    ticket.
    """

    name = "customer.archive"
    title = "Archive a customer made by mistake"
    risk = Risk.R4
    on = On("customer", "customer_ref")
    residue = "what a system has deleted is not brought back; make the customer anew"

    customer_ref: Reference


class CustomerUpdateAddress(Action):
    """
    Change where a customer lives, or where bills or parcels go, in every system that keeps such an address.

    Several steps: what a system does not keep is left out and told; what is done stays visible where another fails.
    """

    name = "customer.update_address"
    title = "Change a customer's address"
    risk = Risk.R2
    on = On("customer", "customer_ref")
    reversal = "customer.update_address"
    residue = "a system that had no whole address before keeps the new one; an order that was picked keeps it, too"
    fans_out = True

    customer_ref: Reference
    kind: Literal["billing", "shipping", "mailing"]
    address: Address
    apply_to_open_orders: bool = Field(False, description="send orders that have not shipped there, too")
    targets: Systems = Field(None, description=TARGETS)

    @model_validator(mode="after")
    def _of_parcels(self) -> "CustomerUpdateAddress":
        if self.apply_to_open_orders and self.kind == "billing":
            raise ValueError("apply_to_open_orders: orders are sent to no billing address")
        return self

    @property
    def field(self) -> str:
        """The unified field that keeps such an address; a system's own is of one sort, which its mapping says."""
        return "shipping_address" if self.kind == "shipping" else "default_address"

    def changes(self) -> dict[str, dict[str, Any]]:
        return {"customer": {self.field: {**_whole(self.address), "type": self.kind}}}

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        was = address_of(before.get(self.field))
        if target is None or was is None:
            return "the address before is not known in full"
        return Undo("customer.update_address", {"customer_ref": target, "kind": self.kind, "address": was})


class CustomerChangeEmail(Action):
    """Change the e-mail address a customer is known and written to by, in every system that holds the customer."""

    name = "customer.change_email"
    title = "Change a customer's e-mail"
    risk = Risk.R4
    on = On("customer", "customer_ref")
    reversal = "customer.change_email"
    residue = "within 14 days; what was sent to the new address meanwhile stays there"
    fans_out = True

    customer_ref: Reference
    new_email: EmailStr
    targets: Systems = Field(None, description=TARGETS)

    def changes(self) -> dict[str, dict[str, Any]]:
        return {"customer": {"email": self.new_email}}

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        was = before.get("email")
        if target is None or was is None:
            return "the e-mail before is not known"
        given = {"customer_ref": target, "new_email": was}
        return Undo("customer.change_email", given, "what was sent to the new address stays there", EMAIL_KEPT)


def _whole(address: Address) -> dict[str, Any]:
    """Give an address with the parts it has not: a second line of the old one must not stay."""
    return address.model_dump(exclude_none=True) | {"line2": address.line2, "region": address.region}
