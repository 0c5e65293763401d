"""The room `perform` with systems that have no API: legacy verbs over SQL, acknowledgements, hand-overs."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hub import reads, sync
from hub.access import OPERATOR
from hub.config import ConnectionSettings, Settings, ledger_beside
from hub.connections import Connections
from hub.connector import (
    Absent,
    Call,
    CannotTell,
    Checked,
    Connector,
    ConnectorConfig,
    Effect,
    Found,
    Outcome,
    Page,
    act,
    find,
    pull,
)
from hub.errors import Conflict, Invalid, MappingError, NotSent
from hub.ledger import Ledger
from hub.mapping import Source, compile_mapping
from hub.perform import Neighbours, Performer, Request, Result
from hub.plugins import Plugins
from hub.policy import parse_policy
from hub.store import Store

MAPPING = """
[orders]
kind = "order"
key = "no"
[orders.fields]
number = "no"
[payments]
kind = "payment"
key = "no"
[payments.fields]
amount = { money = "amount", currency = { value = "EUR" }, unit = "major" }
status = { from = "state", values = { P = "succeeded" } }

[actions."order.update_shipping_address"]
insert = "requests"
set = { id = "run.key", order_no = "order.number", city = "address.city", region = "address.region" }
ack = { table = "requests", where = { id = "run.key" }, done = { state = "BOOKED" }, within = "1m" }

[actions."payment.refund"]
insert = "requests"
set = { id = "run.key", order_no = "payment.remote_id", amount = "amount.major", minor = "amount.minor" }
"""
ADDRESS = {"line1": "Neue Str. 5", "city": "Berlin", "postal_code": "10117", "country_code": "DE"}
ALLOW = parse_policy({"rule": [{"action": "payment.*", "verdict": "allow"}]}, "policy.toml")
COLUMNS = ("id", "order_no", "city", "region", "amount", "minor", "state")


class MainframeConfig(ConnectorConfig):
    file: Path
    does: str = "book"


class MainframeConnector(Connector):
    """Writes requests into a table; `does` says what goes wrong."""

    name = "mainframe"
    Config = MainframeConfig
    mapping = MAPPING

    def check(self) -> Checked:
        return Checked("mainframe")

    @pull("orders")
    def orders(self, stream, cursor):
        yield Page(records=[{"no": "1001"}, {"no": "1002"}])

    @pull("payments")
    def payments(self, stream, cursor):
        yield Page(records=[{"no": "77", "amount": "12.50", "state": "P"}, {"no": "78", "amount": "1", "state": "X"}])

    @act("*", idempotency="ack")
    def write(self, action, call: Call) -> Outcome:
        row, does = dict(call.verb.set), self.config.does
        if does == "refuse early":
            raise NotSent("mainframe: closed")
        call.sending({"method": "INSERT", "url": f"sql:{call.verb.insert}", "body": row})
        if does in ("refuse", "break before"):
            raise Conflict("mainframe: locked") if does == "refuse" else sqlite3.OperationalError("Ada Example")
        with closing(sqlite3.connect(self.config.file)) as database, database:
            names, holes = ", ".join(row), ", ".join("?" * len(row))
            database.execute(f"INSERT INTO requests ({names}) VALUES ({holes})", tuple(row.values()))
        if does == "break after":
            raise sqlite3.OperationalError("Ada Example")
        status = "unknown" if does == "hand over" else "succeeded"
        return Outcome([Effect("requests", row["id"], "create", after=row)], status=status)

    @find("*")
    def look(self, action, call: Call):
        with closing(sqlite3.connect(self.config.file)) as database:
            row = database.execute("SELECT state FROM requests WHERE id = ?", (call.verb.set["id"],)).fetchone()
        if row is None:
            return Absent()
        if self.config.does == "hand over" and row[0] != "BOOKED":
            return CannotTell("not acknowledged yet")
        return Found(Outcome([Effect("requests", call.verb.set["id"], "create")]))


@dataclass
class Bench:
    file: Path
    performer: Performer
    connections: Connections

    def rows(self) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.file)) as database:
            found = database.execute(f"SELECT {', '.join(COLUMNS)} FROM requests").fetchall()
        return [dict(zip(COLUMNS, row, strict=True)) for row in found]

    def address(self, order: str = "1001", *, key: str = "k1", mode: Any = "execute") -> Result:
        given = {"order_ref": f"mainframe/orders/{order}", "address": ADDRESS}
        return self.performer.run(Request("order.update_shipping_address", given, mode=mode, key=key), OPERATOR)

    def refund(self, payment: str = "77", *, mode: Any = "execute", **more: Any) -> Result:
        given = {"payment_ref": f"mainframe/payments/{payment}", "reason": "goodwill", **more}
        return self.performer.run(Request("payment.refund", given, mode=mode, key="k1"), OPERATOR)

    def does(self, what: str) -> None:
        connector = self.connections.open("mainframe").connector
        connector.config = MainframeConfig(file=self.file, does=what)


@pytest.fixture
def bench(tmp_path, database_url):
    file = tmp_path / "mainframe.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(f"CREATE TABLE requests ({', '.join(COLUMNS)})")
    table = ConnectionSettings(connector="mainframe", options={"file": str(file)})
    plugins = Plugins(connectors={"mainframe": MainframeConnector})
    connections = Connections(Settings(connections={"mainframe": table}, directory=tmp_path), plugins)
    store = Store.open(database_url)
    ledger = Ledger.open(ledger_beside(database_url), audit_key=tmp_path / "audit.key")
    near = Neighbours(reads.resolve_target, reads.find_customer, reads.get, sync.fetch)
    performer = Performer(store, ledger, connections, ALLOW, plugins, neighbours=near)
    sync.sync_connection(store, connections.open("mainframe"))
    yield Bench(file, performer, connections)
    connections.close()
    store.close()
    ledger.close()


def test_a_legacy_verb_is_filled_from_run_order_and_input(bench):
    result = bench.address()
    assert (result.status, result.error) == ("succeeded", None)
    (row,) = bench.rows()
    assert row["id"] == f"hub-{result.run_id}"
    assert (row["order_no"], row["city"], row["region"]) == ("1001", "Berlin", None)


def test_money_reaches_a_legacy_verb_in_major_and_minor_units(bench):
    assert bench.refund().status == "succeeded"
    assert (bench.rows()[0]["amount"], bench.rows()[0]["minor"]) == ("12.50", 1250)


def test_a_partial_refund_through_a_legacy_verb(bench):
    assert bench.refund(amount="0.01 EUR").money.amount == 1
    assert bench.rows()[0]["amount"] == "0.01"
    with pytest.raises(Invalid):
        bench.refund(amount="12.51 EUR", payment="77", mode="preview")


def test_a_payment_nobody_knows_to_be_taken_is_not_refunded(bench):
    with pytest.raises(Conflict) as caught:
        bench.refund("78")
    assert caught.value.error_code == "refundable_unknown"


def test_a_preview_stops_before_the_row_is_written(bench):
    result = bench.address(mode="preview")
    assert bench.rows() == []
    (seen,) = result.preview.requests
    assert (seen.request["method"], seen.request["url"]) == ("INSERT", "sql:requests")
    assert seen.request["body"]["city"] == "Berlin"


def test_a_preview_tells_what_the_connector_refuses(bench):
    bench.does("refuse early")
    result = bench.address(mode="preview")
    assert (result.status, result.error["code"]) == ("previewed", "not_sent")
    assert result.preview.requests[0].request is None
    assert result.preview.requests[0].note == "mainframe: closed"


def test_the_same_key_writes_one_row(bench):
    assert [bench.address().replayed, bench.address().replayed] == [False, True]
    assert len(bench.rows()) == 1


@pytest.mark.parametrize(("does", "code"), [("refuse early", "not_sent"), ("refuse", "conflict")])
def test_what_the_connector_says_did_not_happen_is_failed(bench, does, code):
    bench.does(does)
    result = bench.address()
    assert (result.status, result.error["code"]) == ("failed", code)
    assert bench.rows() == []


def test_a_write_that_broke_off_is_looked_up_and_found(bench):
    bench.does("break after")
    result = bench.address()
    assert result.status == "succeeded"
    assert len(bench.rows()) == 1


def test_a_write_that_broke_off_before_is_tried_once_more_and_then_failed(bench):
    bench.does("break before")
    bench.performer.in_flight = timedelta(0)
    result = bench.address()
    assert (result.status, result.error["retryable"]) == ("failed", True)
    assert "Ada" not in str(result.as_dict())
    assert bench.rows() == []


def test_a_hand_over_without_acknowledgement_is_unknown_until_it_is_booked(bench):
    bench.does("hand over")
    result = bench.address()
    assert (result.status, len(bench.rows())) == ("unknown", 1)
    assert [effect.object for effect in result.effects] == ["requests"]
    assert bench.address().status == "unknown"
    assert len(bench.rows()) == 1
    with closing(sqlite3.connect(bench.file)) as database, database:
        database.execute("UPDATE requests SET state = 'BOOKED'")
    settled = bench.address()
    assert (settled.status, settled.run_id, settled.error) == ("succeeded", result.run_id, None)


def test_a_verb_that_cannot_be_filled_fails_before_the_journal(bench):
    mapping = bench.connections.open("mainframe").mapping
    connections = bench.connections.open("mainframe")
    text = MAPPING.replace('city = "address.city"', 'city = "order.total.amount"').replace(
        'where = { id = "run.key" }', 'where = { id = "order.po_number" }'
    )
    connections.mapping = compile_mapping(Source(text, "edited.toml"))
    with pytest.raises(MappingError, match=r"edited\.toml"):
        bench.address()
    connections.mapping = mapping
    assert bench.rows() == []
    assert bench.performer.ledger.runs() == []
    assert bench.address().status == "succeeded"
