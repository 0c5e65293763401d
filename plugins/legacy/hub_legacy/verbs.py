"""Legacy verbs: an insert, an update, or a file, then what the system says about it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hub import (
    Absent,
    Call,
    CannotTell,
    Conflict,
    Effect,
    Found,
    HubError,
    Invalid,
    MappingError,
    NotFound,
    NotSent,
    Outcome,
    Refused,
    Unknown,
    Verb,
)
from hub_legacy.acks import Acks
from hub_legacy.database import Known
from hub_legacy.folder import Folder
from hub_legacy.handover import checked_name, content_of, handed_over, is_pending, receipt_of
from hub_legacy.options import is_files
from hub_legacy.places import Place
from hub_legacy.statements import bound, condition
from hub_legacy.values import same, shown

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from hub_legacy.connector import LegacyConnector

Answer = Found | Absent | CannotTell


def verb_of(connector: "LegacyConnector", action: str, call: Call, verb: Verb) -> "LegacyVerb":
    """Give the verb ready to be done or looked up."""
    if verb.insert is not None:
        return Insert(connector, action, call, verb)
    return Update(connector, action, call, verb) if verb.update is not None else Handover(connector, action, call, verb)


class LegacyVerb:
    """What the three have in common: the acknowledgement, and the outcome."""

    def __init__(self, connector: "LegacyConnector", action: str, call: Call, verb: Verb) -> None:
        self.connector, self.call, self.verb = connector, call, verb
        self.where = f'[actions."{action}"]'
        self.zone = connector.config.zone
        self.acks = Acks(connector, verb.ack) if verb.ack is not None else None

    def do(self) -> Outcome:
        raise NotImplementedError

    def find(self) -> Answer:
        raise NotImplementedError

    def own(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Give those values that are the run's own, by which a request is told from all others."""
        return {name: value for name, value in values.items() if value in (self.call.key, self.call.run_id)}

    def outcome(self, *effects: Effect) -> Outcome:
        target = self.call.target
        touched = [] if target is None or is_files(target.stream) else [(target.stream, target.remote_id)]
        return Outcome(effects=effects, touched=touched)

    def settled(self, outcome: Outcome) -> Outcome:
        """Wait for the acknowledgement. Raises Refused with the system's code, Unknown where it cannot be read."""
        if self.acks is None:
            return outcome
        try:
            said = self.acks.wait(self.connector.config.ack_wait_s)
        except HubError as exc:
            raise Unknown(f"{self.where}: handed over, but the acknowledgement cannot be read: {exc.message}") from exc
        if said == "failed":
            code = self.acks.code or "FAILED"
            raise Refused(f"{self.where}: the system refused the request: {code}", code="legacy_refused", reason=code)
        return outcome if said == "done" else replace(outcome, status="unknown")

    def said(self, outcome: Outcome) -> Answer | None:
        """Look for the acknowledgement once. A refused request is absent: a repeat is answered with the refusal."""
        said = self.acks.look() if self.acks is not None else "nothing"
        if said == "done":
            return Found(outcome)
        return Absent() if said == "failed" else None

    def check_ack(self) -> None:
        if self.acks is not None:
            self.acks.check()


class _Sql(LegacyVerb):
    """A verb on a table."""

    def known(self, name: str) -> Known:
        return self.connector.database(self.where).known(name)

    def send(self, word: str, table: str, body: Mapping[str, Any]) -> None:
        self.call.sending({"method": word, "url": f"sql:{table}", "body": dict(body)})


class Insert(_Sql):
    """A row of a request table, inserted unless one with the run's own id is there."""

    @property
    def table(self) -> str:
        return self.verb.insert or ""

    def identity(self) -> dict[str, Any]:
        """Say by which columns the request is found again. Raises MappingError if a repeat could insert twice."""
        found = self.own(self.verb.set)
        ack = self.verb.ack
        if not found and ack is not None and ack.table == self.table:
            found = self.own(ack.where)
        if not found:
            raise MappingError(
                f'{self.where}: `set` needs a column that holds the run, such as request_id = "run.key"; '
                "without it a repeat would insert twice"
            )
        return found

    def made(self) -> Outcome:
        number = ":".join(str(value) for value in self.identity().values())
        return self.outcome(Effect(self.table, number, "create", after=dict(self.verb.set)))

    def do(self) -> Outcome:
        known, identity = self.known(self.table), self.identity()
        values = bound(known, self.verb.set, f"{self.where}: set", self.zone)
        there = condition(known, identity)
        self.check_ack()
        self.send("INSERT", self.table, self.verb.set)
        try:
            with self.connector.database(self.where).writing(f"inserting into {self.table}") as connection:
                if not _exists(connection, known, there):
                    connection.execute(known.table.insert().values(values))
        except Conflict:
            if not self._there():
                raise
        return self.settled(self.made())

    def find(self) -> Answer:
        said = self.said(self.made())
        if said is not None:
            return said
        there, ack = self._there(), self.verb.ack
        if there and ack is None:
            return Found(self.made())
        if there:
            return CannotTell(
                f"the request is in {self.table}, and {ack.table if ack else ''} does not say what became of it"
            )
        if ack is not None and ack.table == self.table:
            return Absent()
        return CannotTell(f"the request is not in {self.table}; the system may have taken it from there")

    def _there(self) -> bool:
        known = self.known(self.table)
        with self.connector.database(self.where).reading(f"reading {self.table}") as connection:
            return _exists(connection, known, condition(known, self.identity()))


class Update(_Sql):
    """One row set to values; doing it twice is doing it once."""

    @property
    def table(self) -> str:
        return self.verb.update or ""

    def do(self) -> Outcome:
        known = self.known(self.table)
        values = bound(known, self.verb.set, f"{self.where}: set", self.zone)
        database = self.connector.database(self.where)
        self.check_ack()
        with database.reading(f"reading {self.table}") as connection:
            self._row(connection, known)
        self.send("UPDATE", self.table, {"set": dict(self.verb.set), "where": dict(self.verb.where)})
        with database.writing(f"updating {self.table}") as connection:
            before = self._row(connection, known)
            changed = {name: value for name, value in values.items() if not same(before[name], value)}
            if changed:
                where = condition(known, self.verb.where)
                self._one(connection.execute(known.table.update().where(where).values(changed)).rowcount)
        return self.settled(self._made({name: before[name] for name in changed}, changed))

    def find(self) -> Answer:
        known = self.known(self.table)
        values = bound(known, self.verb.set, f"{self.where}: set", self.zone)
        said = self.said(self._made(None, self.verb.set))
        if said is not None:
            return said
        if self.acks is not None:
            return CannotTell(f"{self.verb.ack.table if self.verb.ack else ''} does not say what became of the change")
        with self.connector.database(self.where).reading(f"reading {self.table}") as connection:
            row = self._row(connection, known)
        return Found(self._made(None, self.verb.set)) if all(same(row[k], v) for k, v in values.items()) else Absent()

    def _made(self, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Outcome:
        target = self.call.target
        number = target.remote_id if target is not None else ":".join(str(v) for v in self.verb.where.values())
        if not after:
            return self.outcome()
        was = None if before is None else {name: shown(value) for name, value in before.items()}
        now = {name: shown(value) for name, value in after.items()}
        return self.outcome(Effect(self.table, number, "update", before=was, after=now))

    def _row(self, connection: "Connection", known: Known) -> Mapping[str, Any]:
        """Read the one row that is meant. Raises NotFound or Conflict."""
        from sqlalchemy import select

        columns = [known.need(name, f"{self.where}: set") for name in self.verb.set]
        found = (
            connection.execute(select(*columns).where(condition(known, self.verb.where)).limit(2)).mappings().fetchall()
        )
        self._one(len(found))
        return dict(found[0])

    def _one(self, count: int) -> None:
        named = ", ".join(self.verb.where)
        if count == 0:
            raise NotFound(f"{self.where}: {self.table} has no row with that {named}")
        if count > 1:
            raise Conflict(f"{self.where}: several rows of {self.table} have that {named}; `where` must name one")


class Handover(LegacyVerb):
    """A file for the system to take. Without an acknowledgement nobody knows whether it did."""

    def do(self) -> Outcome:
        name, folder = checked_name(self.verb.file or ""), self.connector.folder(self.where)
        content = content_of(name, self.verb.set, folder.config.encoding, folder.config.delimiter)
        if not self._is_there(folder):
            raise Invalid(f"folder: there is no folder {folder.place.label} at that path")
        if not self.own(self.verb.set) and self.call.run_id not in name and self.call.key not in name:
            raise MappingError(f"{self.where}: the file's name or a column must hold run.id or run.key")
        self.check_ack()
        self.call.sending({"method": "FILE", "url": f"folder:{name}", "body": dict(self.verb.set)})
        handed_over(folder.place, name, content)
        outcome = self.settled(self._made(name))
        return outcome if self.acks is not None else replace(outcome, status="unknown")

    def find(self) -> Answer:
        name, folder = checked_name(self.verb.file or ""), self.connector.folder(self.where)
        said = self.said(self._made(name))
        if said is not None:
            return said
        content = content_of(name, self.verb.set, folder.config.encoding, folder.config.delimiter)
        try:
            return self._traces(folder.place, name, content)
        except OSError as exc:
            return CannotTell(f"the folder cannot be read now ({type(exc).__name__})")

    def _traces(self, place: Place, name: str, content: bytes) -> Answer:
        """Say what the files in the folder prove."""
        if place.content(name) is not None:
            return CannotTell("the file lies there; the system has not taken it, or has not said so")
        if is_pending(place, name, content):
            return Absent()
        if place.content(receipt_of(name)) is not None:
            return CannotTell("the system has taken the file and has not said what became of it")
        return Absent() if place.is_there() else CannotTell("the folder is not there")

    def _is_there(self, folder: Folder) -> bool:
        try:
            return folder.place.is_there()
        except OSError as exc:
            raise NotSent(f"{self.where}: the folder cannot be reached now ({type(exc).__name__})") from exc

    def _made(self, name: str) -> Outcome:
        return self.outcome(Effect("file", name, "create", after=dict(self.verb.set)))


def _exists(connection: "Connection", known: Known, where: Any) -> bool:
    from sqlalchemy import literal, select

    return connection.execute(select(literal(1)).select_from(known.table).where(where).limit(1)).first() is not None
