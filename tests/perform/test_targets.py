"""Where an action is carried out: which records, in which connections."""

import pytest

from hub import reads
from hub.config import ConnectionSettings
from hub.errors import ConfigError, Conflict, Invalid, NotFound, Unsupported
from tests.perform.shop import ADDRESS, TIME, ShopConnector


def test_a_customer_is_updated_wherever_it_is_held(build):
    shop = build(("shop", "till"))
    target = reads.resolve_target(shop.store, "shop/customers/cus-1", "customer")
    assert sorted(t.connection for t in target) == ["shop", "till"]
    result = shop.ask("customer.update", customer_ref=target[0].id, changes={"job_title": "Buyer"})
    assert result.status == "succeeded"
    assert sorted(effect.connection for effect in result.effects) == ["shop", "till"]
    assert {s.things["customers"]["cus-1"]["job"] for s in shop.sandboxes.values()} == {"Buyer"}


def test_one_system_that_fails_does_not_hide_the_other(build):
    shop = build(("shop", "till"))
    shop.sandboxes["shop"].fault("PATCH /customers", "status:422")
    given = {"customer_ref": "shop/customers/cus-1", "changes": {"job_title": "Buyer"}}
    result = shop.ask("customer.update", **given)
    assert (result.status, result.error["code"]) == ("failed", "invalid")
    assert [effect.connection for effect in result.effects] == ["till"]
    assert result.warnings == ["1 of 2 steps failed; the others were done"]
    assert shop.ask("customer.update", **given).replayed is True
    assert shop.effects() == 1


def test_targets_choose_the_systems(build):
    shop = build(("shop", "till"))
    given = {"customer_ref": "shop/customers/cus-1", "changes": {"job_title": "Buyer"}}
    result = shop.ask("customer.update", targets=["till"], **given)
    assert [effect.connection for effect in result.effects] == ["till"]
    with pytest.raises(NotFound) as caught:
        shop.ask("customer.update", key="k2", targets=["moon"], **given)
    assert caught.value.field_path == "input.targets"


def test_a_field_that_cannot_be_written_is_told(shop):
    given = {"customer_ref": "shop/customers/cus-1", "changes": {"job_title": "Buyer", "language": "fr"}}
    result = shop.ask("customer.update", **given)
    assert result.status == "succeeded"
    assert result.warnings == ["shop: language cannot be written there"]
    with pytest.raises(Unsupported):
        shop.ask("customer.update", key="k2", **(given | {"changes": {"language": "fr"}}))
    with pytest.raises(Unsupported):
        shop.ask("customer.update", key="k3", targets=["shop"], **given)


def test_a_ticket_is_opened_in_the_connection_that_is_named(build):
    shop = build(("shop", "till"))
    given = {"customer_ref": "shop/customers/cus-1", "subject": "Help", "body": "Please."}
    with pytest.raises(Invalid, match="shop, till") as caught:
        shop.ask("ticket.create", **given)
    assert caught.value.field_path == "input.connection"
    result = shop.ask("ticket.create", connection="till", **given)
    assert [effect.connection for effect in result.effects] == ["till"]


def test_a_ticket_is_opened_for_the_very_record_that_is_named(build):
    def twin(sandboxes):
        customers = sandboxes["shop"].things["customers"]
        customers["cus-2"] = dict(customers["cus-1"])

    shop = build(tweak=twin)
    assert len(reads.resolve_target(shop.store, "shop/customers/cus-2", "customer")) == 2
    for named in ("cus-2", "cus-1"):
        given = {"customer_ref": f"shop/customers/{named}", "subject": f"For {named}", "body": "Please."}
        assert shop.ask("ticket.create", key=named, **given).status == "succeeded"
    opened = {ticket["title"]: ticket["customer"] for ticket in shop.sandbox.things["tickets"].values()}
    assert (opened["For cus-1"], opened["For cus-2"]) == ("cus-1", "cus-2")


def test_the_only_connection_that_can_is_taken(shop):
    given = {"customer_ref": "shop/customers/cus-1", "subject": "Help", "body": "Please."}
    assert shop.ask("ticket.create", **given).status == "succeeded"
    assert shop.sandbox.things["tickets"]["tic-2"]["title"] == "Help"


def test_an_action_nobody_can_do_names_who_could(build, monkeypatch):
    shop = build()
    marks = tuple(mark for mark in ShopConnector.marks if mark.name != "ticket.note")
    monkeypatch.setattr(type(shop.connections.open("shop").connector), "marks", marks)
    with pytest.raises(Unsupported, match="no connection can"):
        shop.note()


def test_an_order_in_two_systems_needs_the_exact_record(build):
    shop = build(("shop", "till"))
    hub_id = reads.resolve_target(shop.store, "shop/orders/ord-1", "order")[0].id
    given = {"address": ADDRESS}
    with pytest.raises(Invalid, match="shop/orders/ord-1, till/orders/ord-1") as caught:
        shop.ask("order.update_shipping_address", order_ref=hub_id, **given)
    assert caught.value.error_code == "ambiguous_target"
    result = shop.ask("order.update_shipping_address", order_ref="till/orders/ord-1", **given)
    assert [effect.connection for effect in result.effects] == ["till"]


def test_a_ticket_is_not_opened_where_the_customer_is_not_known(build):
    shop = build(("shop", "till"), tweak=lambda both: both["till"].things["customers"].clear())
    given = {"customer_ref": "shop/customers/cus-1", "subject": "Help", "body": "Please."}
    with pytest.raises(NotFound) as caught:
        shop.ask("ticket.create", connection="till", **given)
    assert caught.value.error_code == "customer_not_there"
    assert [e.connection for e in shop.ask("ticket.create", **given).effects] == ["shop"]
    with pytest.raises(Unsupported, match="moon"):
        shop.ask("ticket.create", connection="moon", key="k2", **given)


def test_a_connection_that_does_not_open_stops_no_other(build):
    shop = build()
    broken = ConnectionSettings(connector="nothing")
    shop.connections.settings.connections["broken"] = broken
    given = {"customer_ref": "shop/customers/cus-1", "subject": "Help", "body": "Please."}
    assert shop.ask("ticket.create", **given).status == "succeeded"
    with pytest.raises(ConfigError, match="nothing"):
        shop.ask("ticket.create", connection="broken", key="k2", **given)


def test_a_record_of_a_connection_that_was_taken_away_is_out_of_reach(shop):
    del shop.connections.settings.connections["shop"]
    with pytest.raises(Unsupported, match="no connection can"):
        shop.note()


def test_an_unknown_record_is_not_found(shop):
    with pytest.raises(NotFound) as caught:
        shop.note(ticket_ref="shop/tickets/tic-9")
    assert (caught.value.error_code, caught.value.field_path) == ("not_found", "input.ticket_ref")


def test_an_expected_version_that_is_no_more_is_a_conflict(shop):
    assert shop.note(expected_version=TIME).status == "succeeded"
    shop.sandbox.things["tickets"]["tic-1"]["changed"] = "2026-11-05T00:00:00Z"
    with pytest.raises(Conflict) as caught:
        shop.note(key="k2", expected_version=TIME)
    assert caught.value.error_code == "version_conflict"
