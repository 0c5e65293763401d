"""`hub act`, `hub actions` and `hub runs`: what can be done, what was done, and what is wrong with what was given."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Hub
from tests.stores import ON_SQLITE


def test_actions_say_who_can(hub: Hub, market: Any) -> None:
    found = {line["name"]: line for line in hub("actions", "--json").json["actions"]}
    assert found["payment.refund"]["connections"] == ["market"]
    assert found["customer.update"]["connections"] == []
    assert re.search(r"^payment.refund +Refund a payment +R3 +market$", hub("actions").out, re.M)


def test_act_and_runs(hub: Hub, market: Any) -> None:
    hub("sync")
    given = ["act", "ticket.reply", "ticket_ref=market/tickets/t1", "body=On its way.", "--key", "k1", "--json"]
    preview = hub(*given[:-3], "--preview", "--json").json
    assert preview["status"] == "previewed"
    assert market.effects() == []
    first, again = hub(*given), hub(*given)
    assert (first.code, first.json["status"], again.json["replayed"]) == (0, "succeeded", True)
    (entry,) = market.effects("note t1")
    assert entry.effect["public"] is True
    run_id = first.json["run_id"]
    assert hub("runs", run_id, "--json").json["status"] == "succeeded"
    assert run_id in [line["run_id"] for line in hub("runs", "--json").json["data"]]
    assert run_id in hub("runs").out
    assert "succeeded" in hub("runs", run_id).out
    hub("runs", "run_nope").failed(1, "there is no run")


def test_act_nests_fields_and_reads_a_file(hub: Hub, market: Any, tmp_path: Path) -> None:
    hub("sync")
    (tmp_path / "in.json").write_text('{"payment_ref": "market/payments/pay1", "reason": "other"}')
    ran = hub("act", "payment.refund", "--input", "@in.json", "amount=1.00 EUR", "--key", "k", "--json")
    assert ran.code == 1
    assert ran.json["status"] == "denied"
    assert "policy" in ran.json["error"]["human_message"]


def test_runs_name_the_key_that_asked(hub: Hub, market: Any, tmp_path: Path) -> None:
    hub("sync")
    from hub.app import App
    from hub.perform import Request

    with App.open(tmp_path / "config.toml") as app:
        principal = app.principal(app.create_key("nightly bot", ["act:*"])["key"])
        asked = {"ticket_ref": "market/tickets/t1", "body": "Hi"}
        app.act(Request(action="ticket.reply", input=asked, key="k"), principal)
    assert "nightly bot" in hub("runs").out
    assert hub("runs", "--json").json["data"][0]["principal_name"] == "nightly bot"


@ON_SQLITE
@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["ticket.replyy"], "there is no action"),
        (["ticket.reply", "body=Hi"], "ticket.reply: ticket_ref: missing"),
        (["ticket.reply", "ticket_ref=market/tickets/t1", "body=", "--key", "k"], "body: must not be empty"),
        (["ticket.reply", "ticket_ref=market/tickets/t1", "bdy=Hi"], 'bdy: no such field; did you mean "body"?'),
        (["ticket.reply", "ticket_ref=market/tickets/t1", "body=Hi", "set_status=done"], "set_status: expected new, "),
        (
            ["customer.update", "customer_ref=cus_x", "changes.phone=1"],
            "changes.phone: no such field; there are display_",
        ),
        (
            ["ticket.set_status", "ticket_ref=tkt", "status=x"],
            "status: expected open, pending, on_hold, solved or closed",
        ),
        (["ticket.reply", "ticket_ref=nope", "body=Hi", "--key", "k"], "ticket_ref: expected a hub id"),
    ],
)
def test_wrong_input_is_told_in_the_words_of_the_command_line(
    hub: Hub, market: Any, given: list[str], text: str
) -> None:
    ran = hub("act", *given)
    ran.failed(2, text)
    assert not re.search(r"input\.|Input|Field|String|Extra|Value error", ran.err)


def test_a_second_time_is_told_with_the_option_that_permits_it(hub: Hub, market: Any) -> None:
    hub("sync")
    given = ["act", "ticket.reply", "ticket_ref=market/tickets/t1", "body=Hi"]
    assert hub(*given, "--key", "a").code == 0
    hub(*given, "--key", "b").failed(1, "add --repeat if it is to happen again")
    assert hub(*given, "--key", "b", "--repeat").code == 0


def test_act_without_a_key_is_told(hub: Hub, market: Any) -> None:
    hub("sync")
    hub("act", "ticket.reply", "ticket_ref=market/tickets/t1", "body=Hi").failed(
        2, "ticket.reply needs --key: one per intention"
    )
