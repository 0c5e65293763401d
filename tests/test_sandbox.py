"""The frame of the sandboxes, and the world they share."""

import dataclasses

import pytest
import requests

from hub.sandbox import World


def test_the_world_follows_from_size_and_seed():
    one, two, other = World(60), World(60), World(60, seed=8)
    for part in ("companies", "staff", "people", "orders", "payments", "subscriptions", "tickets"):
        assert getattr(one, part) == getattr(two, part)
    assert one.people != other.people


def test_the_first_person_can_show_everything():
    for customers in (2, 40, 500):
        world = World(customers)
        person = world.people[0]
        assert person.systems == {"salesforce", "zendesk", "stripe", "legacy"}
        order = world.orders_of(person)[0]
        assert (order.status, order.shipped) == ("open", False)
        payment = next(p for p in world.payments if p.order is order)
        assert (payment.status, payment.refunds, payment.dispute) == ("succeeded", (), None)
        ticket = next(t for t in world.tickets if t.person is person)
        assert (ticket.system, ticket.status) == ("zendesk", "open")


def test_the_world_has_the_mess_of_real_life():
    world = World(500)
    assert any(p.maiden and p.name_in("salesforce") != p.name_in("zendesk") for p in world.people)
    assert any(p.email_in("legacy") != p.email for p in world.people)
    assert any(p.shared_mailbox for p in world.people)
    assert any(p.twice_in_stripe for p in world.people)
    assert any(len(p.systems) < 4 for p in world.people)
    assert any(p.currency == "JPY" for p in world.people)
    assert any(not c.public for t in world.tickets for c in t.comments)
    assert any(p.dispute for p in world.payments)
    assert any(p.refunds for p in world.payments)
    assert all(
        p.email.rsplit("@")[1].lower().endswith(("example.com", "example.org", "example.net", ".example"))
        for p in world.people
    )


def test_people_have_numbers_and_e_mails_of_their_own():
    people = World(500).people
    assert len({p.number for p in people}) == 500
    alone = [p.email for p in people if not p.shared_mailbox]
    assert len(set(alone)) == len(alone)


def test_the_ledger_books_every_write_and_its_effect(echo):
    requests.post(f"{echo.url}/refunds", data="x", headers={"Idempotency-Key": "k1"}, timeout=5)
    requests.get(f"{echo.url}/refunds", timeout=5)
    ledger = requests.get(f"{echo.url}/_sandbox/ledger", timeout=5).json()
    assert [(e["n"], e["method"], e["path"], e["key"], e["intent"], e["effect"], e["status"]) for e in ledger] == [
        (1, "POST", "/refunds", "k1", "echo", {"body": "x"}, 201)
    ]


def test_a_write_that_a_fault_stopped_is_booked_without_effect(echo):
    for do in ("status:500", "drop_before"):
        requests.post(f"{echo.url}/_sandbox/faults", json={"match": "POST /refunds", "do": do, "times": 1}, timeout=5)
        try:
            requests.post(f"{echo.url}/refunds", timeout=5)
        except requests.ConnectionError:
            assert do == "drop_before"
    assert [dataclasses.asdict(e)["effect"] for e in echo.ledger] == [None, None]
    assert echo.effects() == []


def test_drop_after_does_the_effect_and_loses_the_answer(echo):
    echo.fault("POST /refunds", "drop_after")
    with pytest.raises(requests.ConnectionError):
        requests.post(f"{echo.url}/refunds", timeout=5)
    assert len(echo.effects("echo")) == 1


def test_a_fault_lasts_as_often_as_it_says(echo):
    echo.fault("GET /x", "status:503", 2)
    assert [requests.get(f"{echo.url}/x", timeout=5).status_code for _ in range(3)] == [503, 503, 200]


def test_reset_goes_back_to_the_start(echo):
    requests.post(f"{echo.url}/x", timeout=5)
    echo.fault("GET", "status:500", 9)
    assert requests.post(f"{echo.url}/_sandbox/reset", timeout=5).json() == {"ok": True}
    assert echo.ledger == []
    assert requests.get(f"{echo.url}/x", timeout=5).status_code == 200


def test_admin_knows_only_its_three_paths(echo):
    assert requests.get(f"{echo.url}/_sandbox/other", timeout=5).status_code == 404


def test_a_sandbox_listens_on_loopback_only(echo):
    assert echo._server.server_address[0] == "127.0.0.1"
