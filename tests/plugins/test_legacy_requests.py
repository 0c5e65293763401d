"""Orders cancelled and customers changed in a system without an API, with the money at Stripe: the whole way."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hub.access import OPERATOR
from hub.app import App
from hub.errors import HubError, Invalid, Unsupported
from hub.mapping.spec import Expression, VerbSpec
from hub.perform import Request, Result
from hub.sandbox import Order, Payment, World
from hub.sync import sync_connection
from hub_legacy.sandbox import LegacySandbox
from hub_stripe.sandbox import StripeSandbox
from tests.stores import ON_SQLITE

ALLOW = """
[[rule]]
action = "*"
verdict = "allow"
"""
HOME = {"line1": "Neue Str. 5", "city": "Wien", "postal_code": "1010", "country_code": "AT"}


class House:
    """A hub on an order system and on Stripe, which know the same people."""

    def __init__(self, folder: Path, url: str, stack: ExitStack) -> None:
        world = World(customers=40)
        self.erp = stack.enter_context(LegacySandbox(world))
        self.stripe = stack.enter_context(StripeSandbox(world))
        tables = {"erp": self.erp.settings(), "stripe": self.stripe.settings()}
        text = "".join(
            f"[connections.{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in table.items())
            for name, table in tables.items()
        )
        (folder / "config.toml").write_text(f'[hub]\ndatabase_url = "{url}"\n{text}')
        (folder / "policy.toml").write_text(ALLOW)
        self.app = stack.enter_context(App.open(folder / "config.toml"))
        for name in tables:
            sync_connection(self.app.store, self.app.connections.open(name))

    def ask(self, action: str, key: str = "k1", **given: Any) -> Result:
        return self.app.performer.run(Request(action, given, key=key), OPERATOR)

    def paid(self, *, shipped: bool, status: str = "succeeded") -> tuple[Order, Payment]:
        """Choose an order of the world with its payment at Stripe, of which nothing was given back."""
        for payment in self.erp.world.payments:
            order = payment.order
            fits = order.status == "open" and order.shipped is shipped and "stripe" in order.person.systems
            if fits and payment.status == status and not payment.refunds and payment.dispute is None:
                return order, payment
        raise AssertionError("the world has no such order")

    def row(self, table: str, column: str, value: str) -> dict[str, Any]:
        with closing(self.erp.connect()) as database:
            sql = f"SELECT * FROM {table} WHERE {column} = ?"
            return dict(database.execute(sql, (value,)).fetchone())


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path, database_url, stack)


def reference(order: Order) -> str:
    return f"erp/orders/{700_000 + order.n}"


def test_an_order_of_the_erp_is_cancelled_and_refunded_at_stripe(house: House) -> None:
    order, payment = house.paid(shipped=False)
    given = {"order_ref": reference(order), "reason": "ordered twice", "refund": True, "restock": True}
    result = house.ask("order.cancel", **given)
    assert (result.status, [(e.connection, e.object) for e in result.effects]) == (
        "succeeded", [("erp", "cancel_requests"), ("stripe", "refund")],
    )  # fmt: skip
    assert result.money is not None
    assert (result.money.amount, result.money.currency) == (payment.amount_minor, order.currency)
    booked = house.row("orders", "order_no", order.number)
    assert (booked["status"], booked["ship_status"]) == ("CANCELED", "CANCELED")
    assert house.row("cancel_requests", "order_no", order.number)["restock"] == 1
    assert len(house.erp.effects("cancel")) == len(house.stripe.effects("refund")) == 1
    found = house.ask("order.get", order_ref=reference(order)).answer["orders"][0]
    assert found["status"] == "canceled"


def test_a_refusal_of_the_erp_leaves_the_money_where_it_is(house: House) -> None:
    order, _ = house.paid(shipped=False)
    house.erp.fault("INSERT /cancel_requests", "status:500")
    result = house.ask("order.cancel", order_ref=reference(order), reason="ordered twice", refund=True)
    assert (result.status, result.effects, house.stripe.effects("refund")) == ("failed", [], [])
    assert result.error is not None
    assert result.error["code"] == "legacy_refused"


def test_a_lost_answer_of_stripe_refunds_once(house: House) -> None:
    order, _ = house.paid(shipped=False)
    house.stripe.fault("POST /v1/refunds", "drop_after", 1)
    result = house.ask("order.cancel", order_ref=reference(order), reason="ordered twice", refund=True)
    assert (result.status, len(house.stripe.effects("refund"))) == ("succeeded", 1)


def test_a_customers_email_and_address_are_requests_to_the_erp(house: House) -> None:
    person = house.erp.world.known_to("legacy")[0]
    customer = f"erp/customers/{person.number}"
    changed = house.ask(
        "customer.change_email", customer_ref=customer, new_email="new@made.example.com", targets=["erp"]
    )
    assert (changed.status, changed.reversal.possible) == ("succeeded", True)
    moved = house.ask("customer.update_address", "k2", customer_ref=customer, kind="mailing", address=HOME)
    assert moved.status == "succeeded"
    now = house.row("customers", "customer_no", person.number)
    assert (now["email"], now["street"], now["country"]) == ("new@made.example.com", "Neue Str. 5", "AT")
    if "stripe" in person.systems:
        assert {one.connection for one in moved.skipped} == {"stripe"}


@ON_SQLITE
def test_the_erp_keeps_no_address_for_bills(house: House) -> None:
    person = next(p for p in house.erp.world.known_to("legacy") if "stripe" in p.systems)
    customer = f"erp/customers/{person.number}"
    billed = house.ask("customer.update_address", customer_ref=customer, kind="billing", address=HOME)
    assert (billed.status, {e.connection for e in billed.effects}) == ("succeeded", {"stripe"})
    assert [(one.connection, one.action) for one in billed.skipped] == [("erp", "customer.update_address")]


def with_lines(house: House) -> tuple[Order, Payment]:
    """Choose an order of several lines that has not shipped, with its payment."""
    for payment in house.erp.world.payments:
        order = payment.order
        fits = order.status == "open" and not order.shipped and "stripe" in order.person.systems
        several = len(order.lines) > 1 and sum(line.quantity for line in order.lines) > 2
        untouched = payment.status == "succeeded" and not payment.refunds and payment.dispute is None
        if fits and several and untouched:
            return order, payment
    raise AssertionError("the world has no such order")


def test_one_line_of_an_order_is_cancelled_and_only_that_is_refunded(house: House) -> None:
    order, payment = with_lines(house)
    line = order.lines[1]
    items = [{"line": "2"}]
    given = {"order_ref": reference(order), "reason": "one too many", "refund": True, "items": items}
    result = house.ask("order.cancel", **given)
    assert (result.status, [(e.connection, e.object) for e in result.effects]) == (
        "succeeded", [("erp", "cancel_requests"), ("stripe", "refund")],
    )  # fmt: skip
    assert result.money is not None
    assert result.money.amount == line.total_minor < payment.amount_minor
    asked = json.loads(house.row("cancel_requests", "order_no", order.number)["items"])
    assert asked == [{"line": f"{700_000 + order.n}-2", "sku": line.sku, "quantity": line.quantity}]
    assert house.row("orders", "order_no", order.number)["status"] == "OPEN"
    found = house.ask("order.get", order_ref=reference(order)).answer["orders"][0]
    assert (found["status"], float(found["lines"][1]["quantity"])) == ("open", 0)
    assert found["total"]["amount"] == order.total_minor - line.total_minor
    again = house.ask("order.cancel", **given)
    assert (again.replayed, len(house.stripe.effects("refund"))) == (True, 1)


@ON_SQLITE
@pytest.mark.parametrize(
    ("items", "code", "path"),
    [
        ([{"sku": "NOWHERE"}], "unknown_item", "input.items.0"),
        ([{"line": "1", "quantity": 99}], "quantity_exceeds", "input.items.0.quantity"),
        ("all", "invalid", "input.items"),
    ],
)
def test_items_that_cannot_be_cancelled_are_refused(house: House, items: Any, code: str, path: str) -> None:
    order, _ = with_lines(house)
    items = [{"line": str(n)} for n, _ in enumerate(order.lines, 1)] if items == "all" else items
    with pytest.raises(Invalid) as caught:
        house.ask("order.cancel", order_ref=reference(order), reason="x", items=items)
    assert (caught.value.error_code, caught.value.field_path) == (code, path)
    assert house.erp.effects() == []


@ON_SQLITE
def test_what_has_shipped_is_not_cancelled(house: House) -> None:
    order, _ = house.paid(shipped=True)
    with pytest.raises(Invalid, match="shipped already"):
        house.ask("order.cancel", order_ref=reference(order), reason="x", items=[{"line": "1", "quantity": 1}])


@ON_SQLITE
def test_a_verb_that_does_not_write_the_items_refuses_them(house: House) -> None:
    connection = house.app.connections.open("erp")
    verb = connection.mapping.actions["order.cancel"]
    without = {name: value for name, value in verb.set.items() if name != "items"}
    connection.mapping.actions["order.cancel"] = replace(verb, set=without)  # type: ignore[index]
    order, _ = with_lines(house)
    with pytest.raises(Unsupported, match=r"erp cannot do items; no connection can"):
        house.ask("order.cancel", order_ref=reference(order), reason="x", items=[{"line": "1"}])
    connection.mapping.actions["order.cancel"] = verb  # type: ignore[index]


@ON_SQLITE  # tests/perform/test_order_cancel.py has parts of orders on both stores
def test_two_items_one_after_the_other_are_no_duplicates_and_the_same_twice_is_one(house: House) -> None:
    order, _ = with_lines(house)
    given = {"order_ref": reference(order), "reason": "x"}
    first, second = ([{"line": line, "quantity": 1}] for line in ("1", "2"))
    assert house.ask("order.cancel", "k1", items=first, **given).status == "succeeded"
    assert house.ask("order.cancel", "k2", items=second, **given).status == "succeeded"
    with pytest.raises(HubError):
        house.ask("order.cancel", "k3", items=second, **given)
    assert len(house.erp.effects("cancel items")) == 2


@ON_SQLITE
def test_a_request_of_which_one_line_is_refused_books_none(house: House) -> None:
    order, _ = with_lines(house)
    number = 700_000 + order.n
    items = json.dumps([{"line": f"{number}-1", "quantity": 1}, {"line": f"{number}-2", "quantity": 99}])
    with closing(house.erp.connect()) as database:
        sql = "INSERT INTO cancel_requests (request_id, order_no, items) VALUES ('r1', ?, ?)"
        database.execute(sql, (order.number, items))
    deadline = time.monotonic() + 20
    while house.row("cancel_requests", "request_id", "r1")["status"] == "NEW" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert house.row("cancel_requests", "request_id", "r1")["reason_code"] == "LINE_NOT_OPEN"
    assert house.erp.effects() == []
    assert house.row("order_lines", "order_id", str(number))["qty"] == order.lines[0].quantity


@ON_SQLITE
def test_credit_that_ends_is_for_systems_that_keep_its_end(house: House) -> None:
    person = next(p for p in house.erp.world.known_to("legacy") if "stripe" in p.systems)
    customer = house.ask("customer.lookup", external_ref=person.number).answer["customers"][0]["id"]
    given = {"customer_ref": customer, "amount": "5.00 EUR", "reason": "late", "expires": "2099-12-31T00:00:00Z"}
    with pytest.raises(Unsupported, match=r"stripe cannot do expires; no connection can; leave it out"):
        house.ask("credit.grant", **given)
    parts = {"request_id": "run.key", "customer_no": "customer.remote_id", "region": "amount.major", "zip": "expires"}
    said = {name: Expression(text, tuple(text.split("."))) for name, text in parts.items()}
    connection = house.app.connections.open("erp")
    connection.mapping.actions["credit.grant"] = VerbSpec("credit.grant", "insert", "customer_requests", said)  # type: ignore[index]
    try:
        with pytest.raises(Invalid, match="a time to come"):
            house.ask("credit.grant", **{**given, "expires": "2001-01-01T00:00:00Z"})
        granted = house.ask("credit.grant", **given)
        row = house.row("customer_requests", "customer_no", person.number)
        assert (granted.status, granted.effects[0].connection) == ("succeeded", "erp")
        assert (row["region"], row["zip"][:10]) == ("5.00", "2099-12-31")
    finally:
        del connection.mapping.actions["credit.grant"]  # type: ignore[attr-defined]


@ON_SQLITE
def test_the_list_of_actions_tells_who_heeds_which_special_input(house: House) -> None:
    special = {line["name"]: line["special"] for line in house.app.describe_actions()}
    assert special["order.cancel"] == {"items": ["erp"]}
    assert special["subscription.change_plan"] == {"item": ["stripe"], "effective": ["stripe"]}
    assert (special["payment.refund"], special["order.get"]) == ({"destination": []}, {})
