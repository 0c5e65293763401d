"""
The real SDK against recorded traffic, without any server.

The cassettes are recorded against the sandbox: `HUB_RECORD=1 pytest tests/plugins/test_zendesk_cassettes.py`.
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

from hub.actions import CustomerUpdate, TicketCreate, TicketNote, TicketReply, TicketSetStatus
from hub.connector import Call, Found, Outcome, Target
from hub.mapping import CompiledMapping, compile_mapping, locate
from hub.sandbox import World
from hub.transport import Transport
from hub_zendesk import hub_converters
from hub_zendesk.connector import ZendeskConnector
from hub_zendesk.sandbox import ZendeskSandbox, shapes

CASSETTES = Path(__file__).parents[2] / "cassettes/zendesk"
RECORDING = bool(os.environ.get("HUB_RECORD"))
SETTINGS = {"subdomain": "acme", "email": "ops@acme.example", "token": "sandbox-token"}


def _scrubbed(request: Any) -> Any:
    parts = urlsplit(request.uri)
    request.uri = f"https://acme.zendesk.com{parts.path}" + (f"?{parts.query}" if parts.query else "")
    request.headers = {k: v for k, v in request.headers.items() if k.lower() in ("content-type", "idempotency-key")}
    return request


def _plain(response: Any) -> Any:
    kept = ("content-type", "retry-after", "x-idempotency-lookup")
    response["headers"] = {k: v for k, v in response["headers"].items() if k.lower() in kept}
    return response


@contextlib.contextmanager
def taped(case: str) -> Iterator[ZendeskConnector]:
    """Open the connector on a cassette: replayed, or recorded anew from a fresh sandbox."""
    path = CASSETTES / f"{case}.yaml"
    tape = vcr.VCR(
        match_on=["method", "path", "query"],
        record_mode="all" if RECORDING else "none",
        before_record_request=_scrubbed,
        before_record_response=_plain,
    )
    with contextlib.ExitStack() as stack:
        url = "http://127.0.0.1:9"
        if RECORDING:
            path.unlink(missing_ok=True)
            url = stack.enter_context(ZendeskSandbox(World(customers=4))).url
        cassette = stack.enter_context(tape.use_cassette(str(path)))
        config = ZendeskConnector.Config(**SETTINGS)
        transport = stack.enter_context(Transport("zendesk", hosts=ZendeskConnector.hosts(config), base_url=url))
        yield ZendeskConnector(config, transport)
        assert RECORDING or cassette.all_played, "some of the recorded requests were not made"


@pytest.fixture(scope="module")
def mapping() -> CompiledMapping:
    return compile_mapping(locate(ZendeskConnector), converters=hub_converters())


def target(kind: str, stream: str, one: int) -> Target:
    return Target("zendesk", stream, stream, kind, str(one), f"{kind}-1")


def call(mapping: CompiledMapping, action: Any, on: Target, key: str) -> Call:
    parts = {kind: mapping.write(kind, changes) for kind, changes in action.changes().items()}
    return Call("run_1", key, on, next(iter(parts.values())), parts, action.model_dump(by_alias=True))


def test_check_and_every_stream_replay(mapping: CompiledMapping) -> None:
    read = {}
    with taped("pull") as connector:
        assert connector.check().account == "acme"
        for stream in mapping.streams():
            method = connector.method("pull", stream)
            assert method is not None
            pages = [mapping.map_page(stream, page) for page in method(mapping.stream(stream), None)]
            read[stream] = sum(page.read for page in pages)
            assert not [r for page in pages for table in page.tables.values() for r in table.rejects]
    assert all(read.values()), read


def test_actions_replay(mapping: CompiledMapping) -> None:
    ticket = target("ticket", "tickets", shapes.ticket_id(1))
    person = target("customer", "users", shapes.user_id(1))
    plan: list[tuple[Any, Target]] = [
        (TicketReply(ticket_ref="x/tickets/1", body="It is on its way.", set_status="pending"), ticket),
        (TicketNote(ticket_ref="x/tickets/1", body="Asked the warehouse."), ticket),
        (TicketSetStatus(ticket_ref="x/tickets/1", status="solved"), ticket),
        (TicketCreate(customer_ref="x/users/1", subject="Another question", body="How long?"), person),
        (CustomerUpdate.model_validate({"customer_ref": "x/users/1", "changes": {"language": "fr"}}), person),
    ]
    with taped("actions") as connector:
        for n, (action, on) in enumerate(plan):
            method = connector.method("act", action.name)
            assert method is not None
            outcome = method(action, call(mapping, action, on, f"hub-run-{n}"))
            assert isinstance(outcome, Outcome)
            assert outcome.effects, action.name
        finder = connector.method("find", "ticket.note")
        assert finder is not None
        assert isinstance(finder(plan[1][0], call(mapping, plan[1][0], ticket, "hub-run-1")), Found)


@pytest.mark.skipif(RECORDING, reason="the cassettes are just being recorded")
def test_cassettes_hold_no_credentials_and_no_address_of_this_machine() -> None:
    for path in CASSETTES.glob("*.yaml"):
        text = path.read_text("utf8")
        assert "uthorization" not in text
        assert "sandbox-token" not in text
        assert "127.0.0.1" not in text
        assert json.dumps(SETTINGS["email"]) not in text
