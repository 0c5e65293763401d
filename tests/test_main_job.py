"""The four systems through the whole hub, held against the sandboxes' own state."""

import json
from collections import Counter

import pytest

from hub.app import App
from hub.app.sandboxes import Sandboxes
from hub.perform import Request
from hub.plugins import discover
from tests.stores import unwatch, watch

WATCHED = ("record", "event", "link", "alias", "raw", "state", "reject")


@pytest.fixture(scope="module")
def hub(tmp_path_factory, databases):
    """An open hub on four sandboxes of 120 people, everything synced once; on both stores in turn."""
    folder = tmp_path_factory.mktemp("hub")
    with databases() as url, Sandboxes.start(customers=120, plugins=discover()) as up:
        (folder / "config.toml").write_text(f'[hub]\ndatabase_url = "{url}"\n{up.toml()}')
        with App.open(folder / "config.toml") as app:
            app.first = app.sync(full=True)
            app.folder, app.up = folder, up.sandboxes
            yield app


def rows(hub, sql, *values):
    with hub.store.read() as tx:
        return tx.execute(sql, values).fetchall()


def bodies(hub, connection, kind):
    sql = (
        "SELECT r.body FROM record r JOIN source s ON s.id = r.source_id "
        "WHERE s.connection = ? AND r.kind = ? AND r.deleted_at IS NULL"
    )
    return [json.loads(body) for (body,) in rows(hub, sql, connection, kind)]


def test_every_table_of_the_default_mappings_has_records_and_no_reject(hub):
    seen = {(name, table): line for name, tables in hub.first.items() for table, line in tables.items()}
    assert {key: line["error"] for key, line in seen.items() if line["error"]} == {}
    assert {key for key, line in seen.items() if not line["changed"]} == set()
    assert sum(line["rejected"] for line in seen.values()) == 0
    assert {name for name, _ in seen} == {"legacy", "salesforce", "stripe", "zendesk"}


def test_a_second_full_sync_reads_everything_and_changes_no_row(hub):
    before = hub.sync(full=True)
    with hub.store.write() as tx:
        watch(tx)
    try:
        again = hub.sync(full=True)
        touched = Counter(what for (what,) in rows(hub, "SELECT what FROM touched"))
    finally:
        with hub.store.write() as tx:
            unwatch(tx)
    told = {what: n for what, n in touched.items() if what.split()[1] in WATCHED and what != "UPDATE state"}
    assert told == {}
    for name, tables in again.items():
        for table, line in tables.items():
            assert line["read"] == before[name][table]["read"] > 0, (name, table)
            assert (line["changed"], line["rejected"], line["error"]) == (0, 0, None), (name, table)


def test_tickets_and_messages_are_those_of_the_vendor(hub):
    there = hub.up["zendesk"].state
    words = {"hold": "on_hold"}
    wanted = {str(one): words.get(ticket["status"], ticket["status"]) for one, ticket in there.tickets.items()}
    assert {body["remote_id"]: body["status"] for body in bodies(hub, "zendesk", "ticket")} == wanted
    comments = {str(one): comment["public"] for by in there.comments.values() for one, comment in by.items()}
    told = {body["remote_id"]: body["visibility"] == "public" for body in bodies(hub, "zendesk", "message")}
    assert told == comments
    assert len(comments) >= sum(len(t.comments) for t in hub.up["zendesk"].world.tickets if t.system == "zendesk")


def test_no_private_note_is_public_on_any_path(hub):
    private = {c.text for t in hub.up["zendesk"].world.tickets for c in t.comments if not c.public}
    assert private
    stored = [b for c in ("zendesk", "salesforce") for b in bodies(hub, c, "message") if b["body_text"] in private]
    assert len(stored) >= len(private)
    assert {body["visibility"] for body in stored} == {"internal"}


def test_money_is_that_of_the_world_to_the_last_minor_unit(hub):
    world = hub.up["stripe"].world
    wanted = Counter()
    for payment in world.payments:
        if "stripe" in payment.order.person.systems:
            wanted[payment.order.currency] += payment.amount_minor
    got = Counter()
    for body in bodies(hub, "stripe", "payment"):
        got[body["amount"]["currency"]] += body["amount"]["amount"]
    assert got == wanted
    ordered, orders = Counter(), Counter()
    for order in world.orders:
        ordered[order.currency] += order.total_minor
    for body in bodies(hub, "legacy", "order"):
        orders[body["total"]["currency"]] += body["total"]["amount"]
    assert orders == ordered


def test_one_person_known_to_all_four_is_one_customer(hub):
    world = hub.up["legacy"].world
    everywhere = [p for p in world.people if len(p.systems) == 4 and not p.shared_mailbox]
    sql = "SELECT entity_id FROM record WHERE kind = 'customer' AND external_ref = ?"
    together = [len(set(rows(hub, sql, person.number))) for person in everywhere]
    assert set(together) == {1}


def test_two_people_are_never_one_customer(hub):
    world = hub.up["legacy"].world
    numbers = {p.number for p in world.people}
    sql = "SELECT entity_id, external_ref FROM record WHERE kind = 'customer'"
    people = {}
    for entity, number in rows(hub, sql):
        if number in numbers:
            people.setdefault(entity, set()).add(number)
    assert [found for found in people.values() if len(found) > 1] == []


def test_an_agent_reads_what_it_just_wrote(hub):
    ticket = hub.up["zendesk"].world.tickets[0]
    held = next(b for b in bodies(hub, "zendesk", "ticket") if b["status"] == "open" and b["subject"] == ticket.subject)
    reference = f"zendesk/tickets/{held['remote_id']}"
    made = hub.act(Request(action="ticket.note", input={"ticket_ref": reference, "body": "Seen at once"}, key="k-note"))
    assert made["status"] == "succeeded"
    notes = [b for b in bodies(hub, "zendesk", "message") if b["body_text"] == "Seen at once"]
    assert [note["visibility"] for note in notes] == ["internal"]
    done = hub.act(
        Request(action="ticket.set_status", input={"ticket_ref": reference, "status": "pending"}, key="k-set")
    )
    assert done["status"] == "succeeded"
    now = next(b for b in bodies(hub, "zendesk", "ticket") if b["remote_id"] == held["remote_id"])
    assert now["status"] == "pending"


@pytest.mark.parametrize(
    ("fault", "status", "effects"),
    [("drop_after", "succeeded", 1), ("drop_before", "succeeded", 1), ("status:500", "unknown", 0)],
)
def test_a_refund_whose_answer_is_lost_happens_once_or_is_called_unknown(hub, fault, status, effects):
    (hub.folder / "policy.toml").write_text('[[rule]]\naction = "payment.refund"\nverdict = "allow"\n')
    stripe = hub.up["stripe"]
    free = (b for b in bodies(hub, "stripe", "payment") if b["status"] == "succeeded" and not b["disputed"])
    payment = next(b for b in free if not b["amount_refunded"]["amount"] and b["amount"]["currency"] == "USD")
    with App.open(hub.folder / "config.toml") as app:
        before = len(stripe.effects("refund"))
        stripe.fault("POST /v1/refunds", fault)
        given = {
            "payment_ref": f"stripe/payment_intents/{payment['remote_id']}",
            "amount": "1.00 USD",
            "reason": "goodwill",
        }
        first = app.act(Request(action="payment.refund", input=given, key=f"k-{fault}", repeat=True))
        again = app.act(Request(action="payment.refund", input=given, key=f"k-{fault}", repeat=True))
    assert [first["status"], again["status"], again["replayed"]] == [status, status, True]
    assert again["run_id"] == first["run_id"]
    assert len(stripe.effects("refund")) == before + effects


def writes(hub, system, intent):
    return [entry for entry in hub.up[system].effects() if intent in (entry.intent or "")]


def test_a_reply_whose_answer_is_lost_is_there_once(hub):
    ticket = next(b for b in bodies(hub, "zendesk", "ticket") if b["status"] == "open")
    reference = f"zendesk/tickets/{ticket['remote_id']}"
    hub.up["zendesk"].fault("PUT /api/v2/tickets", "drop_after")
    given = {"ticket_ref": reference, "body": "It left the warehouse."}
    asked = [hub.act(Request(action="ticket.reply", input=given, key="k-lost-reply")) for _ in range(2)]
    assert {one["status"] for one in asked} <= {"succeeded", "unknown"}
    assert len({one["run_id"] for one in asked}) == 1
    assert len(writes(hub, "zendesk", f"reply to ticket {ticket['remote_id']}")) == 1


def test_a_change_of_an_order_whose_answer_is_lost_is_booked_once(hub, monkeypatch):
    monkeypatch.setenv("HUB_CONNECTIONS__LEGACY__ACK_WAIT_S", "1")
    order = next(
        b for b in bodies(hub, "legacy", "order") if b["status"] == "open" and b["fulfillment_status"] == "unfulfilled"
    )
    hub.up["legacy"].fault("INSERT /change_requests", "drop_after")
    address = {"line1": "Neue Str. 5", "city": "Berlin", "postal_code": "10117", "country_code": "DE"}
    given = {"order_ref": f"legacy/orders/{order['remote_id']}", "address": address}
    (hub.folder / "policy.toml").write_text('[[rule]]\naction = "*"\nverdict = "allow"\n')
    with App.open(hub.folder / "config.toml") as app:
        request = Request(action="order.update_shipping_address", input=given, key="k-lost-order")
        asked = [app.act(request) for _ in range(2)]
    assert {one["status"] for one in asked} <= {"succeeded", "unknown"}
    assert len({one["run_id"] for one in asked}) == 1
    assert len(writes(hub, "legacy", f"address {order['number']}")) == 1
