"""Books for tests of the audit: a ledger with its chain, its key and its head, and ways to spoil them."""

import json
import shutil
from contextlib import closing, contextmanager

from hub.config import ledger_beside
from hub.ledger import Audit, Ledger, Move, NewRun, NewStep, verify
from hub.store import Database, is_postgres

LENGTH = 14
COLUMNS = ("at", "kind", "principal", "run_id", "facts", "key", "prev_hash", "hash")
PLAN = json.dumps({"verdict": {"verdict": "allow", "rule": "small"}, "changes": ["Ada Marker"]}).encode()
ASKED = json.dumps({"input": {"body": "Ada Marker", "ticket_ref": "t"}, "reason": "Ada Marker"}).encode()
DONE = json.dumps({"effects": [{"object": "note", "remote_id": "7", "op": "create", "after": {"body": "Ada Marker"}}]})


def wish(key="k1", **more):
    given = {"action": "ticket.note", "principal": "key_1", "body_hash": "aa", "idempotency_key": f"Ada Marker {key}"}
    steps = (NewStep("desk", b'{"fields": {"text": "Ada Marker"}}'),)
    return NewRun(**(given | {"request": ASKED, "plan": PLAN, "steps": steps} | more))


def act(ledger, key="k1"):
    """Take one run through all its states."""
    new, _ = ledger.claim(wish(key), owner="me")
    step = ledger.begin(new.steps[0], owner="me")
    ledger.settle(step, Move("done", outcome=DONE.encode()), closing=lambda _: ("succeeded", b'"Ada Marker"'))
    return new.id


class Books:
    """A ledger with its key and its head in a folder; the ledger itself may be on Postgres."""

    def __init__(self, folder, url):
        self.folder = folder
        self.hub = url if is_postgres(url) else f"sqlite:///{folder / 'hub.db'}"
        self.url = ledger_beside(self.hub)

    def examples(self, most):
        """Give how many examples to try: a Postgres takes its time with each."""
        return most // 4 if is_postgres(self.url) else most

    def open(self):
        return Ledger.open(self.url, audit_key=self.folder / "audit.key")

    @contextmanager
    def audit(self):
        with closing(Database(self.url, "ledger")) as database:
            yield Audit(database, key_file=self.folder / "audit.key")

    def tamper(self, *statements):
        with self.audit() as audit, audit.database.write() as tx:
            for statement in statements:
                tx.execute(*statement) if isinstance(statement, tuple) else tx.execute(statement)

    def take(self, rows, *files):
        """Have these rows in place of those that are here, and copies of these files."""
        for file in files:
            shutil.copy(file, self.folder)
        with self.audit() as audit, audit.database.write() as tx:
            tx.execute("DELETE FROM audit")
            tx.executemany(f"INSERT INTO audit (seq, {', '.join(COLUMNS)}) VALUES ({'?, ' * len(COLUMNS)}?)", rows)

    def rows(self):
        with self.audit() as audit:
            return list(audit.rows())


def checked(books, **more):
    with books.audit() as audit:
        return verify(audit, **more)


def named(found):
    return {seq for problem in found.problems if problem.seq for seq in range(problem.seq, problem.last + 1)}


def customer(number, **fields):
    return json.dumps({"id": f"cus_{number}", "kind": "customer"} | fields).encode()


def disclosed(audit):
    found = {}
    for row in audit.rows():
        if row.kind == "disclosure":
            for part in row.as_dict()["facts"]["shown"]:
                for id in part["ids"]:
                    found.setdefault((row.principal, part["kind"], id), set()).add(tuple(part["fields"]))
    return found
