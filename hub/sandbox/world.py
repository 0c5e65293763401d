"""
The one world that all sandboxes imitate: the same people, orders and tickets, seen by each system with its own mess.

Everything follows from `customers` and `seed`; nothing looks at a clock. All of it is invented; e-mail addresses end
in reserved names (RFC 2606), phone numbers come from ranges set aside for fiction.
"""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from hub.sandbox.inhabitants import (
    Comment,
    Company,
    Dispute,
    Line,
    Order,
    OrderStatus,
    Payment,
    PaymentStatus,
    Person,
    Refund,
    Staff,
    Subscription,
    SubscriptionStatus,
    System,
    Ticket,
    TicketStatus,
)

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
START = datetime(2025, 11, 1, 8, 0, tzinfo=UTC)
GIVEN = (
    "Ada Ben Chiara David Elif Farid Greta Hugo Ines Jonas Katja Liam Mina Noor Olga Pablo Quentin Rosa Samir Tilda "
    "Umut Vera Wanda Xenia Yusuf Zoe Amélie Björn Céline Dörte Emre Fiona Gökhan Hélène Ivo Jasmin Kofi Lene Mats Nadia"
).split()
FAMILY = (
    "Albers Brandt Costa Dupont Eriksen Fischer Garcia Hofmann Ivanova Jansen Keller Lindqvist Moreau Novak Okafor "
    "Petersen Quist Rossi Schäfer Tanaka Ueda Vogel Weber Xu Yilmaz Zimmermann Ahlgren Böhm Castellano Drexler Ekström "
    "Falk Grünwald Haddad Iversen Jung Krämer Lefèvre Müller Nguyen"
).split()
PLACES = (
    ("DE", "Germany", "Berlin", "10115", "Berlin", "+4930901820", "de", "Europe/Berlin", "EUR"),
    ("DE", "Germany", "Köln", "50667", "Nordrhein-Westfalen", "+4922100000", "de", "Europe/Berlin", "EUR"),
    ("FR", "France", "Lyon", "69002", "Rhône", "+3319900000", "fr", "Europe/Paris", "EUR"),
    ("GB", "United Kingdom", "Leeds", "LS1 4DY", "West Yorkshire", "+4411349600", "en-GB", "Europe/London", "GBP"),
    ("US", "United States", "Austin", "78701", "TX", "+1512555010", "en-US", "America/Chicago", "USD"),
    ("JP", "Japan", "Osaka", "530-0001", "Osaka", "+8169999000", "ja", "Asia/Tokyo", "JPY"),
)
STREETS = "Hauptstr. Lindenweg Gartenallee Mill-Lane Rue-Haute Oak-Street Bahnhofstr. Seeweg".split()
PRODUCTS = (
    ("SKU-MUG", "Stoneware mug", 1290),
    ("SKU-LAMP", "Desk lamp", 4950),
    ("SKU-CHAIR", "Folding chair", 7900),
    ("SKU-DESK", "Standing desk", 24900),
    ("SKU-RUG", "Wool rug", 15900),
    ("SKU-SHELF", "Wall shelf", 3490),
)
SUBJECTS = (
    "Where is my order?",
    "The lamp arrived broken",
    "Please change my delivery address",
    "Charged twice for one order",
    "How do I assemble the desk?",
    "Refund for a returned rug",
    "Invoice shows the wrong company",
    "Cannot sign in to my account",
)
ROLE_MAILBOXES = ("info", "office", "support")


@dataclass
class World:
    """All of it. The first person is in every system, with an open order, a refundable payment and an open ticket."""

    customers: int = 500
    seed: int = 7
    companies: list[Company] = field(default_factory=list)
    staff: list[Staff] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    subscriptions: list[Subscription] = field(default_factory=list)
    tickets: list[Ticket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self.companies = [self._company(n) for n in range(1, max(2, self.customers // 8) + 1)]
        self.staff = [self._staff(n) for n in range(1, 7)]
        self.people = [self._person(n) for n in range(1, self.customers + 1)]
        for person in self.people:
            for _ in range(1 if person.n == 1 else self._dice.choice((0, 1, 1, 2, 3))):
                self.orders.append(self._order(len(self.orders) + 1, person))
        self.payments = [
            self._payment(n, order) for n, order in enumerate((o for o in self.orders if o.status != "draft"), 1)
        ]
        buyers = [p for p in self.people if "stripe" in p.systems and p.n % 4 == 1]
        self.subscriptions = [self._subscription(n, person) for n, person in enumerate(buyers, 1)]
        for person in self.people:
            for _ in range(1 if person.n == 1 else self._dice.choice((0, 1, 1, 2))):
                self.tickets.append(self._ticket(len(self.tickets) + 1, person))

    def known_to(self, system: System) -> list[Person]:
        """Give the people whom that system knows."""
        return [person for person in self.people if system in person.systems]

    def orders_of(self, person: Person) -> list[Order]:
        return [order for order in self.orders if order.person is person]

    def _moment(self, after: datetime, before: datetime = NOW) -> datetime:
        span = max(1, int((before - after).total_seconds()))
        return after + timedelta(seconds=self._dice.randrange(span))

    def _company(self, n: int) -> Company:
        name = f"{self._dice.choice(FAMILY)} {self._dice.choice(('GmbH', 'Ltd', 'SARL', 'Inc'))}"
        place = self._dice.choice(PLACES)
        return Company(n, f"A{10000 + n}", f"{name} {n}", f"company{n}.example", place, self._moment(START))

    def _staff(self, n: int) -> Staff:
        given, family = GIVEN[-n], FAMILY[-n]
        return Staff(n, given, family, f"agent{n}@deskhub-staff.example")

    def _person(self, n: int) -> Person:
        dice = self._dice
        given, family, place = dice.choice(GIVEN), dice.choice(FAMILY), dice.choice(PLACES)
        company = dice.choice(self.companies) if dice.random() < 0.3 else None
        shared = n != 1 and company is not None and dice.random() < 0.15
        domain = (
            company.domain if company else dice.choice(("mail.example.com", "post.example.org", "inbox.example.net"))
        )
        local = dice.choice(ROLE_MAILBOXES) if shared else f"{_ascii(given)}.{_ascii(family)}.{n}"
        created = self._moment(START)
        return Person(
            n, f"C{100000 + n}", given, family, dice.choice(FAMILY) if n != 1 and dice.random() < 0.06 else None,
            f"{local}@{domain}", shared, f"{place[5]}{n % 1000:03d}",
            f"{dice.choice(STREETS)} {dice.randrange(1, 180)}",
            place, company, dice.random() < 0.05, created, self._moment(created), self._systems(n), n % 37 == 0,
        )  # fmt: skip

    def _systems(self, n: int) -> frozenset[str]:
        everywhere = frozenset(("salesforce", "zendesk", "stripe", "legacy"))
        if n == 1 or n % 37 == 0 or self._dice.random() < 0.7:
            return everywhere
        return everywhere - {self._dice.choice(("salesforce", "zendesk", "stripe"))}

    def _order(self, n: int, person: Person) -> Order:
        dice, whole = self._dice, person.currency == "JPY"
        chosen = dice.sample(PRODUCTS, dice.choice((1, 1, 2, 3)))
        lines = tuple(Line(s, t, dice.choice((1, 1, 2)), m if not whole else m // 100 * 150) for s, t, m in chosen)
        placed = self._moment(person.created)
        status: OrderStatus = (
            "open" if n == 1 else dice.choice(("draft", "open", "open", "completed", "completed", "canceled"))
        )
        shipped = status == "completed" or (status == "open" and n != 1 and dice.random() < 0.4)
        copied = n == 1 or (person.company is not None and "salesforce" in person.systems)
        return Order(n, f"SO-{100000 + n}", person, lines, status, shipped, placed, self._moment(placed), copied)

    def _payment(self, n: int, order: Order) -> Payment:
        dice = self._dice
        status: PaymentStatus = "succeeded"
        if order.n != 1 and order.status == "open":
            often: tuple[PaymentStatus, ...] = ("succeeded",) * 6
            status = dice.choice((*often, "requires_capture", "processing", "requires_payment_method"))
        if order.status == "canceled":
            status = dice.choice(("canceled", "succeeded"))
        created = self._moment(order.placed)
        refunds: tuple[Refund, ...] = ()
        dispute = None
        if status == "succeeded" and order.n != 1:
            if order.status == "canceled" or dice.random() < 0.1:
                part = order.total_minor if order.status == "canceled" else max(1, order.total_minor // 4)
                refunds = (Refund(n, part, "requested_by_customer", self._moment(created)),)
            elif dice.random() < 0.05:
                dispute = Dispute(
                    n,
                    dice.choice(("needs_response", "under_review", "won", "lost")),
                    "fraudulent",
                    self._moment(created),
                )
        return Payment(
            n,
            order,
            status,
            dice.choice(("visa", "mastercard", "amex")),
            f"{dice.randrange(10000):04d}",
            created,
            refunds,
            dispute,
        )

    def _subscription(self, n: int, person: Person) -> Subscription:
        dice = self._dice
        status: SubscriptionStatus = dice.choice(
            ("active", "active", "active", "active", "trialing", "past_due", "canceled", "paused")
        )
        unit = 150000 if person.currency == "JPY" else dice.choice((900, 1900, 4900))
        return Subscription(
            n,
            person,
            dice.choice(("care-basic", "care-plus")),
            unit,
            status,
            status == "active" and dice.random() < 0.2,
            self._moment(person.created),
        )

    def _ticket(self, n: int, person: Person) -> Ticket:
        dice = self._dice
        where = [s for s in ("zendesk", "zendesk", "salesforce") if s in person.systems] or ["zendesk"]
        system: Literal["zendesk", "salesforce"] = (
            "zendesk" if n == 1 or dice.choice(where) == "zendesk" else "salesforce"
        )
        orders = self.orders_of(person)
        created = self._moment(person.created)
        status: TicketStatus = dice.choice(("new", "open", "open", "pending", "hold", "solved", "solved", "closed"))
        if n == 1:
            status = "open"
        comments = self._comments(n, created)
        return Ticket(
            n, system, person, dice.choice(self.staff), dice.choice(orders) if orders and dice.random() < 0.6 else None,
            dice.choice(SUBJECTS), status, dice.choice(("low", "normal", "high", "urgent", None)),
            dice.choice(("question", "incident", "problem", "task", None)),
            dice.choice(("email", "web", "chat", "api", "voice")),
            created, comments[-1].at, comments,
        )  # fmt: skip

    def _comments(self, ticket: int, created: datetime) -> tuple[Comment, ...]:
        texts: tuple[tuple[Literal["customer", "agent"], bool, str], ...] = (
            ("customer", True, "Hello, could you please look into this?"),
            ("agent", True, "Thank you for writing. I am checking it now."),
            ("agent", False, f"Internal: warehouse asked about case {ticket}."),
            ("customer", True, "Any news?"),
            ("agent", True, "It is on its way."),
        )
        found: list[Comment] = []
        at = created
        for i in range(self._dice.choice((1, 2, 3, 3, 4, 5))):
            by, public, text = texts[i]
            found.append(Comment(ticket * 10 + i, by, public, text, at))
            at = self._moment(at + timedelta(minutes=1), max(NOW, at + timedelta(minutes=2)))
        return tuple(found)


def _ascii(name: str) -> str:
    return name.lower().translate(str.maketrans("äöüéèêøåğ", "aoueeeoag")).replace("ß", "ss")
