"""Settings, ids and cursors of the Zendesk connector, and its live look-up."""

import subprocess
import sys
from zoneinfo import available_timezones

import pytest

from hub.actions import CustomerLookup
from hub.connector import Call
from hub.errors import Invalid, Unsupported
from hub.sandbox import World
from hub.testing import case_for
from hub_zendesk.client import ident
from hub_zendesk.connector import ZendeskConnector
from hub_zendesk.cursors import Cursor, parse
from hub_zendesk.links import zendesk_agent_url
from hub_zendesk.sandbox import ZendeskSandbox
from hub_zendesk.zones import ZONES, zendesk_zone


@pytest.mark.parametrize("odd", ["0", "-1", "1.5", "1e3", "12345678901234567890", "1\n", " 1", "x", "1/2", "٣"])
def test_an_id_that_is_no_whole_number_is_refused(odd: str) -> None:
    with pytest.raises(Invalid):
        ident(odd)


@pytest.mark.parametrize("odd", ["", "x", "{}x", "[]", '{"v": 2}', '{"start": "x"}'])
def test_a_cursor_that_is_not_ours_is_refused(odd: str) -> None:
    with pytest.raises(Invalid, match="the stored cursor"):
        parse(odd)
    assert parse(Cursor(after="x", deleted="y").text()) == Cursor(after="x", deleted="y")


@pytest.mark.parametrize(
    "settings",
    [
        {"subdomain": "acme"},
        {"subdomain": "acme", "email": "ops@acme.example"},
        {"subdomain": "acme", "token": "t"},
        {"subdomain": "acme", "email": "ops@acme.example", "token": "t", "oauth_token": "o"},
        {"subdomain": "https://acme.zendesk.com", "oauth_token": "o"},
        {"subdomain": "acme.example/x", "oauth_token": "o"},
    ],
)
def test_a_configuration_that_cannot_work_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        ZendeskConnector.Config(**settings)


def test_the_plugin_names_its_connector_without_importing_the_sdk() -> None:
    code = (
        "import sys, hub_zendesk; names = [c.name for c in hub_zendesk.hub_connectors()]; "
        "assert names == ['zendesk'] and 'zenpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_customers_are_looked_up_where_zendesk_can() -> None:
    with case_for(ZendeskConnector, world=World(customers=10)) as case:
        sandbox, method = case.sandbox, case.connector.method("act", "customer.lookup")
        assert isinstance(sandbox, ZendeskSandbox)
        assert method is not None
        known = next(
            user
            for user in sandbox.state.users.values()
            if user["role"] == "end-user" and user["external_id"] and user["email"]
        )
        ticket = next(iter(sandbox.state.tickets.values()))
        for given, wanted in (
            ({"email": known["email"]}, known["id"]),
            ({"external_ref": known["external_id"]}, known["id"]),
            ({"phone": known["phone"]}, known["id"]),
            ({"ticket_id": str(ticket["id"])}, ticket["requester_id"]),
        ):
            outcome = method(CustomerLookup(**given), Call("run_1", "hub-run-1"))
            assert ("users", str(wanted)) in list(outcome.touched)
        with pytest.raises(Unsupported):
            method(CustomerLookup(order_number="SO-1"), Call("run_1", "hub-run-1"))
        assert method(CustomerLookup(email='x" OR role:admin'), Call("run_1", "k")).answer == []


def test_an_oauth_token_is_as_good_as_an_api_token() -> None:
    with (
        ZendeskSandbox(World(customers=5)) as sandbox,
        case_for(ZendeskConnector, sandbox=sandbox, email=None, token=None, oauth_token="sandbox-oauth") as case,
    ):
        assert case.connector.check().scopes == ("admin",)
        assert list(case.pull("users"))


@pytest.mark.parametrize(
    ("api", "page"),
    [
        ("https://acme.zendesk.com/api/v2/tickets/35436.json", "https://acme.zendesk.com/agent/tickets/35436"),
        ("https://acme.zendesk.com/api/v2/tickets/35436", "https://acme.zendesk.com/agent/tickets/35436"),
        ("https://acme.zendesk.com/api/v2/users/7.json", "https://acme.zendesk.com/agent/users/7"),
        ("https://acme.zendesk.com/tickets/1", "https://acme.zendesk.com/tickets/1"),
        ("", ""),
    ],
)
def test_a_url_is_the_page_that_agents_open(api: str, page: str) -> None:
    assert zendesk_agent_url(api) == page


def test_every_zone_of_the_table_is_one_of_ianas() -> None:
    assert set(ZONES.values()) <= available_timezones()


@pytest.mark.parametrize(
    ("told", "zone"),
    [
        ("International Date Line West", "Etc/GMT+12"),
        ("America/New_York", "America/New_York"),
        ("America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        ("Kyiv", "Europe/Kiev"),
        ("Eastern Time", None),
        ("../../etc/passwd", None),
        ("", None),
        (7, None),
    ],
)
def test_a_time_zone_by_its_rails_name_is_understood(told: object, zone: str | None) -> None:
    assert zendesk_zone(told) == zone
