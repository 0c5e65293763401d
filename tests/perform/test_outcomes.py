"""What becomes of an answer that came: refusals of the vendor, effects read back, messages, lookups, runs."""

import re
import threading
from dataclasses import replace

import pytest

from hub import reads
from hub.access import Principal
from hub.actions import Action, TicketNote
from hub.connector import Effect, Outcome, act
from hub.errors import Refused, Unsupported
from hub.ledger import Move
from tests.perform.shop import MAPPING, WITHOUT_VISIBILITY


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (401, "unauthorized", False),
        (404, "not_found", False),
        (409, "conflict", False),
        (422, "invalid", False),
        (429, "rate_limited", True),
    ],
)
def test_a_refusal_of_the_vendor_is_a_failed_run(shop, status, code, retryable):
    shop.sandbox.fault("POST /comments", f"status:{status}")
    result = shop.reply()
    assert (result.status, result.error["code"], result.error["retryable"]) == ("failed", code, retryable)
    assert (result.effects, result.money) == ([], None)
    assert shop.reply().replayed is True
    assert len(shop.sandbox.ledger) == 1


def test_a_vendor_that_cannot_be_reached_is_a_failed_run(shop):
    shop.connections.open("shop").transport.base_url = "http://127.0.0.1:9"
    result = shop.reply()
    assert (result.status, result.error["code"], result.error["retryable"]) == ("failed", "not_sent", True)


def test_an_earlier_write_that_was_accepted_is_told(build):
    shop = build(looks_up=False)
    shop.sandbox.fault("POST /comments", "status:422")
    result = shop.reply(set_status="solved")
    assert result.status == "failed"
    assert result.warnings == ["shop: an earlier write of this action was accepted before it failed"]


def test_a_connector_without_an_outcome_is_a_fault_that_is_told(build):
    result = build(breaks="no outcome").ask("ticket.set_status", ticket_ref="shop/tickets/tic-1", status="solved")
    assert (result.status, result.error["code"]) == ("failed", "connector_failed")


def test_what_a_connector_raises_never_shows_its_text(build):
    shop = build(breaks="check")
    with pytest.raises(Exception, match="ValueError") as caught:
        shop.refund()
    assert "Ada" not in str(caught.value)


def test_what_was_touched_is_read_back(shop):
    shop.ask("ticket.set_status", ticket_ref="shop/tickets/tic-1", status="solved")
    target = reads.resolve_target(shop.store, "shop/tickets/tic-1", "ticket")[0]
    assert target.data["status"] == "solved"


def test_what_was_touched_in_several_streams_is_read_back_at_once(shop):
    """Each of the two answers only once the other was asked for."""
    both = threading.Barrier(2, timeout=10)
    real = shop.performer.neighbours.fetch

    def fetch(store, connection, stream, ids):
        if shop.sandbox.ledger:
            both.wait()
        return real(store, connection, stream, ids)

    shop.performer.neighbours = replace(shop.performer.neighbours, fetch=fetch)
    result = shop.refund()
    assert (result.status, result.warnings) == ("succeeded", [])
    payment = reads.resolve_target(shop.store, "shop/payments/pay-1", "payment")[0]
    assert payment.data["amount_refunded"]["amount"] == 5000
    assert reads.resolve_target(shop.store, "shop/refunds/ref-1", "refund")


def test_a_failed_read_back_never_fails_the_run(build):
    shop = build(breaks="fetch")
    result = shop.note()
    assert result.status == "succeeded"
    assert len(result.warnings) == 1
    assert "not read back" in result.warnings[0]
    assert "Ada" not in result.warnings[0]
    assert shop.note().warnings == result.warnings


def test_secrets_of_a_connector_never_reach_the_answer(shop):
    result = shop.refund()
    assert result.effects[0].after == {"amount": 5000, "api_key": "***"}
    assert b"sk_live" not in shop.ledger.get(result.run_id).result


def test_a_note_stays_internal_and_a_reply_is_public(shop):
    shop.note()
    shop.reply(set_status="pending")
    notes = [c for c in shop.sandbox.things["comments"].values() if "key" in c]
    assert [(c["text"], c["open"]) for c in notes] == [("Ask Berta.", False), ("It is on its way.", True)]
    assert shop.sandbox.things["tickets"]["tic-1"]["state"] == "w"


def test_a_mapping_that_cannot_say_internal_refuses_every_message(build):
    shop = build(mapping=WITHOUT_VISIBILITY)
    for ask in (shop.note, shop.reply):
        for mode in ("preview", "execute"):
            with pytest.raises(Unsupported):
                ask(mode=mode)
    assert shop.sandbox.ledger == []


def test_an_edit_of_the_mapping_changes_the_request(build):
    edited = MAPPING.replace('body_text = "text"', 'body_text = "wording"')
    result = build(mapping=edited).note(mode="preview", key=None)
    assert result.preview.requests[0].request["body"]["wording"] == "Ask Berta."


def test_a_lookup_answers_with_minimal_fields_and_no_run(shop):
    result = shop.ask("customer.lookup", email="ADA@mail.example.com", key=None, who=Principal("k", "b", ("read",)))
    assert (result.status, result.run_id, result.answer["match"]) == ("succeeded", None, "one")
    (customer,) = result.answer["customers"]
    assert set(customer) == {"id", "display_name", "email", "phone", "status", "connections"}
    assert customer["connections"] == ["shop"]
    assert shop.ledger.runs() == []


def test_a_lookup_without_a_match_is_no_error(shop):
    assert shop.ask("customer.lookup", email="nobody@mail.example.com").answer == {"match": "none", "customers": []}


def test_a_lookup_needs_a_scope_too(shop):
    with pytest.raises(Refused):
        shop.ask("customer.lookup", email="x@mail.example.com", who=Principal("k", "b", ("act:ticket.*",)))


def test_runs_are_listed_newest_first(shop):
    first, second = shop.note(), shop.reply(key="k2")
    assert [run.id for run in shop.ledger.runs()] == [second.run_id, first.run_id]
    assert [run.id for run in shop.ledger.runs(before=second.run_id)] == [first.run_id]
    assert shop.ledger.runs(state="failed") == []


def test_a_run_keeps_who_asked_and_why(shop):
    who = Principal("key_7", "bot", ("act:*",))
    said = {"channel": "chat", "verification": "claimed"}
    run_id = shop.note(who=who, why="asked on the phone", on_behalf_of=said, agent={"kind": "ai"}).run_id
    run = shop.ledger.get(run_id)
    assert (run.principal, run.mode, run.connection) == ("key_7", "execute", "shop")
    assert re.search(rb"asked on the phone.*claimed|claimed.*asked on the phone", run.request)
    assert shop.ledger.get(run_id).steps[0].state == "done"
    assert Move("done").state == "done"


def test_every_answer_is_json(shop):
    for result in (shop.refund(), shop.refund(), shop.note(mode="preview"), shop.reply(key="k3")):
        assert isinstance(result.as_dict()["as_of"], str)
        assert result.as_json().startswith(b"{")


def test_an_action_class_of_a_plugin_is_run_like_the_others(build):
    class Wave(Action):
        name = "ticket.wave"
        title = "Wave"
        risk = TicketNote.risk
        on = TicketNote.on
        ticket_ref: str

    shop = build()
    shop.performer.plugins.actions["ticket.wave"] = Wave

    def wave(self, action, call):
        return Outcome([Effect("wave", call.target.remote_id, "update")])

    cls = type(shop.connections.open("shop").connector)
    cls.wave = act(Wave, idempotency="set")(wave)
    cls.__init_subclass__()
    assert shop.ask("ticket.wave", ticket_ref="shop/tickets/tic-1").effects[0].object == "wave"
