"""What an action refuses before anything is looked up or sent."""

import pytest

from hub.access import OPERATOR, Principal
from hub.errors import Invalid, NotFound, Refused
from hub.perform import Request


@pytest.mark.parametrize(
    ("action", "given", "path", "words"),
    [
        ("payment.refund", {"reason": "goodwill"}, "input", "exactly one of payment_ref"),
        ("payment.refund", {"payment_ref": "shop/payments/pay-1", "reason": "bored"}, "input.reason", "goodwill"),
        (
            "payment.refund",
            {"payment_ref": "shop/payments/pay-1", "reason": "goodwill", "amount": {"amount": 0, "currency": "EUR"}},
            "input.amount.amount",
            "expected more than 0",
        ),
        (
            "payment.refund",
            {"payment_ref": "shop/payments/pay-1", "reason": "goodwill", "amount": {"amount": 1.5, "currency": "EUR"}},
            "input.amount.amount",
            "expected a whole number",
        ),
        ("ticket.note", {"ticket_ref": "shop/tickets/tic-1", "body": "x", "boddy": 1}, "input.boddy", "body"),
        ("ticket.note", {"ticket_ref": "shop/tickets/tic-1", "body": " "}, "input.body", "must not be empty"),
        ("customer.lookup", {}, "input", "exactly one of email"),
    ],
)
def test_wrong_input_names_the_field(shop, action, given, path, words):
    with pytest.raises(Invalid) as caught:
        shop.ask(action, **given)
    assert caught.value.field_path == path
    assert words in caught.value.message


@pytest.mark.parametrize("odd", ["half \ud83d of a character", float("inf"), float("nan"), "deep"])
@pytest.mark.parametrize("mode", ["preview", "execute"])
def test_input_that_no_json_can_carry_is_refused_before_anything_is_sent(shop, odd, mode):
    nested: dict = {}
    for _ in range(600):
        nested = {"a": nested}
    custom = {"colour": nested if odd == "deep" else odd}
    with pytest.raises(Invalid) as caught:
        shop.ask("customer.update", mode=mode, customer_ref="shop/customers/cus-1", changes={"custom": custom})
    assert caught.value.field_path == "input"
    assert shop.effects() == 0


def test_a_reason_that_no_json_can_carry_is_refused(shop):
    with pytest.raises(Invalid) as caught:
        shop.note(why="because \udcff")
    assert caught.value.field_path == "reason"
    assert shop.effects() == 0


@pytest.mark.parametrize(
    "reference",
    [
        "https://evil.example.com/tickets/1",
        "shop/tickets/../../admin",
        "shop/tickets/..",
        "shop/tickets/1?x=1",
        "shop/tickets/1#x",
        "shop/tickets/a b",
        "shop/tickets/%2e%2e",
        "shop/tickets/a\\b",
        "shop/tickets/",
        "shop/tic-1",
        "//evil.example.com",
        "shop//tic-1",
        "tic-1",
        "tkt_",
        "abc_aaaaaaaaaaaaaaaaaaaaaaaa",
        "cus_aaaaaaaaaaaaaaaaaaaaaaaa",
    ],
)
def test_a_reference_with_url_or_path_characters_is_refused(shop, reference):
    with pytest.raises(Invalid) as caught:
        shop.note(ticket_ref=reference)
    assert caught.value.field_path == "input.ticket_ref"
    assert shop.sandbox.ledger == []


def test_an_unknown_action_gets_the_nearest_name(shop):
    with pytest.raises(NotFound, match=r'did you mean "payment\.refund"'):
        shop.ask("payment.refnd")


def test_an_unknown_mode_is_refused(shop):
    with pytest.raises(Invalid, match="preview"):
        shop.note(mode="dry-run")


def test_input_that_is_no_object_is_refused(shop):
    with pytest.raises(Invalid, match="object"):
        shop.performer.run(Request("ticket.note", [1], key="k"), OPERATOR)


@pytest.mark.parametrize("key", [None, "", "  "])
def test_acting_needs_a_key(shop, key):
    with pytest.raises(Invalid) as caught:
        shop.note(key=key)
    assert caught.value.error_code == "idempotency_key_required"


@pytest.mark.parametrize("key", ["a\nb", "ü", "x" * 256])
def test_a_key_is_printable_and_short(shop, key):
    with pytest.raises(Invalid) as caught:
        shop.note(key=key)
    assert caught.value.error_code == "invalid_idempotency_key"


def test_a_missing_scope_is_named_and_nothing_is_sent(shop):
    for scopes in (("read",), ("act:ticket.*",), ("act:*@other",)):
        with pytest.raises(Refused) as caught:
            shop.refund(who=Principal("key_1", "bot", scopes))
        assert caught.value.error_code == "missing_scope"
        assert "act:payment.refund" in caught.value.message
    assert shop.sandbox.ledger == []


def test_a_scope_for_the_connection_is_enough(shop):
    assert shop.refund(who=Principal("key_1", "bot", ("act:payment.*@shop",))).status == "succeeded"
