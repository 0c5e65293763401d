"""Actions that are made of others: partial results stay visible, half-done ones go on, and all of it can be undone."""

import pytest

from hub.access import OPERATOR
from hub.errors import Conflict, Invalid
from hub.ledger import now

HANDOFF = {
    "ticket_ref": "shop/tickets/tic-1",
    "summary": "wants the money back",
    "reason": "above the limit",
    "queue": "billing",
    "urgency": "urgent",
    "facts": ["paid 50.00 EUR"],
}


def handoff(shop, **more):
    return shop.ask("agent.handoff", **{**HANDOFF, **more})


def ticket(shop):
    return shop.sandbox.things["tickets"]["tic-1"]


def test_a_handoff_notes_assigns_tags_and_opens(shop):
    ticket(shop)["state"] = "w"
    result = handoff(shop)
    assert (result.status, len(result.effects)) == ("succeeded", 4)
    assert (ticket(shop)["group"], ticket(shop)["tags"], ticket(shop)["state"]) == (
        "billing",
        ["handoff", "urgent"],
        "o",
    )
    note = shop.sandbox.things["comments"]["com-2"]
    assert "wants the money back" in note["text"]
    assert "- paid 50.00 EUR" in note["text"]
    assert note["open"] == "internal" or note["open"] is False
    assert handoff(shop).replayed is True
    assert shop.effects() == 4


def test_what_a_system_cannot_write_is_left_out_and_told(build):
    from tests.perform.shop import MAPPING

    shop = build(mapping=MAPPING.replace('"subject", "group_ref"]', '"subject"]'))
    result = handoff(shop)
    assert (result.status, len(result.effects)) == ("succeeded", 3)
    assert any("ticket.assign cannot be written there" in line for line in result.warnings)


def test_a_step_that_fails_leaves_the_others_visible(shop):
    shop.sandbox.fault("PATCH /tickets", "status:422", times=1)
    result = handoff(shop)
    assert (result.status, len(result.effects)) == ("failed", 3)
    assert any("1 of 4 systems failed" in line or "1 of 4 steps failed" in line for line in result.warnings)
    assert result.reversal.possible is True


def test_a_half_done_one_goes_on_and_repeats_nothing(shop):
    shop.sandbox.fault("POST /comments", "drop_after", times=1)
    shop.sandbox.fault("GET /comments", "drop_before", times=9)
    result = handoff(shop)
    assert result.status in ("unknown", "succeeded")
    shop.sandbox.faults.clear()
    done = shop.performer.advance(result.run_id)
    assert len(shop.sandbox.effects("comments")) == 1
    assert done.status in ("unknown", "succeeded")
    assert shop.effects() == 4


def test_a_preview_shows_every_step_and_sends_nothing(shop):
    result = handoff(shop, mode="preview", key=None)
    assert [request.request["method"] for request in result.preview.requests] == ["POST", "PATCH", "PATCH", "PATCH"]
    assert shop.effects() == 0


def test_a_handoff_is_undone_as_far_as_it_can_be(shop):
    ticket(shop).update(group="first", state="w")
    from hub import sync

    sync.sync_connection(shop.store, shop.connections.open("shop"))
    done = handoff(shop)
    assert [done.reversal.action, *(way.action for way in done.reversal.also)] == [
        "ticket.set_status", "ticket.tag", "ticket.assign",
    ]  # fmt: skip
    assert shop.performer.reversing.reverse(done.run_id, OPERATOR).status == "succeeded"
    assert (ticket(shop)["group"], ticket(shop)["tags"], ticket(shop)["state"]) == ("first", [], "w")
    assert shop.performer.result(done.run_id).status == "reversed"


def test_a_customer_without_a_ticket_gets_one_and_people_find_it(shop):
    given = {**HANDOFF, "ticket_ref": None, "customer_ref": "shop/customers/cus-1"}
    preview = shop.ask("agent.handoff", mode="preview", **given)
    assert [request.request is None for request in preview.preview.requests] == [False, True, True, True, True]
    result = shop.ask("agent.handoff", **given)
    assert (result.status, len(result.effects)) == ("succeeded", 5)
    assert (result.target.kind, result.answer["ticket"], result.answer["queue"]) == (
        "ticket", result.effects[0].id, "billing",
    )  # fmt: skip
    made = shop.sandbox.things["tickets"]["tic-2"]
    assert (made["customer"], made["group"], made["tags"], made["state"]) == (
        "cus-1",
        "billing",
        ["handoff", "urgent"],
        "o",
    )
    assert shop.sandbox.things["comments"]["com-2"]["ticket"] == "tic-2"
    assert (result.reversal.input, result.reversal.also) == (
        {"ticket_ref": result.effects[0].id, "status": "solved"}, [],
    )  # fmt: skip


def test_nothing_is_noted_on_a_ticket_that_could_not_be_made(shop):
    shop.sandbox.fault("POST /tickets", "status:422", times=1)
    result = handoff(shop, ticket_ref=None, customer_ref="shop/customers/cus-1")
    assert (result.status, result.effects, len(shop.sandbox.ledger)) == ("failed", [], 1)
    assert result.error["code"] == "invalid"


def test_a_ticket_is_solved_with_a_note_for_staff_and_reopened(shop):
    solved = shop.ask("ticket.solve", ticket_ref="shop/tickets/tic-1", note="Sent a new one.")
    assert (solved.status, ticket(shop)["state"]) == ("succeeded", "s")
    assert shop.sandbox.things["comments"]["com-2"]["text"] == "Sent a new one."
    assert shop.performer.reversing.reverse(solved.run_id, OPERATOR).status == "succeeded"
    assert ticket(shop)["state"] == "o"
    assert shop.ask("ticket.reopen", key="k2", ticket_ref="shop/tickets/tic-1").status == "succeeded"


def test_an_order_is_told_by_number_or_reference(shop):
    by_number = shop.ask("order.track", number="ord-2", key=None)
    (order,) = by_number.answer["orders"]
    assert (by_number.answer["match"], order["fulfillment_status"]) == ("one", "shipped")
    by_id = shop.ask("order.get", order_ref=order["id"], key=None)
    assert by_id.answer["orders"][0]["number"] == "ord-2"
    assert shop.ask("order.get", number="ord-9", key=None).answer["match"] == "none"


@pytest.mark.parametrize("given", [{}, {"number": "1", "order_ref": "shop/orders/ord-1"}])
def test_an_order_is_asked_for_in_one_way(shop, given):
    with pytest.raises(Invalid):
        shop.ask("order.get", key=None, **given)


def test_a_note_is_not_undone(shop):
    with pytest.raises(Conflict):
        shop.performer.reversing.reverse(shop.note().run_id, OPERATOR)


TICKET = {"customer_ref": "shop/customers/cus-1", "subject": "Where is it?", "body": "It never came."}


def test_a_ticket_tells_that_a_system_does_not_keep_its_orders(shop):
    made = shop.ask("ticket.create", order_refs=["ord-1"], **TICKET)
    assert (made.status, made.warnings) == ("succeeded", ["shop: order_refs cannot be written there"])


def test_the_same_ticket_is_a_duplicate_for_as_long_as_was_asked_for(shop):
    shop.ask("ticket.create", **TICKET)
    with shop.ledger.database.write() as tx:
        tx.execute("UPDATE run SET created_at = ?", (now(plus_s=-3 * 3600),))
    assert shop.ask("ticket.create", key="k2", **TICKET).status == "succeeded"
    with shop.ledger.database.write() as tx:
        tx.execute("UPDATE run SET created_at = ?", (now(plus_s=-3 * 3600),))
    with pytest.raises(Conflict) as caught:
        shop.ask("ticket.create", key="k3", dedupe_window_h=4, **TICKET)
    assert caught.value.error_code == "possible_duplicate"


@pytest.mark.parametrize("queue", ["billing", None])
def test_a_handoff_tells_how_many_others_wait_in_the_queue(build, queue):
    def tweak(sandboxes):
        lately, long_ago = now(), "2025-01-01T00:00:00Z"
        rows = [("billing", "o", lately), ("billing", "n", lately), ("billing", "s", lately), ("sales", "o", lately)]
        for number, (group, state, changed) in enumerate([*rows, ("billing", "o", long_ago)]):
            more = {"group": group, "state": state, "changed": changed, "customer": "cus-1", "title": "x"}
            sandboxes["shop"].things["tickets"][f"tic-{number + 20}"] = more

    result = handoff(build(tweak=tweak), queue=queue)
    assert (result.answer["queue"], result.answer["waiting"]) == (queue, 2 if queue else None)
