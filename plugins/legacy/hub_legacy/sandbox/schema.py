"""The tables of the imitated order system, and its rows made from the world."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from hub import Money
from hub.sandbox import Order, Payment, Person, World

TABLES = """
CREATE TABLE customers (
  customer_no VARCHAR(20) PRIMARY KEY, account_no VARCHAR(20), first_name VARCHAR(80), last_name VARCHAR(80),
  email VARCHAR(200), phone VARCHAR(40), lang CHAR(5), time_zone VARCHAR(40), street VARCHAR(120), city VARCHAR(80),
  region VARCHAR(80), zip VARCHAR(20), country VARCHAR(60), status CHAR(1) NOT NULL DEFAULT 'A',
  no_mail SMALLINT NOT NULL DEFAULT 0, created TIMESTAMP NOT NULL, changed TIMESTAMP NOT NULL);
CREATE TABLE orders (
  order_id INTEGER PRIMARY KEY, order_no VARCHAR(20) NOT NULL UNIQUE, customer_no VARCHAR(20), account_no VARCHAR(20),
  order_date TIMESTAMP, status VARCHAR(10), pay_status VARCHAR(10), ship_status VARCHAR(10), currency CHAR(3),
  net_total DECIMAL(12,2), discount DECIMAL(12,2), shipping DECIMAL(12,2), tax DECIMAL(12,2),
  gross_total DECIMAL(12,2), refunded DECIMAL(12,2),
  bill_name VARCHAR(120), bill_street VARCHAR(120), bill_street2 VARCHAR(120), bill_city VARCHAR(80),
  bill_region VARCHAR(80), bill_zip VARCHAR(20), bill_country CHAR(2),
  ship_name VARCHAR(120), ship_street VARCHAR(120), ship_street2 VARCHAR(120), ship_city VARCHAR(80),
  ship_region VARCHAR(80), ship_zip VARCHAR(20), ship_country CHAR(2), ship_phone VARCHAR(40),
  po_no VARCHAR(40), note VARCHAR(400), channel VARCHAR(20), orig_order INTEGER,
  created TIMESTAMP NOT NULL, changed TIMESTAMP NOT NULL);
CREATE INDEX orders_changed ON orders (changed, order_id);
CREATE TABLE order_lines (
  order_id INTEGER NOT NULL, line_no INTEGER NOT NULL, sku VARCHAR(40), description VARCHAR(120), qty DECIMAL(10,3),
  unit_price DECIMAL(12,2), line_total DECIMAL(12,2), qty_shipped DECIMAL(10,3), PRIMARY KEY (order_id, line_no));
CREATE TABLE shipments (
  shipment_no VARCHAR(20) PRIMARY KEY, order_id INTEGER NOT NULL, carrier VARCHAR(20), tracking_no VARCHAR(40),
  service VARCHAR(20), status VARCHAR(10), ship_date TIMESTAMP, delivered TIMESTAMP);
CREATE INDEX shipments_order ON shipments (order_id);
CREATE TABLE change_requests (
  request_id VARCHAR(100) PRIMARY KEY, order_no VARCHAR(20) NOT NULL, ship_name VARCHAR(120), ship_street VARCHAR(120),
  ship_street2 VARCHAR(120), ship_city VARCHAR(80), ship_region VARCHAR(80), ship_zip VARCHAR(20),
  ship_country CHAR(2), ship_phone VARCHAR(40), status VARCHAR(10) NOT NULL DEFAULT 'NEW', reason_code VARCHAR(40),
  booked TIMESTAMP);
CREATE TABLE cancel_requests (
  request_id VARCHAR(100) PRIMARY KEY, order_no VARCHAR(20) NOT NULL, reason VARCHAR(255), restock SMALLINT,
  items VARCHAR(4000),
  status VARCHAR(10) NOT NULL DEFAULT 'NEW', reason_code VARCHAR(40), booked TIMESTAMP);
CREATE TABLE customer_requests (
  request_id VARCHAR(100) PRIMARY KEY, customer_no VARCHAR(20) NOT NULL, email VARCHAR(200), street VARCHAR(120),
  city VARCHAR(80), region VARCHAR(80), zip VARCHAR(20), country VARCHAR(60),
  status VARCHAR(10) NOT NULL DEFAULT 'NEW', reason_code VARCHAR(40), booked TIMESTAMP);
CREATE TABLE refund_requests (
  request_id VARCHAR(100) PRIMARY KEY, order_no VARCHAR(20) NOT NULL, amount DECIMAL(12,2) NOT NULL, currency CHAR(3),
  reason VARCHAR(40), status VARCHAR(10) NOT NULL DEFAULT 'NEW', reason_code VARCHAR(40), booked TIMESTAMP);
"""
NAMES = (
    "customers", "orders", "order_lines", "shipments", "change_requests", "cancel_requests", "customer_requests",
    "refund_requests",
)  # fmt: skip
_STATUS = {"draft": "DRAFT", "open": "OPEN", "completed": "DONE", "canceled": "CANCELED"}
_PAID = {"requires_capture": "AUTH", "processing": "OPEN", "canceled": "VOID", "requires_payment_method": "FAILED"}
_LOST = ("needs_response", "under_review")
FIRST_ID = 700_000
Row = dict[str, Any]


def stamp(moment: datetime) -> str:
    """Give a time as the system keeps it: UTC, to the second, without a zone."""
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def major(minor: int, currency: str) -> str:
    """Give minor units as the system keeps them: 1250 EUR is 12.50."""
    return str(Money(minor, currency)).partition(" ")[0]


def digits(currency: str) -> int:
    return len(major(0, currency).partition(".")[2])


def rows(world: World) -> Iterator[tuple[str, Row]]:
    """Give every row of the filled system: table and columns."""
    for person in world.known_to("legacy"):
        yield "customers", _customer(person)
    payments = {payment.order.n: payment for payment in world.payments}
    for order in world.orders:
        yield "orders", _order(order, payments.get(order.n))
        for n, line in enumerate(order.lines, 1):
            yield "order_lines", {
                "order_id": FIRST_ID + order.n, "line_no": n, "sku": line.sku, "description": line.name,
                "qty": line.quantity,
                "unit_price": major(line.unit_minor, order.currency),
                "line_total": major(line.total_minor, order.currency),
                "qty_shipped": line.quantity if order.shipped else 0,
            }  # fmt: skip
        if order.shipped:
            yield "shipments", _shipment(order)


def _customer(person: Person) -> Row:
    return {
        "customer_no": person.number, "account_no": person.company.number if person.company else None,
        "first_name": person.given, "last_name": person.family, "email": person.email_in("legacy"),
        "phone": person.phone, "lang": person.place[6], "time_zone": person.place[7], "street": person.street,
        "city": person.place[2], "region": person.place[4], "zip": person.place[3], "country": person.place[1],
        "status": "V" if person.vip else "A", "no_mail": int(person.n % 11 == 0),
        "created": stamp(person.created), "changed": stamp(person.updated),
    }  # fmt: skip


def _order(order: Order, payment: Payment | None) -> Row:
    person, currency = order.person, order.currency
    home = {"street": person.street, "city": person.place[2], "region": person.place[4], "zip": person.place[3]}
    address = {"name": person.name, **home, "country": person.place[0]}
    return {
        "order_id": FIRST_ID + order.n, "order_no": order.number, "customer_no": person.number,
        "account_no": person.company.number if person.company else None, "order_date": stamp(order.placed),
        "status": _STATUS[order.status], "pay_status": _pay_status(payment),
        "ship_status": _ship_status(order),
        "currency": currency, "net_total": major(order.total_minor, currency), "discount": 0, "shipping": 0, "tax": 0,
        "gross_total": major(order.total_minor, currency),
        "refunded": major(payment.refunded_minor if payment else 0, currency),
        **{f"bill_{name}": value for name, value in address.items()},
        **{f"ship_{name}": value for name, value in address.items()},
        "channel": ("web", "shop", "phone")[order.n % 3],
        "created": stamp(order.placed), "changed": stamp(order.updated),
    }  # fmt: skip


def _pay_status(payment: Payment | None) -> str:
    if payment is None:
        return "OPEN"
    if payment.dispute is not None and payment.dispute.status in _LOST:
        return "DISPUTE"
    if payment.refunded_minor:
        return "REFUNDED" if payment.refunded_minor >= payment.amount_minor else "PARTREF"
    return _PAID.get(payment.status, "PAID")


def _ship_status(order: Order) -> str:
    if order.status == "canceled":
        return "CANCELED"
    return ("DELIVERED" if order.status == "completed" else "SHIPPED") if order.shipped else "NONE"


def _shipment(order: Order) -> Row:
    delivered = order.status == "completed"
    return {
        "shipment_no": f"SH-{order.n:06d}", "order_id": FIRST_ID + order.n,
        "carrier": ("DHL", "UPS", "GLS")[order.n % 3],
        "tracking_no": f"TRK{order.n:010d}", "service": "standard", "status": "DLV" if delivered else "TRANSIT",
        "ship_date": stamp(order.placed + timedelta(days=1)),
        "delivered": stamp(order.placed + timedelta(days=4)) if delivered else None,
    }  # fmt: skip
