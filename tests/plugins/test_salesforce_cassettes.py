"""
The real SDK against recorded traffic, without any server.

The cassettes are recorded against the sandbox: `HUB_RECORD=1 pytest tests/plugins/test_salesforce_cassettes.py`.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import vcr

from hub.actions import Action, OrderUpdateShippingAddress, TicketCreate, TicketNote, TicketReply, TicketSetStatus
from hub.connector import Absent, Call, Found, Target
from hub.errors import Invalid, NotFound, Unauthorized
from hub.mapping import CompiledMapping, compile_mapping, locate
from hub.sandbox import World
from hub.transport import Transport
from hub_salesforce import hub_converters
from hub_salesforce.connector import SalesforceConnector
from hub_salesforce.sandbox import SalesforceSandbox
from hub_salesforce.sandbox.fill import one

CASSETTES = Path(__file__).parents[2] / "cassettes/salesforce"
RECORDING = bool(os.environ.get("HUB_RECORD"))
INSTANCE = SalesforceSandbox.instance
CASE, CONTACT, ORDER = one("Case", 4), one("Contact", 1), one("Order", 1)


def _scrubbed(request: Any) -> Any:
    parts = urlsplit(request.uri)
    request.uri = f"https://{INSTANCE}{parts.path}" + (f"?{parts.query}" if parts.query else "")
    request.headers = {k: v for k, v in request.headers.items() if k.lower() in ("content-type", "if-unmodified-since")}
    return request


def _plain(response: Any) -> Any:
    kept = ("content-type", "sforce-limit-info")
    response["headers"] = {k: v for k, v in response["headers"].items() if k.lower() in kept}
    return response


@contextlib.contextmanager
def taped(name: str, *, batch: int | None = None, **settings: str) -> Iterator[SalesforceConnector]:
    """Open the connector on a cassette: replayed, or recorded anew from a fresh sandbox."""
    path = CASSETTES / f"{name}.yaml"
    tape = vcr.VCR(
        match_on=["method", "path", "query"],
        record_mode="all" if RECORDING else "none",
        before_record_request=_scrubbed,
        before_record_response=_plain,
    )
    given = {"instance": INSTANCE, "session_id": SalesforceSandbox.session_id, **settings}
    with contextlib.ExitStack() as stack:
        url = "http://127.0.0.1:9"
        if RECORDING:
            path.unlink(missing_ok=True)
            sandbox = SalesforceSandbox(World(customers=6))
            sandbox.batch = batch
            url = stack.enter_context(sandbox).url
        cassette = stack.enter_context(tape.use_cassette(str(path)))
        config = SalesforceConnector.Config(**given)
        transport = stack.enter_context(Transport("sf", hosts=SalesforceConnector.hosts(config), base_url=url))
        yield SalesforceConnector(config, transport)
        assert RECORDING or cassette.all_played, "some of the recorded requests were not made"


@pytest.fixture(scope="module")
def mapping() -> CompiledMapping:
    return compile_mapping(locate(SalesforceConnector), converters=hub_converters())


def call(mapping: CompiledMapping, action: Action, table: str, remote_id: str) -> Call:
    kind = mapping.tables[table].kind
    target = Target("salesforce", table, table, kind, remote_id, f"{kind}-1")
    parts = {
        kind: mapping.write(table if mapping.tables[table].kind == kind else kind, changes)
        for kind, changes in action.changes().items()
    }
    return Call("run_1", "run_1.0", target, next(iter(parts.values())), parts, action.model_dump(by_alias=True))


def test_check_and_every_stream_replay(mapping: CompiledMapping) -> None:
    read: dict[str, int] = {}
    with taped("pull", batch=4) as connector:
        assert connector.check().live is False
        for stream in mapping.streams():
            for page in connector.pull_any(mapping.stream(stream), None):
                for name, table in mapping.map_page(stream, page).tables.items():
                    assert table.rejects == []
                    read[name] = read.get(name, 0) + len(table.rows)
    assert min(read.values()) > 0
    assert set(read) == set(mapping.tables)


def test_a_ticket_from_its_opening_to_its_closing_replays(mapping: CompiledMapping) -> None:
    create = TicketCreate(customer_ref=CONTACT, subject="A new question", body="How long does it take?")
    with taped("ticket") as connector:
        opened = call(mapping, create, "Contact", CONTACT)
        assert isinstance(connector.find_create(create, opened), Absent)
        made = connector.create(create, opened)
        assert isinstance(connector.find_create(create, opened), Found)
        case = made.effects[0].remote_id
        reply = TicketReply(ticket_ref=case, body="Two days.", set_status="pending")
        done = connector.reply(reply, call(mapping, reply, "Case", case))
        assert [effect.object for effect in done.effects] == ["CaseComment", "Case"]
        note = TicketNote(ticket_ref=case, body="Asked the warehouse.")
        (effect,) = connector.note(note, call(mapping, note, "Case", case)).effects
        assert effect.after is not None
        assert effect.after["IsPublished"] is False
        close = TicketSetStatus(ticket_ref=case, status="closed")
        (effect,) = connector.update(close, call(mapping, close, "Case", case)).effects
        assert (effect.before, effect.after) == ({"Status": "Waiting on Customer"}, {"Status": "Closed"})


def test_an_address_replays(mapping: CompiledMapping) -> None:
    address = {"line1": "Neue Str. 5", "city": "Berlin", "postal_code": "10117", "country_code": "DE"}
    action = OrderUpdateShippingAddress.model_validate({"order_ref": ORDER, "address": address})
    with taped("address") as connector:
        (effect,) = connector.update(action, call(mapping, action, "Order", ORDER)).effects
        assert effect.after is not None
        assert effect.after["ShippingCity"] == "Berlin"
        page = connector.fetch_any(mapping.stream("Order"), [ORDER])
    (row,) = mapping.map_page("Order", page).tables["Order"].rows
    assert json.loads(row.body)["shipping_address"]["country_code"] == "DE"


def test_errors_replay() -> None:
    with taped("errors") as connector:
        with pytest.raises(Invalid, match="INVALID_FIELD"):
            connector.client.query("SELECT Nope FROM Case", "query Case")
        with pytest.raises(NotFound, match="NOT_FOUND"):
            connector.client.get(f"sobjects/Case/{CASE[:14]}z", "read Case")
    with taped("unauthorized", session_id="00DHb000000000A!stolen") as connector:
        with pytest.raises(Unauthorized, match="INVALID_SESSION_ID"):
            connector.check()


def test_no_cassette_holds_a_secret_or_a_port() -> None:
    for path in CASSETTES.glob("*.yaml"):
        text = path.read_text("utf8").lower()
        for word in ("authorization", "bearer", "session.", "127.0.0.1", "localhost", "user-agent"):
            assert word not in text, f"{path.name} holds {word}"
