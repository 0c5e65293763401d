"""Which item of a subscription is meant, and how a change of it is undone: from the record alone."""

import pytest

from hub.actions import SubscriptionCancel, SubscriptionChangePlan, SubscriptionChangeQuantity
from hub.errors import Invalid
from hub.perform import facts

ITEMS = [
    {"remote_id": "si_1", "price_ref": "care", "quantity": "1"},
    {"remote_id": "si_2", "price_ref": "extra", "quantity": "3"},
    {"remote_id": "si_3", "price_ref": "extra", "quantity": "1"},
]


def change(**given):
    return SubscriptionChangeQuantity.model_validate(
        {"subscription_ref": "stripe/subscriptions/sub_1", "quantity": 5, "proration": "none", **given}
    )


@pytest.mark.parametrize(
    ("item", "code"), [(None, "several_items"), ("extra", "several_items"), ("si_9", "unknown_item")]
)
def test_an_item_is_never_guessed_and_the_error_names_those_there_are(item, code):
    with pytest.raises(Invalid, match=r"si_1 \(care\), si_2 \(extra\)") as caught:
        facts.completed(change(item=item), {"status": "active", "items": ITEMS})
    assert (caught.value.error_code, caught.value.field_path) == (code, "input.item")


@pytest.mark.parametrize("item", ["si_2", "care"])
def test_one_item_is_meant_by_its_id_or_by_its_price(item):
    action = change(item=item)
    assert facts.completed(action, {"status": "active", "items": ITEMS}) is action


def test_a_subscription_of_one_item_needs_no_name_for_it():
    assert facts.completed(change(), {"items": ITEMS[:1]}) == change()


def test_a_change_is_undone_on_the_same_item_from_the_same_time():
    action = SubscriptionChangePlan.model_validate(
        {
            "subscription_ref": "x/y/z",
            "item": "care",
            "price": "plus",
            "proration": "none",
            "effective": "period_end",
        }
    )
    before, after = facts.predicted_items(action, {"items": ITEMS})
    assert (before, after) == ({"price": "care", "quantity": "1", "item": "si_1"}, {"price": "plus"})
    undo = action.undo("sub_x", before, None)
    assert undo.input == {
        "subscription_ref": "sub_x",
        "item": "si_1",
        "price": "care",
        "quantity": 1,
        "proration": "none",
        "effective": "period_end",
    }


def test_what_is_known_of_no_item_is_not_undone():
    assert isinstance(change(item="si_2").undo("sub_x", {}, None), str)


def test_a_day_that_is_past_is_refused_when_it_is_asked_for_but_can_be_read_back_from_the_journal():
    given = {"subscription_ref": "x/y/z", "when": "date", "at": "2001-01-01T00:00:00Z", "reason": "moving"}
    action = SubscriptionCancel.model_validate(given)
    with pytest.raises(Invalid, match="a time to come") as caught:
        facts.completed(action, {"status": "active"})
    assert caught.value.field_path == "input.at"
