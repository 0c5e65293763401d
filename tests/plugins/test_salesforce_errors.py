"""What Salesforce's errors mean to the hub, and that none of them carries data out."""

import pytest
import requests

from hub.errors import (
    Conflict,
    HubError,
    Invalid,
    NotFound,
    NotSent,
    RateLimited,
    Temporary,
    Unauthorized,
    Unknown,
)
from hub.sandbox import World
from hub.testing import case_for
from hub.transport import Patience, Transport
from hub_salesforce.client import Client
from hub_salesforce.config import SalesforceConfig
from hub_salesforce.connector import SalesforceConnector
from hub_salesforce.errors import judged, missing_name, translate
from hub_salesforce.sandbox import SalesforceSandbox


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, "INVALID_SESSION_ID", Unauthorized),
        (403, "REQUEST_LIMIT_EXCEEDED", RateLimited),
        (403, "API_DISABLED_FOR_ORG", Unauthorized),
        (403, "SOMETHING_ELSE", Unauthorized),
        (400, "INSUFFICIENT_ACCESS_OR_READONLY", Unauthorized),
        (400, "MALFORMED_QUERY", Invalid),
        (400, "REQUIRED_FIELD_MISSING", Invalid),
        (400, "FIELD_CUSTOM_VALIDATION_EXCEPTION", Invalid),
        (400, "STRING_TOO_LONG", Invalid),
        (400, "DUPLICATES_DETECTED", Invalid),
        (400, "UNABLE_TO_LOCK_ROW", Temporary),
        (400, "QUERY_TIMEOUT", Temporary),
        (404, "NOT_FOUND", NotFound),
        (404, "ENTITY_IS_DELETED", NotFound),
        (412, "PRECONDITION_FAILED", Conflict),
        (300, None, Conflict),
        (429, None, RateLimited),
        (503, "SERVER_UNAVAILABLE", Temporary),
    ],
)
def test_each_error_says_what_to_do_next_and_shows_no_data(
    status: int, code: str | None, error: type[HubError]
) -> None:
    body = [{"errorCode": code, "message": "value not of required type: ada@mail.example.com", "fields": ["Email"]}]
    made = judged(status, body if code else ["/services/data/v61.0/sobjects/Contact/003x"], "update Contact")
    assert type(made) is error
    assert "ada" not in made.message
    assert "update Contact" in made.message


def test_an_unnamed_error_of_a_read_is_temporary_and_of_a_write_unknown() -> None:
    assert type(judged(502, "<html>", "query Case")) is Temporary
    assert type(judged(502, "<html>", "update Case", write=True)) is Unknown
    assert type(judged(400, "odd", "query Case")) is Invalid


def test_the_daily_limit_asks_for_more_patience_than_a_busy_moment() -> None:
    def wait(message: str) -> float:
        body = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": message}]
        return judged(403, body, "query Case").retry_after_s or 0

    assert wait("TotalRequests Limit exceeded.") > wait("ConcurrentPerOrgLongTxn Limit exceeded.") > 0


def test_the_missing_name_is_read_out_of_the_vendors_message() -> None:
    said = [
        {"errorCode": "INVALID_FIELD", "message": "ERROR at Row:1:Column:8\nNo such column 'Tier__c' on entity 'Case'."}
    ]
    assert missing_name(said) == "Tier__c"
    assert (
        missing_name([{"message": "Didn't understand relationship 'Lines__r' in FROM part of query call."}])
        == "Lines__r"
    )
    assert missing_name("odd") is None


def test_what_the_sdk_trips_over_is_temporary() -> None:
    assert type(translate(KeyError("x"), "query Case")) is Temporary
    kept = Invalid("as it is")
    assert translate(kept, "query Case") is kept


def test_a_server_that_is_not_there_was_sent_nothing() -> None:
    config = SalesforceConfig(instance="acme.my.salesforce.com", session_id="x")
    patience = Patience(tries=1, timeout_s=(0.5, 0.5))
    hosts = SalesforceConnector.hosts(config)
    with Transport("sf", hosts=hosts, base_url="http://127.0.0.1:9", patience=patience) as transport:
        client = Client(config, transport)
        with pytest.raises(NotSent):
            client.get("limits", "limits")
        with pytest.raises(NotSent):
            client.write("POST", "sobjects/Contact", {"LastName": "Doe"}, "create Contact")


def test_a_read_whose_connection_breaks_is_temporary_and_a_write_unknown() -> None:
    with case_for(SalesforceConnector, world=World(customers=10)) as case:
        client = case.connector.client  # type: ignore[attr-defined]
        case.sandbox.fault("GET ", "drop_before", 20)
        with pytest.raises(Temporary):
            client.get("limits", "limits")
        case.sandbox.faults.clear()
        case.sandbox.fault("POST ", "drop_after")
        with pytest.raises(Unknown):
            client.write("POST", "sobjects/Contact", {"LastName": "Doe"}, "create Contact")
        assert len(case.sandbox.effects()) == 1


def test_a_message_of_the_vendor_does_not_get_into_ours() -> None:
    with SalesforceSandbox(World(customers=10)) as sandbox:
        config = SalesforceConfig(instance=sandbox.instance, session_id=sandbox.session_id)
        with Transport("sf", hosts=SalesforceConnector.hosts(config), base_url=sandbox.url) as transport:
            with pytest.raises(Invalid) as caught:
                Client(config, transport).write("POST", "sobjects/Contact", {"LastName": "y" * 300}, "create Contact")
    assert caught.value.message == "Salesforce: create Contact: STRING_TOO_LONG (LastName)"
    assert caught.value.field_path == "LastName"
    assert isinstance(caught.value.__cause__, Exception)
    assert not isinstance(caught.value.__cause__, requests.RequestException)
