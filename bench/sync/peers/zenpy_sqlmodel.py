"""
What one would write first: zenpy's own objects, iterated, put into SQLModel rows, a commit for every thousand.

`python zenpy_sqlmodel.py DATABASE URL`
"""

import sys
from typing import Any
from urllib.parse import urlsplit

import requests
from meter import PRAGMAS, Meter
from sqlalchemy import event
from sqlmodel import Field, Session, SQLModel, create_engine
from zenpy import Zenpy


class Ticket(SQLModel, table=True):
    id: int = Field(primary_key=True)
    subject: str | None
    description: str | None
    status: str | None
    priority: str | None
    type: str | None
    channel: str | None
    requester_id: int | None
    assignee_id: int | None
    organization_id: int | None
    group_id: int | None
    external_id: str | None
    tags: str
    created_at: str | None
    updated_at: str | None


class ToLoopback(requests.Session):
    """Sends what is meant for Zendesk to the server of this comparison."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base

    def request(self, method: str, url: str, **more: Any) -> Any:  # type: ignore[override]
        parts = urlsplit(url)
        answer = super().request(method, f"{self.base}{parts.path}?{parts.query}", **more)
        answer.request.url = f"https://bench.zendesk.com{parts.path}"
        return answer


def row(ticket: Any) -> Ticket:
    """Make a row of zenpy's object."""
    return Ticket(
        id=ticket.id, subject=ticket.subject, description=ticket.description, status=ticket.status,
        priority=ticket.priority, type=ticket.type, channel=ticket.via.channel, requester_id=ticket.requester_id,
        assignee_id=ticket.assignee_id, organization_id=ticket.organization_id, group_id=ticket.group_id,
        external_id=ticket.external_id, tags=" ".join(ticket.tags), created_at=ticket.created_at,
        updated_at=ticket.updated_at,
    )  # fmt: skip


def main() -> None:
    database, url = sys.argv[1], sys.argv[2]
    own = ToLoopback(url)
    zendesk = Zenpy(subdomain="bench", email="ops@bench.example", token="no-secret", session=own, disable_cache=True)
    engine = create_engine(f"sqlite:///{database}")

    @event.listens_for(engine, "connect")
    def _set(connection: Any, _: Any) -> None:
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    meter, count = Meter(), 0
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        for ticket in zendesk.tickets.incremental(start_time=0, per_page=1000):
            session.add(row(ticket))
            count += 1
            if count % 1000 == 0:
                session.commit()
                session.expunge_all()
        session.commit()
    meter.told(count)


if __name__ == "__main__":
    main()
