"""Objects of one stream as they are now: by id, with what the mapping needs expanded, disputes put in."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from hub import Invalid, NotFound, Page, Stream
from hub_stripe.client import Client, decode

# Customers of imported accounts have ids of their own making, so no prefix is asked for.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,254}")
# A path of the mapping that goes into one of these makes it worth expanding.
_EXPANDABLE: dict[str, tuple[str, ...]] = {
    "customers": ("invoice_settings.default_payment_method",),
    "payment_intents": ("latest_charge",),
    "subscriptions": ("default_payment_method", "latest_invoice"),
}
_LATEST_CHARGE = "2022-11-15"  # older API versions carry the charges inside the payment intent and refuse to expand it
_DISPUTED = re.compile(rb'"disputed"\s*:\s*true')


class Named(msgspec.Struct):
    """An object as far as it has an id."""

    id: str


class Row(msgspec.Struct):
    """An object of a list; one with an odd id is the mapping's affair."""

    id: Any = None


class Listed(msgspec.Struct):
    """The envelope of a list (https://docs.stripe.com/api/pagination)."""

    data: list[Row]
    has_more: bool


class _Raws(msgspec.Struct):
    data: list[msgspec.Raw]


class _State(msgspec.Struct):
    id: str
    deleted: bool | None = False


def checked(one: str) -> str:
    """Give an id back if Stripe could have made it. Raises Invalid, before anything is asked."""
    if not isinstance(one, str) or not _ID.fullmatch(one):
        raise Invalid('stripe: an id is letters, digits and "_", such as "pi_3Qw…"', code="invalid_id")
    return one


@dataclass
class Objects:
    """Reads the objects of one stream."""

    client: Client
    stream: Stream

    @property
    def path(self) -> str:
        return f"/v1/{self.stream.name}"

    def fetch(self, ids: Iterable[str]) -> Page:
        """Read these objects; what is gone goes into `deleted`. Raises Invalid for an odd id, before asking."""
        bodies = {one: self._one(one) for one in [checked(one) for one in dict.fromkeys(ids)]}
        return Page(
            records=[body for body in bodies.values() if body is not None],
            deleted=[one for one, body in bodies.items() if body is None],
        )

    def expanded(self) -> list[str]:
        """Name what is to be expanded for the mapping's paths."""
        names = _EXPANDABLE.get(self.stream.name, ())
        if self.client.config.stripe_version < _LATEST_CHARGE:
            names = tuple(name for name in names if name != "latest_charge")
        return [name for name in names if any(path.startswith(f"{name}.") for path in self.stream.paths)]

    def enriched(self, body: bytes) -> list[bytes] | None:
        """Give a list page's records with disputes put in; None where the page can stay as it is."""
        if not self._wants_disputes(body):
            return None
        return [self._with_disputes(bytes(raw)) for raw in decode(body, _Raws, self.path).data]

    def _one(self, one: str) -> bytes | None:
        what = f"{self.path}/{{id}}"
        params = [("expand[]", name) for name in self.expanded()]
        try:
            body = self.client.get(f"{self.path}/{quote(one, safe='')}", params, what=what).body
        except NotFound:
            return None
        return None if decode(body, _State, what).deleted else self._with_disputes(body)

    def _wants_disputes(self, body: bytes) -> bool:
        return any(path.startswith("disputes.") for path in self.stream.paths) and bool(_DISPUTED.search(body))

    def _with_disputes(self, raw: bytes) -> bytes:
        """
        Put a disputed payment's disputes into it, as a list `disputes`.

        The charge says only that there was one; whether it is still open stands in the dispute itself.
        """
        if not self._wants_disputes(raw):
            return raw
        one = decode(raw, Row, self.path).id
        if not isinstance(one, str):
            return raw
        body = self.client.get("/v1/disputes", [("payment_intent", one), ("limit", "100")]).body
        decode(body, Listed, "/v1/disputes")
        return raw.rstrip()[:-1] + b',"disputes":' + body.strip() + b"}"
