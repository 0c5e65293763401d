"""The mainframe: a thread that finds requests in tables and files, books each once, and says so after a while."""

import csv
import io
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.sandbox import Request
from hub_legacy.sandbox.schema import digits, stamp

if TYPE_CHECKING:
    from hub_legacy.sandbox.site import LegacySandbox

TICK_S = 0.02
SHIP = (
    "ship_name",
    "ship_street",
    "ship_street2",
    "ship_city",
    "ship_region",
    "ship_zip",
    "ship_country",
    "ship_phone",
)
Booking = tuple[str | None, str, dict[str, Any]]


class Mainframe:
    """
    Books what lies in `change_requests`, `cancel_requests`, `customer_requests`, `refund_requests` and `out/*.csv`.

    A request is booked once by its id, however often it comes. Faults that a request may meet (`INSERT
    /change_requests`, `FILE /out/…`): `drop_before` loses it, `drop_after` books it and never says so, `status:500`
    rejects it, `slow:2s` books it later.
    """

    def __init__(self, site: "LegacySandbox", delay_s: float = 0.05) -> None:
        self.site, self.delay_s = site, delay_s
        self._seen: dict[tuple[str, str], float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mainframe", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def forget(self) -> None:
        self._seen.clear()

    def _run(self) -> None:
        while not self._stop.wait(TICK_S):
            with self.site.lock:
                try:
                    self._tables()
                    self._files()
                except sqlite3.OperationalError as exc:
                    if "locked" not in str(exc):
                        raise

    def _tables(self) -> None:
        with closing(self.site.connect()) as database:
            books: tuple[tuple[str, Callable[..., Booking]], ...] = (
                ("change_requests", address),
                ("refund_requests", refund),
                ("cancel_requests", cancel),
                ("customer_requests", contact),
            )
            for table, book in books:
                waiting = database.execute(f"SELECT * FROM {table} WHERE status = 'NEW'").fetchall()  # noqa: S608
                for row in waiting:
                    self._table_request(database, table, dict(row), book)

    def _table_request(
        self, database: sqlite3.Connection, table: str, row: Mapping[str, Any], book: Callable[..., Booking]
    ) -> None:
        request = Request("INSERT", f"/{table}", {}, {"idempotency-key": row["request_id"]}, b"")
        if not self._due(table, row["request_id"], request):
            return
        database.execute("BEGIN IMMEDIATE")
        code, said = self._booked(database, request, row, book)
        if said:
            database.execute(
                f"UPDATE {table} SET status = ?, reason_code = ?, booked = ? WHERE request_id = ?",  # noqa: S608
                ("REJECTED" if code else "BOOKED", code, _now(database), row["request_id"]),
            )
        database.execute("COMMIT")

    def _files(self) -> None:
        for path in sorted((self.site.folder / "out").glob("*.csv")):
            row = next(csv.DictReader(io.StringIO(path.read_text("utf-8")), delimiter=self.site.delimiter))
            number = row.get("request_id") or path.stem
            request = Request("FILE", f"/out/{path.name}", {}, {"idempotency-key": number}, b"")
            if not self._due("out", path.name, request):
                continue
            path.rename(self.site.folder / "taken" / path.name)
            with closing(self.site.connect()) as database:
                database.execute("BEGIN IMMEDIATE")
                code, said = self._booked(database, request, {**row, "request_id": number}, refund)
                database.execute("COMMIT")
            if said:
                self._say(number, code)

    def _say(self, number: str, code: str | None) -> None:
        """Write an acknowledgement file the way a careful system does: whole, then renamed."""
        target = self.site.folder / "acks" / f"ack-{number}.csv"
        temporary = target.with_suffix(".tmp")
        temporary.write_text(
            f"request_id,status,reason_code\r\n{number},{'REJECTED' if code else 'BOOKED'},{code or ''}\r\n"
        )
        temporary.rename(target)

    def _due(self, place: str, number: str, request: Request) -> bool:
        """Say whether a request has lain long enough; it does not, once it was lost or booked in silence."""
        now = time.monotonic()
        if (place, number) not in self._seen:
            slow = self.site.take("slow", request)
            wait = float(slow.split(":")[1].rstrip("s")) if slow else self.delay_s
            self._seen[place, number] = now + wait
        if self._seen[place, number] > now:
            return False
        self._seen[place, number] = float("inf")
        return True

    def _booked(
        self, database: sqlite3.Connection, request: Request, row: Mapping[str, Any], book: Callable[..., Booking]
    ) -> tuple[str | None, bool]:
        """Book a request into ledger and tables; give the code of a refusal, and whether the system will say so."""
        self.site.book(request)
        entry = request.entry
        assert entry is not None
        if self.site.take("drop_before", request):
            return None, False
        if status := self.site.take("status", request):
            entry.status = int(status.split(":")[1])
            return "SYSTEM_ERROR", True
        if self.site.is_booked(row["request_id"]):
            entry.status = 200
            return None, True
        database.execute("SAVEPOINT booking")
        code, intent, details = book(database, row, _now(database))
        if code is None:
            request.effect(intent, **details)
        else:
            database.execute("ROLLBACK TO booking")
        entry.status = 200 if code is None else 422
        return code, not self.site.take("drop_after", request)


def address(database: sqlite3.Connection, row: Mapping[str, Any], now: str) -> Booking:
    """Send an order that has not shipped to the address of the request."""
    order = database.execute("SELECT * FROM orders WHERE order_no = ?", (row["order_no"],)).fetchone()
    if order is None:
        return "UNKNOWN_ORDER", "", {}
    if order["ship_status"] != "NONE" or order["status"] not in ("DRAFT", "OPEN"):
        return "ALREADY_SHIPPED", "", {}
    keep = ("ship_name", "ship_phone")  # an address without them is for the same person
    values = [order[name] if row[name] is None and name in keep else row[name] for name in SHIP]
    database.execute(
        f"UPDATE orders SET {', '.join(f'{name} = ?' for name in SHIP)}, changed = ? WHERE order_no = ?",  # noqa: S608
        (*values, now, row["order_no"]),
    )
    return None, f"address {row['order_no']}", {"order_no": row["order_no"], "zip": row["ship_zip"]}


def cancel(database: sqlite3.Connection, row: Mapping[str, Any], now: str) -> Booking:
    """Cancel an order that has not shipped; its money is booked elsewhere."""
    order = database.execute("SELECT * FROM orders WHERE order_no = ?", (row["order_no"],)).fetchone()
    if order is None:
        return "UNKNOWN_ORDER", "", {}
    if order["status"] == "CANCELED":
        return "ALREADY_CANCELED", "", {}
    if row["items"]:
        return _cancel_items(database, order, json.loads(row["items"]), now)
    if order["ship_status"] != "NONE":
        return "ALREADY_SHIPPED", "", {}
    values = (now, row["order_no"])
    database.execute(
        "UPDATE orders SET status = 'CANCELED', ship_status = 'CANCELED', changed = ? WHERE order_no = ?", values
    )
    return None, f"cancel {row['order_no']}", {"order_no": row["order_no"], "restock": row["restock"]}


def _cancel_items(database: sqlite3.Connection, order: sqlite3.Row, items: list[dict[str, Any]], now: str) -> Booking:
    """Take so many of some lines out of an order, as long as they have not shipped; its total is less by them."""
    less = Decimal(0)
    for item in items:
        place = (order["order_id"], int(str(item["line"]).rpartition("-")[2]))
        line = database.execute("SELECT * FROM order_lines WHERE order_id = ? AND line_no = ?", place).fetchone()
        ordered, shipped = (int(line[name]) for name in ("qty", "qty_shipped")) if line else (0, 0)
        left = ordered - int(item["quantity"])
        if line is None or left < shipped:
            return "LINE_NOT_OPEN", "", {}
        total = Decimal(str(line["line_total"]))
        kept = (total * left / ordered).quantize(Decimal(1).scaleb(-digits(order["currency"])))
        less += total - kept
        database.execute(
            "UPDATE order_lines SET qty = ?, line_total = ? WHERE order_id = ? AND line_no = ?",
            (left, str(kept), *place),
        )
    totals = [str(Decimal(str(order[name])) - less) for name in ("net_total", "gross_total")]
    database.execute(
        "UPDATE orders SET net_total = ?, gross_total = ?, changed = ? WHERE order_id = ?",
        (*totals, now, order["order_id"]),
    )
    return None, f"cancel items of {order['order_no']}", {"order_no": order["order_no"], "lines": len(items)}


def contact(database: sqlite3.Connection, row: Mapping[str, Any], now: str) -> Booking:
    """Change what a request fills in of a customer: the e-mail, or the address as a whole."""
    number = row["customer_no"]
    if database.execute("SELECT 1 FROM customers WHERE customer_no = ?", (number,)).fetchone() is None:
        return "UNKNOWN_CUSTOMER", "", {}
    names = ("email",) if row["email"] else ("street", "city", "region", "zip", "country")
    database.execute(
        f"UPDATE customers SET {', '.join(f'{name} = ?' for name in names)}, changed = ? WHERE customer_no = ?",  # noqa: S608
        (*(row[name] for name in names), now, number),
    )
    return None, f"{'email' if row['email'] else 'move'} {number}", {"customer_no": number}


def refund(database: sqlite3.Connection, row: Mapping[str, Any], now: str) -> Booking:
    """Give money of an order back, as long as there is some."""
    order = database.execute("SELECT * FROM orders WHERE order_no = ?", (row["order_no"],)).fetchone()
    if order is None:
        return "UNKNOWN_ORDER", "", {}
    amount, total, before = (Decimal(str(value)) for value in (row["amount"], order["gross_total"], order["refunded"]))
    if amount <= 0 or before + amount > total:
        return "AMOUNT_TOO_HIGH", "", {}
    after = before + amount
    database.execute(
        "UPDATE orders SET refunded = ?, pay_status = ?, changed = ? WHERE order_no = ?",
        (str(after), "REFUNDED" if after == total else "PARTREF", now, row["order_no"]),
    )
    minor = int(amount.scaleb(digits(order["currency"])))
    return (
        None,
        f"refund {row['order_no']} {minor} {order['currency'].lower()}",
        {"order_no": row["order_no"], "amount": minor},
    )


def _now(database: sqlite3.Connection) -> str:
    """Give the system's clock: never behind what it has written."""
    last = datetime.fromisoformat(database.execute("SELECT max(changed) FROM orders").fetchone()[0]).replace(tzinfo=UTC)
    return stamp(max(datetime.now(UTC), last + timedelta(seconds=1)))


def outbox(folder: Path) -> None:
    for name in ("out", "taken", "acks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
