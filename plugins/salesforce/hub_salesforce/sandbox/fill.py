"""The shared world as a Salesforce org would hold it."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from hub.money import exponent
from hub.sandbox import Comment, Order, Person, Staff, Ticket, World
from hub_salesforce.sandbox.shapes import PREFIX, Shape, record_id
from hub_salesforce.sandbox.soql import Row

Rows = dict[str, dict[str, Row]]
STATUS = {
    "new": "New", "open": "Working", "pending": "Waiting on Customer", "hold": "On Hold", "solved": "Closed",
    "closed": "Closed",
}  # fmt: skip
PRIORITY = {"low": "Low", "normal": "Medium", "high": "High", "urgent": "Critical", None: None}
TYPE = {"question": "Question", "incident": "Problem", "problem": "Problem", "task": "Feature Request", None: None}
ORIGIN = {"email": "Email", "web": "Web", "chat": "Chat", "api": "API", "voice": "Phone"}
ORDER = {
    "draft": ("Draft", "Draft"), "open": ("Activated", "Activated"), "completed": ("Completed", "Activated"),
    "canceled": ("Canceled", "Canceled"),
}  # fmt: skip
_API, _GUEST, _HOUSEHOLD = 901, 902, 50_000


def stamp(moment: datetime) -> str:
    """Write a time as Salesforce does."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}+0000"


def one(sobject: str, number: int) -> str:
    """Give the id that the world's number has here."""
    return record_id(PREFIX[sobject], number)


API_USER = one("User", _API)
GUEST_USER = one("User", _GUEST)


class Filler:
    """Writes the world into an org's rows."""

    def __init__(self, world: World, shapes: dict[str, Shape]) -> None:
        self.world = world
        self.shapes = shapes
        self.rows: Rows = {name: {} for name in shapes}
        self.person_accounts = "IsPersonAccount" in shapes["Account"].columns

    def fill(self) -> Rows:
        start = min((p.created for p in self.world.people), default=datetime.fromisoformat("2025-11-01T08:00:00+00:00"))
        self.put("Organization", 1, start, start, Name="Deskhub Sandbox", IsSandbox=True, OrganizationType="Enterprise")
        self.put("Profile", 1, start, start, Name="Standard User")
        self.put("Group", 1, start, start, Name="Support", DeveloperName="Support", Type="Queue")
        self._users(start)
        self._products(start)
        for company in self.world.companies:
            self.put(
                "Account", company.n, company.created, company.created, Name=company.name, AccountNumber=company.number,
                Website=f"https://www.{company.domain}", Type="Customer - Direct", OwnerId=one("User", 1),
                CurrencyIsoCode=company.place[8], **_place("Billing", None, company.place),
            )  # fmt: skip
        for person in self.world.known_to("salesforce"):
            self._person(person)
        for order in self.world.orders:
            if order.in_salesforce:
                self._order(order)
        for n, ticket in enumerate(t for t in self.world.tickets if t.system == "salesforce"):
            self._case(ticket if n else replace(ticket, channel="email"))  # so that even a small world has mails
        return self.rows

    def put(self, sobject: str, number: int, created: datetime, updated: datetime, **values: Any) -> Row:
        """Add a row; fields that the org does not have are left out, those not given are null or false."""
        shape = self.shapes[sobject]
        row: Row = {c.name: False if c.type == "boolean" else None for c in shape.columns.values()}
        row |= {"Id": one(sobject, number), "CreatedDate": stamp(created), "CreatedById": API_USER}
        row |= {"LastModifiedDate": stamp(updated), "LastModifiedById": API_USER, "SystemModstamp": stamp(updated)}
        row |= values
        self.rows[sobject][row["Id"]] = {name: value for name, value in row.items() if name in shape.columns}
        return self.rows[sobject][row["Id"]]

    def _users(self, start: datetime) -> None:
        people = [(s.n, s.name, s.email, "Standard") for s in self.world.staff]
        people += [(_API, "Deskhub Integration", "integration@deskhub-staff.example", "Standard")]
        people += [(_GUEST, "Support Site Guest User", "guest@deskhub-staff.example", "Guest")]
        for n, name, email, kind in people:
            given, _, family = name.partition(" ")
            self.put(
                "User", n, start, start, FirstName=given, LastName=family, Name=name, Email=email, Username=email,
                IsActive=True, UserType=kind, ProfileId=one("Profile", 1), Alias=given[:8].lower(),
                TimeZoneSidKey="Europe/Berlin", LocaleSidKey="de_DE", LanguageLocaleKey="de", CurrencyIsoCode="EUR",
            )  # fmt: skip

    def _products(self, start: datetime) -> None:
        known = sorted({(line.sku, line.name) for order in self.world.orders for line in order.lines})
        self.product = {sku: one("Product2", n) for n, (sku, _) in enumerate(known, 1)}
        for n, (sku, name) in enumerate(known, 1):
            self.put("Product2", n, start, start, ProductCode=sku, Name=name, IsActive=True, CurrencyIsoCode="EUR")

    def _person(self, person: Person) -> None:
        given, _, family = person.name_in("salesforce").partition(" ")
        alone = self._alone(person)
        self.put(
            "Contact", person.n, person.created, person.updated, FirstName=given, LastName=family,
            Name=f"{given} {family}", Email=person.email_in("salesforce"), Phone=person.phone,
            AccountId=self._account_of(person), OwnerId=one("User", 1), LeadSource="Web" if person.n % 2 else None,
            Title="Buyer" if person.company else None, Hub_External_Id__c=person.number, IsPersonAccount=alone,
            HasOptedOutOfEmail=person.n % 7 == 0, CurrencyIsoCode=person.currency,
            **_place("Mailing", person.street, person.place),
        )  # fmt: skip
        if alone:
            self._person_account(person, given, family)

    def _account_of(self, person: Person) -> str | None:
        if person.company is not None:
            return one("Account", person.company.n)
        return one("Account", _HOUSEHOLD + person.n) if self._alone(person) else None

    def _alone(self, person: Person) -> bool:
        """Some of those who belong to no company are person accounts, where the org has such."""
        return self.person_accounts and person.company is None and person.n % 3 == 2

    def _person_account(self, person: Person, given: str, family: str) -> None:
        self.put(
            "Account", _HOUSEHOLD + person.n, person.created, person.updated, Name=f"{given} {family}",
            FirstName=given, LastName=family, IsPersonAccount=True, PersonContactId=one("Contact", person.n),
            Hub_External_Id__pc=person.number, PersonEmail=person.email_in("salesforce"), Phone=person.phone,
            PersonHomePhone=person.phone, OwnerId=one("User", 1), CurrencyIsoCode=person.currency,
            **_place("PersonMailing", person.street, person.place),
        )  # fmt: skip

    def _order(self, order: Order) -> None:
        person, (status, code) = order.person, ORDER[order.status]
        account = self._account_of(person) or one("Account", _HOUSEHOLD + person.n)
        if account not in self.rows["Account"]:
            name = f"{person.name_in('salesforce')} Household"
            self.put(
                "Account", _HOUSEHOLD + person.n, person.created, person.created, Name=name, OwnerId=one("User", 1)
            )
        known = "salesforce" in person.systems
        self.put(
            "Order", order.n, order.placed, order.updated, OrderNumber=f"{order.n:08d}", Name=f"Order {order.number}",
            OrderReferenceNumber=order.number, AccountId=account, OwnerId=one("User", 1), Status=status,
            BillToContactId=one("Contact", person.n) if known else None, StatusCode=code, Type="Web",
            EffectiveDate=order.placed.strftime("%Y-%m-%d"), CurrencyIsoCode=order.currency,
            TotalAmount=major(order.total_minor, order.currency),
            **_place("Shipping", person.street, person.place), **_place("Billing", person.street, person.place),
        )  # fmt: skip
        for n, line in enumerate(order.lines, 1):
            price = major(line.unit_minor, order.currency)
            self.put(
                "OrderItem", order.n * 10 + n, order.placed, order.updated, OrderId=one("Order", order.n),
                Product2Id=self.product[line.sku], Quantity=float(line.quantity), UnitPrice=price, ListPrice=price,
                TotalPrice=major(line.total_minor, order.currency), OrderItemNumber=f"{order.n * 10 + n:010d}",
                CurrencyIsoCode=order.currency,
            )  # fmt: skip

    def _case(self, ticket: Ticket) -> None:
        closed = ticket.status in ("solved", "closed")
        person = ticket.person
        self.put(
            "Case", ticket.n, ticket.created, ticket.updated, CaseNumber=f"{ticket.n:08d}", Subject=ticket.subject,
            Description=ticket.comments[0].text, Status=STATUS[ticket.status], Priority=PRIORITY[ticket.priority],
            Type=TYPE[ticket.type], Origin=ORIGIN[ticket.channel], ContactId=one("Contact", person.n),
            AccountId=self._account_of(person), OwnerId=self._owner_of(ticket), IsClosed=closed,
            ClosedDate=stamp(ticket.updated) if closed else None, ContactEmail=person.email_in("salesforce"),
            ContactPhone=person.phone, IsEscalated=ticket.n % 11 == 0,
        )  # fmt: skip
        for comment in ticket.comments:
            if ticket.channel == "email" and comment.public:
                self._email(ticket, comment)
            else:
                self._comment(ticket, comment, ticket.staff)

    @staticmethod
    def _owner_of(ticket: Ticket) -> str:
        """A new case waits in the queue until somebody takes it."""
        return one("Group", 1) if ticket.status == "new" else one("User", ticket.staff.n)

    def _comment(self, ticket: Ticket, comment: Comment, staff: Staff) -> None:
        by = one("User", staff.n) if comment.by == "agent" else GUEST_USER
        self.put(
            "CaseComment", comment.n, comment.at, comment.at, ParentId=one("Case", ticket.n),
            IsPublished=comment.public, CommentBody=comment.text, CreatedById=by, LastModifiedById=by,
        )  # fmt: skip

    def _email(self, ticket: Ticket, comment: Comment) -> None:
        incoming, desk = comment.by == "customer", "support@deskhub-staff.example"
        customer = ticket.person.email_in("salesforce")
        name = ticket.person.name_in("salesforce") if incoming else ticket.staff.name
        self.put(
            "EmailMessage", comment.n, comment.at, comment.at, ParentId=one("Case", ticket.n), Subject=ticket.subject,
            TextBody=comment.text, HtmlBody=f"<html><body><p>{comment.text}</p></body></html>", Incoming=incoming,
            FromName=name, FromAddress=customer if incoming else desk, ToAddress=desk if incoming else customer,
            Status="2" if incoming else "3", MessageDate=stamp(comment.at),
            CreatedById=API_USER if incoming else one("User", ticket.staff.n),
            MessageIdentifier=f"<{comment.n}@deskhub-staff.example>",
        )  # fmt: skip


def major(minor: int, currency: str) -> float:
    """Salesforce keeps amounts as doubles in major units."""
    return float(minor / 10 ** exponent(currency))


def _place(prefix: str, street: str | None, place: tuple[str, ...]) -> Row:
    country, city, code, region = place[1], place[2], place[3], place[4]
    parts = {"Street": street, "City": city, "State": region, "PostalCode": code, "Country": country}
    full = {"street": street, "city": city, "state": region, "postalCode": code, "country": country}
    address = {**full, "latitude": None, "longitude": None, "geocodeAccuracy": None}
    return {f"{prefix}{name}": value for name, value in parts.items()} | {f"{prefix}Address": address}
