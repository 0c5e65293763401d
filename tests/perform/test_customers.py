"""Customers are made once, and their address and e-mail are changed in every system that keeps them."""

from datetime import datetime

import pytest

from hub.access import OPERATOR
from hub.errors import Conflict, Invalid, Unsupported
from hub.policy import parse_policy
from tests.perform.shop import ADDRESS, MAPPING

ALLOWED = parse_policy({"rule": [{"action": "customer.*", "verdict": "allow"}]}, "policy.toml")
HOME = {"street": "Alte Str. 1", "city": "Bonn", "zip": "53111", "country": "DE"}
TWO = ("shop", "shop-b")


@pytest.fixture
def known(build):
    """Build shops that know Ada, with her address in each."""

    def make(names=("shop",), home=HOME, policy=ALLOWED, **options):
        def tweak(sandboxes):
            for sandbox in sandboxes.values():
                sandbox.things["customers"]["cus-1"]["home"] = dict(home)
                sandbox.things["orders"]["ord-1"] |= {"customer": "cus-1", "state": "open"}
                sandbox.things["orders"]["ord-2"] |= {"customer": "cus-1", "state": "open"}

        return build(names, policy=policy, tweak=tweak, **options)

    return make


def move(shop, **more):
    given = {"customer_ref": "shop/customers/cus-1", "kind": "mailing", "address": ADDRESS, **more}
    return shop.ask("customer.update_address", **given)


def home(shop, name="shop"):
    return shop.sandboxes[name].things["customers"]["cus-1"]["home"]["street"]


def rename(shop, **more):
    return shop.ask(
        "customer.change_email", customer_ref="shop/customers/cus-1", **{"new_email": "ada@new.example", **more}
    )


def test_a_customer_is_made_once_and_named_in_the_answer(shop):
    given = {"name": "Grace Example", "email": "Grace@Mail.example.com"}
    made = shop.ask("customer.create", **given)
    (effect,) = made.effects
    assert (made.status, effect.op, effect.id[:4]) == ("succeeded", "create", "cus_")
    assert shop.ask("customer.create", **given).replayed is True
    assert shop.performer.neighbours.find_customer(shop.store, email="grace@mail.example.com") == [effect.id]
    with pytest.raises(Conflict, match="has this email already") as caught:
        shop.ask("customer.create", key="k2", **given)
    assert (caught.value.error_code, caught.value.reason) == ("customer_exists", effect.id)
    assert shop.effects("customers") == 1


def test_a_customer_made_by_mistake_is_taken_away_again(build):
    shop = build(policy=ALLOWED)
    made = shop.ask("customer.create", name="Grace Example", email="grace@mail.example.com")
    assert made.reversal.action == "customer.archive"
    back = shop.performer.reversing.reverse(made.run_id, OPERATOR)
    assert (back.status, back.effects[0].op, list(shop.sandbox.things["customers"])) == (
        "succeeded",
        "delete",
        ["cus-1"],
    )
    assert shop.performer.neighbours.find_customer(shop.store, email="grace@mail.example.com") == []


def test_only_what_was_made_here_and_is_not_in_use_is_archived(known):
    shop = known()
    with pytest.raises(Conflict) as caught:
        shop.ask("customer.archive", customer_ref="shop/customers/cus-1")
    assert caught.value.error_code == "customer_not_ours"
    made = shop.ask("customer.create", name="Grace Example", email="grace@mail.example.com")
    reference = made.reversal.input["customer_ref"]
    shop.ask("ticket.create", customer_ref=reference, subject="Hello", body="Is anybody there?")
    with pytest.raises(Conflict) as caught:
        shop.performer.reversing.reverse(made.run_id, OPERATOR)
    assert (caught.value.error_code, caught.value.reason) == ("customer_in_use", "ticket")


def test_a_customer_needs_a_way_to_be_reached(shop):
    with pytest.raises(Invalid, match="give email, phone, or both"):
        shop.ask("customer.create", name="Grace Example")


def test_where_several_can_make_a_customer_one_or_more_are_named(build):
    shop = build(TWO)
    given = {"name": "Grace Example", "email": "grace@mail.example.com"}
    with pytest.raises(Invalid, match="name one or more of shop, shop-b"):
        shop.ask("customer.create", **given)
    both = shop.ask("customer.create", connections=list(TWO), **given)
    assert (both.status, [effect.connection for effect in both.effects]) == ("succeeded", list(TWO))


def test_an_address_changes_in_every_system_and_is_put_back_in_each(known):
    shop = known(TWO)
    shop.sandboxes["shop-b"].things["customers"]["cus-1"]["home"]["street"] = "Alte Str. 2"
    done = move(shop)
    assert (done.status, home(shop), home(shop, "shop-b")) == ("succeeded", "Neue Str. 5", "Neue Str. 5")
    ways = [done.reversal.input, *(way.input for way in done.reversal.also)]
    assert {way["targets"][0]: way["address"]["line1"] for way in ways} == {
        "shop": "Alte Str. 1",
        "shop-b": "Alte Str. 2",
    }
    assert shop.performer.reversing.reverse(done.run_id, OPERATOR).status == "succeeded"
    assert (home(shop), home(shop, "shop-b")) == ("Alte Str. 1", "Alte Str. 2")
    assert shop.performer.result(done.run_id).status == "reversed"


def test_two_records_in_one_system_are_put_back_as_each_was(build):
    def twice(sandboxes):
        customers = sandboxes["shop"].things["customers"]
        customers["cus-1"]["home"] = dict(HOME)
        customers["cus-2"] = {**customers["cus-1"], "home": {**HOME, "street": "Alte Str. 2"}}

    shop = build(policy=ALLOWED, tweak=twice)
    done = move(shop)
    assert (done.status, len(done.effects)) == ("succeeded", 2)
    assert shop.performer.reversing.reverse(done.run_id, OPERATOR).status == "succeeded"
    customers = shop.sandbox.things["customers"]
    assert [customers[one]["home"]["street"] for one in ("cus-1", "cus-2")] == ["Alte Str. 1", "Alte Str. 2"]


def test_a_system_that_fails_leaves_the_other_changed_and_only_that_is_put_back(known):
    shop = known(TWO)
    shop.sandboxes["shop-b"].fault("PATCH /customers", "status:422", times=1)
    done = move(shop)
    assert (done.status, [effect.connection for effect in done.effects]) == ("failed", ["shop"])
    assert (done.reversal.action, done.reversal.input["targets"], done.reversal.also) == (
        "customer.update_address", ["shop"], [],
    )  # fmt: skip
    assert shop.performer.reversing.reverse(done.run_id, OPERATOR).status == "succeeded"
    assert home(shop) == "Alte Str. 1"


def test_an_address_of_a_sort_that_a_system_does_not_keep_is_skipped_and_told(build):
    kept = MAPPING.replace('type = { value = "mailing" }', 'type = { value = "billing" }')
    assert kept != MAPPING
    shop = build(policy=ALLOWED, mapping=kept)
    with pytest.raises(Unsupported, match='always "billing"'):
        move(shop)
    assert shop.sandbox.ledger == []


def test_open_orders_follow_and_shipped_ones_stay(known):
    shop = known()
    done = move(shop, apply_to_open_orders=True)
    assert (done.status, len(done.effects)) == ("succeeded", 2)
    orders = shop.sandbox.things["orders"]
    assert (orders["ord-1"]["ship"]["street"], orders["ord-2"]["ship"]["street"]) == ("Neue Str. 5", "Alte Str. 2")


def test_an_order_that_ships_meanwhile_is_told_and_keeps_its_address(known):
    shop = known()
    shop.sandbox.things["orders"]["ord-1"]["sent"] = True
    done = move(shop, apply_to_open_orders=True)
    assert (done.status, len(done.effects)) == ("succeeded", 1)
    assert [(one.action, "ord-1" in one.reason) for one in done.skipped] == [("order.update_shipping_address", True)]


@pytest.mark.parametrize(("country", "verdict"), [("DE", "allow"), ("AT", "deny")])
def test_a_policy_may_ask_whether_the_country_changes_while_an_order_is_under_way(known, country, verdict):
    rules = [
        {
            "name": "abroad",
            "action": "customer.update_address",
            "when": {"country_change": True, "open_order": True},
            "verdict": "deny",
        },
        {"name": "else", "action": "customer.*", "verdict": "allow"},
    ]
    shop = known(policy=parse_policy({"rule": rules}, "policy.toml"))
    result = move(shop, address={**ADDRESS, "country_code": country})
    assert result.policy.verdict == verdict
    assert result.policy.facts["country_change"] is (country != "DE")


def test_an_email_changes_everywhere_and_may_be_taken_back_for_14_days(known):
    shop = known(TWO)
    done = rename(shop)
    assert (done.status, len(done.effects)) == ("succeeded", 2)
    assert done.reversal.input == {
        "customer_ref": done.target.id, "new_email": "ada@mail.example.com", "targets": list(TWO),
    }  # fmt: skip
    created = shop.ledger.get(done.run_id).created_at
    left = datetime.fromisoformat(done.reversal.until) - datetime.fromisoformat(created)
    assert 13.9 < left.total_seconds() / 86_400 <= 14
    back = shop.performer.reversing.reverse(done.run_id, OPERATOR)
    assert back.status == "succeeded"
    assert {s.things["customers"]["cus-1"]["mail"] for s in shop.sandboxes.values()} == {"ada@mail.example.com"}


def test_an_email_cannot_be_taken_back_when_its_time_is_over(known):
    shop = known()
    done = rename(shop)
    late = done.as_json().replace(done.reversal.until.encode(), b"2020-01-01T00:00:00Z")
    shop.ledger.amend(done.run_id, "succeeded", late)
    with pytest.raises(Conflict, match="could be undone until 2020"):
        shop.performer.reversing.reverse(done.run_id, OPERATOR)


def test_an_email_of_somebody_else_is_refused(known):
    shop = known()
    shop.ask("customer.create", name="Grace Example", email="grace@mail.example.com")
    with pytest.raises(Conflict, match="has this email already"):
        rename(shop, key="k2", new_email="Grace@mail.example.com")
    assert len(shop.sandbox.ledger) == 1


def test_an_email_is_nobodys_to_change_by_default(known):
    shop = known(policy=parse_policy({}, "policy.toml"))
    assert (rename(shop).status, shop.sandbox.ledger) == ("denied", [])


@pytest.fixture
def shared_mailbox(build):
    """Build a shop where three customers have one e-mail address."""

    def tweak(sandboxes):
        things = sandboxes["shop"].things
        for number, (name, code) in enumerate((("Zoë Müller", "53111"), ("Max Müller", "53 112"), ("Ida Roe", None))):
            home = {"street": "Alte Str. 1", "city": "Bonn", "zip": code, "country": "DE"}
            things["customers"][f"cus-{number + 5}"] = {"name": name, "mail": "family@mail.example.com", "home": home}
        things["orders"]["ord-1"] |= {"customer": "cus-6", "state": "open"}

    return build(policy=ALLOWED, tweak=tweak)


def names(shop, **hints):
    given = {"hints": hints} if hints else {}
    found = shop.ask("customer.lookup", email="family@mail.example.com", **given).answer
    return found["match"], sorted(one["display_name"] for one in found["customers"])


ALL = ("several", ["Ida Roe", "Max Müller", "Zoë Müller"])


@pytest.mark.parametrize(
    ("hints", "wanted"),
    [
        ({"name": "zoe muller"}, ("one", ["Zoë Müller"])),
        ({"name": "Müller", "postal_code": "53112"}, ("one", ["Max Müller"])),
        ({"order_number": "ord-1"}, ("one", ["Max Müller"])),
        ({"name": "Müller"}, ALL),
        ({"name": "Nobody"}, ALL),
        ({"name": "Ida", "postal_code": "53111"}, ALL),
        ({"name": "-"}, ALL),
        ({}, ALL),
    ],
)
def test_hints_choose_one_of_several_or_leave_it_at_all_of_them(shared_mailbox, hints, wanted):
    assert names(shared_mailbox, **hints) == wanted


def test_hints_show_nothing_that_a_lookup_does_not(shared_mailbox):
    plain = shared_mailbox.ask("customer.lookup", email="family@mail.example.com").answer["customers"]
    hinted = shared_mailbox.ask("customer.lookup", email="family@mail.example.com", hints={"name": "Zoë"})
    assert hinted.answer["customers"] == [one for one in plain if one["display_name"] == "Zoë Müller"]


def test_hints_say_nothing_of_a_customer_who_is_found_alone(shop):
    wrong = shop.ask("customer.lookup", email="ada@mail.example.com", hints={"postal_code": "00000"})
    right = shop.ask("customer.lookup", email="ada@mail.example.com")
    assert wrong.answer == right.answer


@pytest.mark.parametrize("hints", [{"shoe_size": "42"}, {"name": ""}, "Zoë"])
def test_a_hint_that_cannot_be_is_refused(shop, hints):
    with pytest.raises(Invalid, match="hints"):
        shop.ask("customer.lookup", email="ada@mail.example.com", hints=hints)


def test_hints_alone_look_nobody_up(shop):
    with pytest.raises(Invalid, match="exactly one of email"):
        shop.ask("customer.lookup", hints={"email": "ada@mail.example.com"})
