"""How a ticket was settled goes into a system's own field where the mapping writes one, else into a note for staff."""

import pytest

from hub.actions import TicketSetStatus
from hub.connector import Effect, Outcome, act
from hub.errors import Conflict, Unsupported
from tests.perform.shop import MAPPING, ShopConnector

OWN_FIELD = MAPPING.replace('"subject", "group_ref"]', '"subject", "group_ref", "resolution"]').replace(
    'group_ref = "group"', 'group_ref = "group"\nresolution = "outcome"'
)
TICKET = "shop/tickets/tic-1"


class Noting(ShopConnector):
    """A shop that sets a status and notes something in one request."""

    @act(TicketSetStatus, idempotency="set", takes=("resolution", "note"))
    def set_status(self, action, call):
        key = call.target.remote_id
        self.http("PATCH", f"/tickets/{key}", json={**call.parts["ticket"], "noted": call.parts.get("message")})
        return Outcome([Effect("tickets", key, "update")], [("tickets", key)])


def ticket(shop):
    return shop.sandbox.things["tickets"]["tic-1"]


def noting(build, mapping):
    shop = build(mapping=mapping)
    shop.connections.open("shop").connector.__class__ = type("OwnNoting", (Noting,), {"mapping": mapping})
    return shop


def test_a_resolution_fills_the_field_that_the_mapping_writes(build):
    shop = noting(build, OWN_FIELD)
    result = shop.ask("ticket.set_status", ticket_ref=TICKET, status="solved", resolution="sent a new one")
    assert (result.status, ticket(shop)["outcome"], ticket(shop)["noted"]) == ("succeeded", "sent a new one", None)
    assert "stays" in (result.reversal.residue or "")


def test_a_resolution_without_a_field_is_told_in_a_note_for_staff(build):
    shop = noting(build, MAPPING)
    given = {"status": "solved", "resolution": "sent a new one", "note": "ask Berta"}
    preview = shop.ask("ticket.set_status", ticket_ref=TICKET, mode="preview", key=None, **given)
    changed = {change.kind: change.after for change in preview.preview.changes}
    assert changed["ticket"] == {"status": "solved"}
    assert changed["message"]["body_text"] == "Resolution: sent a new one\n\nask Berta"
    shop.ask("ticket.set_status", ticket_ref=TICKET, **given)
    assert ticket(shop)["noted"]["text"] == "Resolution: sent a new one\n\nask Berta"
    assert ticket(shop)["noted"]["open"] in ("internal", False)


@pytest.mark.parametrize("more", [{"note": "x"}, {"resolution": "x"}])
def test_what_a_system_cannot_note_with_a_status_is_refused(shop, more):
    with pytest.raises(Unsupported, match=r"ticket\.note says it") as caught:
        shop.ask("ticket.set_status", ticket_ref=TICKET, status="solved", **more)
    assert (caught.value.field_path, shop.sandbox.ledger) == (f"input.{next(iter(more))}", [])


def test_solving_tells_the_resolution_wherever_notes_can_be_left(shop):
    result = shop.ask("ticket.solve", ticket_ref=TICKET, resolution="sent a new one", note="ask Berta")
    assert (result.status, len(result.effects), ticket(shop)["state"]) == ("succeeded", 2, "s")
    assert shop.sandbox.things["comments"]["com-2"]["text"] == "Resolution: sent a new one\n\nask Berta"


def test_solving_fills_the_field_and_leaves_the_note_beside_it(build):
    shop = noting(build, OWN_FIELD)
    result = shop.ask("ticket.solve", ticket_ref=TICKET, resolution="sent a new one", note="ask Berta")
    assert (result.status, ticket(shop)["outcome"]) == ("succeeded", "sent a new one")
    assert shop.sandbox.things["comments"]["com-2"]["text"] == "ask Berta"


def test_the_same_note_with_a_status_is_not_written_twice(build):
    shop = noting(build, MAPPING)
    given = {"ticket_ref": TICKET, "status": "solved", "note": "call Berta"}
    assert shop.ask("ticket.set_status", **given, key="k1").status == "succeeded"
    with pytest.raises(Conflict) as caught:
        shop.ask("ticket.set_status", **given, key="k2")
    assert caught.value.error_code == "possible_duplicate"
