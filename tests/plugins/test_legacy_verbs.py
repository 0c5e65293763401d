"""The legacy connector's verbs: each happens once, and only the system says what became of it."""

import csv
import io
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hub import (
    Absent,
    Ack,
    Call,
    CannotTell,
    Conflict,
    Found,
    Invalid,
    MappingError,
    NotFound,
    NotSent,
    OrderUpdateShippingAddress,
    Outcome,
    Refused,
    Target,
    Transport,
    Unknown,
    Unsupported,
    Verb,
)
from hub.access import OPERATOR
from hub.app import App
from hub.mapping import Source, compile_mapping
from hub.perform import Request
from hub.sandbox import Order, World
from hub.sync import sync_connection
from hub.transport import Captured, announce, capturing, watch
from hub_legacy.connector import LegacyConnector
from hub_legacy.options import LegacyConfig
from hub_legacy.sandbox import LegacySandbox

ADDRESS = {"line1": "Neue Str. 5", "city": "Berlin", "postal_code": "10117", "country_code": "DE"}
ACTION = OrderUpdateShippingAddress.model_validate({"order_ref": "ord_1", "address": ADDRESS})
DEFAULT = Path(__file__).parents[2] / "mappings" / "legacy.toml"
FILE_ACK = Ack("acks/*.csv", {"request_id": "k1"}, {"status": "BOOKED"}, {"status": "REJECTED"}, 600)


class Site:
    """A running sandbox with the connector on it."""

    def __init__(self, sandbox: LegacySandbox, **config: Any) -> None:
        self.sandbox = sandbox
        made = {k: v for k, v in sandbox.settings().items() if k != "connector"}
        self.transport = Transport("erp")
        self.connector = LegacyConnector(
            LegacyConfig.model_validate({**made, "ack_wait_s": 3, **config}), self.transport
        )
        self.mapping = compile_mapping(
            Source(DEFAULT.read_text("utf-8"), "legacy.toml"), table_options=LegacyConnector.table_options
        )

    def address(self, order: Order, key: str = "k1") -> Call:
        context = {"order": {"number": order.number}, "address": ADDRESS, "run": {"id": "run_1", "key": key}}
        target = Target("erp", "orders", "orders", "order", str(700_000 + order.n), "ord_1")
        return Call("run_1", key, target, verb=self.mapping.bind(ACTION.name, context), sending=announce)

    def do(self, call: Call) -> Outcome:
        with watch():
            return self.connector.do(ACTION, call)

    def find(self, call: Call) -> Found | Absent | CannotTell:
        return self.connector.look_up(ACTION, call)

    def order(self, *, shipped: bool = False) -> Order:
        status = "completed" if shipped else "open"
        return next(o for o in self.sandbox.world.orders if o.status == status and o.shipped is shipped)

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with closing(self.sandbox.connect()) as database:
            return [dict(row) for row in database.execute(query, values)]

    def run(self, script: str) -> None:
        with closing(self.sandbox.connect()) as database:
            database.executescript(script)

    def until(self, what: str, count: int = 1) -> None:
        """Wait for the mainframe to have booked something."""
        for _ in range(200):
            if len(self.sandbox.effects(what)) >= count:
                return
            time.sleep(0.02)
        raise AssertionError(f"the mainframe never booked {what}")


@pytest.fixture
def site() -> Iterator[Site]:
    with LegacySandbox(World(customers=25)) as sandbox:
        made = Site(sandbox)
        yield made
        made.connector.close()
        made.transport.close()


def call(verb: Verb, key: str = "k1") -> Call:
    return Call("run_1", key, verb=verb, sending=announce)


def test_an_address_is_booked_once_however_often_it_is_asked_for(site: Site) -> None:
    order = site.order()
    asked = site.address(order)
    first, second = site.do(asked), site.do(asked)
    assert first == second
    assert (first.status, list(first.touched)) == ("succeeded", [("orders", str(700_000 + order.n))])
    assert [(e.object, e.remote_id, e.op) for e in first.effects] == [("change_requests", "k1", "create")]
    assert len(site.sandbox.effects(f"address {order.number}")) == 1
    (row,) = site.rows("SELECT * FROM orders WHERE order_no = ?", order.number)
    assert (row["ship_street"], row["ship_name"]) == ("Neue Str. 5", order.person.name)
    assert isinstance(site.find(asked), Found)


def test_the_changed_order_comes_with_the_next_increment(site: Site) -> None:
    what = site.mapping.stream("orders")
    cursor = [page.cursor for page in site.connector.pull_any(what, None) if page.cursor][-1]
    order = site.order()
    site.do(site.address(order))
    (page,) = site.connector.pull_any(what, cursor)
    (row,) = site.mapping.map_page("orders", page).tables["orders"].rows
    assert row.remote_id == str(700_000 + order.n)
    assert b"Neue Str. 5" in row.body


def test_threads_with_one_request_insert_one_row(site: Site) -> None:
    asked = site.address(site.order())
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: site.connector.do(ACTION, asked).status, range(8)))
    assert statuses == ["succeeded"] * 8
    assert len(site.sandbox.effects("address")) == 1
    assert len(site.rows("SELECT * FROM change_requests")) == 1


def test_a_refusal_of_the_system_fails_with_its_own_code(site: Site) -> None:
    asked = site.address(site.order(shipped=True))
    with pytest.raises(Refused, match="the system refused the request: ALREADY_SHIPPED") as caught:
        site.do(asked)
    assert (caught.value.error_code, caught.value.reason) == ("legacy_refused", "ALREADY_SHIPPED")
    assert isinstance(site.find(asked), Absent)
    with pytest.raises(Refused):
        site.do(asked)
    assert len(site.rows("SELECT * FROM change_requests")) == 1
    assert site.sandbox.effects() == []


def test_a_slow_system_makes_the_answer_unknown_until_it_speaks(site: Site) -> None:
    site.sandbox.fault("INSERT /change_requests", "slow:0.6s")
    patient = Site(site.sandbox, ack_wait_s=0.1)
    asked = site.address(site.order())
    assert patient.do(asked).status == "unknown"
    assert isinstance(patient.find(asked), CannotTell)
    site.until("address")
    assert site.do(asked).status == "succeeded"
    assert isinstance(site.find(asked), Found)
    patient.connector.close()
    patient.transport.close()


@pytest.mark.parametrize(("fault", "booked"), [("drop_after", 1), ("drop_before", 0)])
def test_silence_is_never_called_success_nor_absence(site: Site, fault: str, booked: int) -> None:
    site.sandbox.fault("INSERT /change_requests", fault)
    quick = Site(site.sandbox, ack_wait_s=0.3)
    asked = site.address(site.order())
    assert quick.do(asked).status == "unknown"
    assert quick.do(asked).status == "unknown", "asked again, nothing more is inserted"
    assert isinstance(quick.find(asked), CannotTell)
    assert len(site.sandbox.effects("address")) == booked
    quick.connector.close()
    quick.transport.close()


def test_a_request_that_was_never_written_is_absent(site: Site) -> None:
    assert isinstance(site.find(site.address(site.order())), Absent)


def test_a_request_gone_from_a_queue_is_not_called_absent(site: Site) -> None:
    ack = Ack("refund_requests", {"request_id": "k1"}, {"status": "BOOKED"}, {}, 60)
    verb = Verb(insert="change_requests", set={"request_id": "k1", "order_no": "x"}, ack=ack)
    assert isinstance(site.find(call(verb)), CannotTell)


def test_a_preview_shows_the_row_and_writes_nothing(site: Site) -> None:
    with capturing(), pytest.raises(Captured) as caught:
        site.connector.do(ACTION, site.address(site.order()))
    request = caught.value.request
    assert (request["method"], request["url"]) == ("INSERT", "sql:change_requests")
    assert request["body"]["ship_city"] == "Berlin"
    with capturing(), pytest.raises(Captured):
        site.do(call(Verb(update="orders", set={"note": "x"}, where={"order_no": site.order().number})))
    with capturing(), pytest.raises(Captured):
        site.do(call(Verb(file="out/a-k1.csv", set={"request_id": "k1"})))
    assert site.rows("SELECT * FROM change_requests") == []
    assert site.rows("SELECT * FROM orders WHERE note IS NOT NULL") == []
    assert list((site.sandbox.folder / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"request_id": "k1", "nowhere": 1}, Invalid, 'set: the table change_requests has no column "nowhere"'),
        ({"request_id": "k1", "order_no": "x" * 21}, Invalid, "change_requests.order_no: holds 20 characters"),
        ({"order_no": "SO-1"}, MappingError, "needs a column that holds the run"),
        ({"request_id": "k1", "order_no": None}, Conflict, "a constraint of the database refused it"),
    ],
)
def test_a_request_that_cannot_be_written_is_told_before_or_undone(
    site: Site, values: Mapping[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        site.do(call(Verb(insert="change_requests", set=values)))
    assert site.rows("SELECT * FROM change_requests") == []


def test_values_are_never_part_of_a_statement(site: Site) -> None:
    name = "'); DROP TABLE orders; --"
    outcome = site.do(
        call(
            Verb(insert="refund_requests", set={"request_id": "k1", "order_no": "SO-1", "amount": "0", "reason": name})
        )
    )
    assert outcome.status == "succeeded"
    assert site.rows("SELECT reason FROM refund_requests") == [{"reason": name}]
    assert site.rows("SELECT count(*) AS n FROM orders")[0]["n"] == len(site.sandbox.world.orders)


def test_a_locked_database_means_that_nothing_was_sent(site: Site) -> None:
    asked = site.address(site.order())
    engine = site.connector.database("test").engine()
    from sqlalchemy import event

    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout = 50"))
    with site.sandbox.lock, closing(site.sandbox.connect()) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotSent, match="nothing was written"):
            site.do(asked)
        other.execute("ROLLBACK")
    assert site.rows("SELECT * FROM change_requests") == []


def test_an_update_sets_one_row_and_says_what_it_was(site: Site) -> None:
    site.run("UPDATE orders SET gross_total = 10, note = 'old' WHERE order_no = 'SO-100001'")
    verb = Verb(
        update="orders",
        set={"note": "new", "gross_total": "10.00", "order_date": "2026-01-02T03:04:05+01:00"},
        where={"order_no": "SO-100001"},
    )
    (effect,) = site.do(call(verb)).effects
    assert (effect.op, effect.after) == ("update", {"note": "new", "order_date": "2026-01-02 02:04:05"})
    assert effect.before is not None
    assert effect.before["note"] == "old"
    assert isinstance(site.find(call(verb)), Found)
    assert list(site.do(call(verb)).effects) == [], "done twice is done once"
    other = Verb(update="orders", set={"note": "newer"}, where={"order_no": "SO-100001"})
    assert isinstance(site.find(call(other)), Absent)


def test_an_update_that_means_no_row_or_several_changes_none(site: Site) -> None:
    with pytest.raises(NotFound, match="orders has no row with that order_no"):
        site.do(call(Verb(update="orders", set={"note": "x"}, where={"order_no": "SO-0"})))
    with pytest.raises(Conflict, match="several rows of orders have that currency"):
        site.do(call(Verb(update="orders", set={"note": "x"}, where={"currency": "EUR"})))
    with pytest.raises(Invalid, match="`where` names no column"):
        site.do(call(Verb(update="orders", set={"note": "x"})))
    assert site.rows("SELECT * FROM orders WHERE note IS NOT NULL") == []


def refund(site: Site, key: str = "k1", *, ack: bool = True, amount: str = "1.00") -> Call:
    values = {"request_id": key, "order_no": "SO-100001", "amount": amount}
    named = Ack(FILE_ACK.table, {"request_id": key}, FILE_ACK.done, FILE_ACK.failed, 600)
    return call(Verb(file=f"out/refund-{key}.csv", set=values, ack=named if ack else None), key)


def test_a_file_is_handed_over_once_and_acknowledged_by_a_file(site: Site) -> None:
    asked = refund(site)
    outcome = site.do(asked)
    assert outcome.status == "succeeded"
    assert [(e.object, e.remote_id) for e in outcome.effects] == [("file", "out/refund-k1.csv")]
    assert site.do(asked).status == "succeeded", "a repeat finds the receipt, though the file was taken"
    assert not (site.sandbox.folder / "out" / "refund-k1.csv").exists()
    assert len(site.sandbox.effects("refund SO-100001")) == 1
    assert isinstance(site.find(asked), Found)
    with pytest.raises(Refused, match="AMOUNT_TOO_HIGH"):
        site.do(refund(site, "k2", amount="9999999.00"))


def test_without_an_acknowledgement_a_file_is_never_called_done(site: Site) -> None:
    asked = refund(site, ack=False)
    assert isinstance(site.find(asked), Absent), "neither file nor receipt: it was never written"
    assert site.do(asked).status == "unknown"
    site.until("refund")
    assert isinstance(site.find(asked), CannotTell)
    assert site.do(asked).status == "unknown"
    assert len(site.sandbox.effects("refund")) == 1


def test_a_file_holds_a_header_a_row_and_nothing_half(tmp_path: Path) -> None:
    transport = Transport("erp")
    config = {"folder": tmp_path, "encoding": "latin-1", "delimiter": ";", "settle_s": 0}
    connector = LegacyConnector(LegacyConfig.model_validate(config), transport)
    verb = Verb(file="out/a-run_1.csv", set={"name": 'Jörg "Jo"; Ås', "n": 1, "none": None, "address": {"a": [1]}})
    connector.do(ACTION, call(verb))
    text = (tmp_path / "out" / "a-run_1.csv").read_bytes().decode("latin-1")
    assert list(csv.reader(io.StringIO(text), delimiter=";")) == [
        ["name", "n", "none", "address"], ['Jörg "Jo"; Ås', "1", "", '{"a":[1]}']
    ]  # fmt: skip
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a-run_1.csv"]
    connector.do(ACTION, call(Verb(file="out/a-run_1.ndjson", set={"n": 1})))
    assert (tmp_path / "out" / "a-run_1.ndjson").read_bytes() == b'{"n":1}\n'
    transport.close()


@pytest.mark.parametrize(
    ("verb", "error", "message"),
    [
        (Verb(file="../run_1.csv", set={"a": 1}), Invalid, "file inside the folder"),
        (Verb(file="/tmp/run_1.csv", set={"a": 1}), Invalid, "file inside the folder"),
        (Verb(file=".deskhub/run_1.csv", set={"a": 1}), Invalid, "file inside the folder"),
        (Verb(file="out/request.csv", set={"a": 1}), MappingError, "must hold run.id or run.key"),
        (Verb(file="out/run_1.csv", set={"name": "日本"}), Invalid, "name: has a character that cp1252 lacks"),
    ],
)
def test_a_file_that_cannot_be_is_refused(tmp_path: Path, verb: Verb, error: type[Exception], message: str) -> None:
    transport = Transport("erp")
    connector = LegacyConnector(LegacyConfig.model_validate({"folder": tmp_path, "encoding": "cp1252"}), transport)
    with pytest.raises(error, match=message):
        connector.do(ACTION, call(verb))
    assert list(tmp_path.iterdir()) == []
    transport.close()


def test_a_name_used_for_another_request_is_a_conflict(tmp_path: Path) -> None:
    transport = Transport("erp")
    connector = LegacyConnector(LegacyConfig.model_validate({"folder": tmp_path}), transport)
    connector.do(ACTION, call(Verb(file="out/day.csv", set={"id": "k1"})))
    with pytest.raises(Conflict, match="handed over with another content"):
        connector.do(ACTION, call(Verb(file="out/day.csv", set={"id": "k2"}), "k2"))
    transport.close()


def test_a_folder_that_cannot_be_written_means_that_nothing_was_sent(tmp_path: Path) -> None:
    transport = Transport("erp")
    connector = LegacyConnector(LegacyConfig.model_validate({"folder": tmp_path}), transport)
    (tmp_path / "out").write_text("a file where a folder should be")
    with pytest.raises(NotSent, match="nothing was handed over"):
        connector.do(ACTION, call(Verb(file="out/run_1.csv", set={"a": 1})))
    transport.close()


def test_an_acknowledgement_that_cannot_be_read_leaves_the_answer_unknown(site: Site) -> None:
    (site.sandbox.folder / "acks" / "broken.csv").write_bytes(b"request_id,status\nk9,\xff\n")
    site.sandbox.fault("FILE /out", "drop_after")
    with pytest.raises(Unknown, match="the acknowledgement cannot be read"):
        site.do(refund(site))
    assert (site.sandbox.folder / ".deskhub" / "out__refund-k1.csv").exists()


def test_an_acknowledgement_that_contradicts_itself_is_not_believed(site: Site) -> None:
    (site.sandbox.folder / "acks" / "both.csv").write_text("request_id,status\nk1,BOOKED\nk1,REJECTED\n")
    with pytest.raises(Unknown, match="both done and failed"):
        site.do(refund(site))


def test_an_acknowledgement_by_names_that_are_not_there_stops_before_the_write(site: Site) -> None:
    ack = Ack("change_requests", {"request": "k1"}, {"status": "BOOKED"}, {}, 60)
    with pytest.raises(Invalid, match='ack: the table change_requests has no column "request"'):
        site.do(call(Verb(insert="change_requests", set={"request_id": "k1", "order_no": "x"}, ack=ack)))
    assert site.rows("SELECT * FROM change_requests") == []


def test_an_action_without_a_verb_is_unsupported(site: Site) -> None:
    with pytest.raises(Unsupported, match=r'no \[actions."order.update_shipping_address"\]'):
        site.connector.do(ACTION, Call("run_1", "k1"))


def test_reset_gives_the_world_back_and_empties_the_ledger(site: Site) -> None:
    order = site.order()
    before = site.rows("SELECT * FROM orders ORDER BY order_id")
    site.do(site.address(order))
    site.do(refund(site, "k5"))
    site.sandbox.reset()
    assert site.rows("SELECT * FROM orders ORDER BY order_id") == before
    assert site.rows("SELECT * FROM change_requests") == []
    assert (site.sandbox.ledger, list((site.sandbox.folder / "acks").iterdir())) == ([], [])
    assert site.do(site.address(order)).status == "succeeded", "the same key is new to a new world"


def test_a_rejecting_mainframe_books_nothing(site: Site) -> None:
    site.sandbox.fault("INSERT /change_requests", "status:500")
    with pytest.raises(Refused, match="SYSTEM_ERROR"):
        site.do(site.address(site.order()))
    assert site.sandbox.effects() == []
    assert site.sandbox.ledger[0].status == 500


def test_the_admin_endpoint_shows_each_booking(site: Site) -> None:
    import requests

    site.do(site.address(site.order()))
    (entry,) = requests.get(f"{site.sandbox.url}/_sandbox/ledger", timeout=5).json()
    assert (entry["method"], entry["path"], entry["key"]) == ("INSERT", "/change_requests", "k1")
    assert entry["effect"]["zip"] == "10117"


def test_stopping_leaves_nothing_behind() -> None:
    sandbox = LegacySandbox(World(customers=2))
    with sandbox:
        assert sqlite3.connect(sandbox.database).execute("SELECT count(*) FROM customers").fetchone()
    assert not sandbox.directory.exists()
    assert not any(thread.name == "mainframe" and thread.is_alive() for thread in threading.enumerate())


def test_a_receipt_alone_is_left_to_a_person(site: Site) -> None:
    asked = refund(site, ack=False)
    site.do(asked)
    site.until("refund")
    (site.sandbox.folder / "taken" / "refund-k1.csv").unlink()  # what is left is the receipt alone
    assert isinstance(site.find(asked), CannotTell)
    assert site.do(asked).status == "unknown"
    assert list((site.sandbox.folder / "out").iterdir()) == [], "nothing is handed over a second time"


def test_a_crash_just_before_the_file_appeared_is_made_up_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = refund(site)

    def killed(*_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hub_legacy.handover._appear", killed)
    with pytest.raises(KeyboardInterrupt):
        site.do(asked)
    monkeypatch.undo()
    assert (site.sandbox.folder / ".deskhub" / "out__refund-k1.csv").exists(), "receipt and hidden file are there"
    assert site.sandbox.effects("refund") == [], "the system takes no hidden file"
    assert isinstance(site.find(asked), Absent)
    assert site.do(asked).status == "succeeded"
    assert len(site.sandbox.effects("refund SO-100001")) == 1


def test_an_answer_that_comes_late_settles_the_run(tmp_path: Path, database_url: str) -> None:
    """The whole way through the hub: unknown at first, then what the mainframe said, booked or refused."""
    with LegacySandbox(World(customers=25)) as sandbox:
        table = {**sandbox.settings(), "ack_wait_s": 0.05}
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        (tmp_path / "config.toml").write_text(f'[hub]\ndatabase_url = "{database_url}"\n[connections.erp]\n{text}')
        with App.open(tmp_path / "config.toml") as app:
            sync_connection(app.store, app.connections.open("erp"))
            app.performer.in_flight = timedelta(0)  # how long "not there" proves nothing: a minute in real life
            booked, refused = [o for o in sandbox.world.orders if o.status == "open" and not o.shipped][:2]
            for order, faults, end in (
                (booked, ["slow:0.4s"], "succeeded"),
                (refused, ["slow:0.4s", "status:500"], "failed"),
            ):
                for fault in faults:
                    sandbox.fault("INSERT /change_requests", fault)
                reference = f"erp/orders/{700_000 + order.n}"
                request = Request(ACTION.name, {"order_ref": reference, "address": ADDRESS}, key=f"key-{order.n}")
                assert app.performer.run(request, OPERATOR).status == "unknown"
                time.sleep(0.7)
                settled = app.performer.run(request, OPERATOR)
                assert (settled.status, settled.replayed) == (end, True)
        assert [entry.effect is not None for entry in sandbox.ledger] == [True, False]
