"""
Who may do what: API keys, their scopes, and the local operator.

A key is `hub_` and 256 random bits; only its SHA-256 is kept, so a lost key is replaced, never shown again.
A scope is `admin` (everything), `read`, `read:<kind>` or `act:<action>`, where the part after the colon may be a
pattern (`act:*`, `act:ticket.*`); `@<connection>` at its end confines it to one connection.
"""

import fnmatch
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hub.actions import CATALOGUE, Action
from hub.errors import Conflict, Invalid, NotFound, Refused, Unauthorized
from hub.records import KINDS
from hub.store import Database

TOKEN_PREFIX = "hub_"  # noqa: S105
ADMIN = "admin"
_SCOPE = re.compile(r"(admin|read|(?:read|act):[a-z0-9_.*?]+)(?:@([a-z0-9_*?-]+))?")
_COLUMNS = "id, name, scopes, created_at, revoked_at"


@dataclass(frozen=True)
class Principal:
    """Who asks: a key, or the local operator. `id` scopes idempotency keys."""

    id: str
    name: str
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class Key:
    """An API key as it may be listed."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: str
    revoked_at: str | None = None


OPERATOR = Principal("local", "local operator", (ADMIN,))
"""Who runs the command line on the files themselves."""


def allows(principal: Principal, scope: str, *, connection: str | None = None) -> bool:
    """Say whether one of the principal's scopes covers this one (in this connection, where one is named)."""
    return any(_covers(granted, scope, connection) for granted in principal.scopes)


def require(principal: Principal, scope: str, *, connection: str | None = None) -> None:
    """Raise Refused, naming the missing scope, unless the principal has it."""
    if not allows(principal, scope, connection=connection):
        missing = f"{scope}@{connection}" if connection else scope
        raise Refused(f'the key "{principal.name}" lacks the scope {missing}', code="missing_scope", reason=missing)


def _covers(granted: str, scope: str, connection: str | None) -> bool:
    pattern, _, where = granted.partition("@")
    if where and (connection is None or not fnmatch.fnmatchcase(connection, where)):
        return False
    return pattern == ADMIN or (pattern == "read" and scope.startswith("read:")) or fnmatch.fnmatchcase(scope, pattern)


def somewhere(principal: Principal, scope: str) -> bool:
    """Say whether the principal has this scope in any connection; which ones is asked once they are known."""
    return any(_covers(granted.partition("@")[0], scope, None) for granted in principal.scopes)


def check_scopes(scopes: Sequence[str], *, actions: Sequence[type[Action]] = CATALOGUE) -> tuple[str, ...]:
    """Refuse scopes that could never grant anything. Raises Invalid naming the scope and what is known."""
    if not scopes:
        raise Invalid("a key needs at least one scope, such as read or act:*", field_path="scopes")
    known = {"act": [a.name for a in actions], "read": list(KINDS)}
    for scope in scopes:
        found = _SCOPE.fullmatch(scope)
        if found is None:
            text = "expected admin, read, read:<kind> or act:<action>, with @<connection> if need be"
            raise Invalid(f"scope {scope[:60]!r}: {text}", field_path="scopes")
        verb, _, what = found[1].partition(":")
        if what and not fnmatch.filter(known[verb], what):
            raise Invalid(f"scope {scope!r}: names none of {', '.join(known[verb])}", field_path="scopes")
    return tuple(dict.fromkeys(scopes))


class Keys:
    """The API keys in the ledger's database. `actions` are those that scopes may name."""

    def __init__(self, database: Database, *, actions: Sequence[type[Action]] = CATALOGUE) -> None:
        self.database = database
        self.actions = actions

    def create(self, name: str, scopes: Sequence[str]) -> tuple[str, Key]:
        """Make a key; the token is given this once. Raises Invalid for a bad scope, Conflict for a name in use."""
        with self.database.write() as tx:
            return self._create(tx, name, check_scopes(scopes, actions=self.actions))

    def list(self) -> list[Key]:
        """List all keys, revoked ones too, oldest first."""
        with self.database.read() as tx:
            sql = f"SELECT {_COLUMNS} FROM principal_key ORDER BY created_at, id"  # noqa: S608
            return [_key(row) for row in tx.execute(sql).fetchall()]

    def verify(self, token: str) -> Principal:
        """Say whose token this is. Raises Unauthorized, the same for an unknown and for a revoked one."""
        digest = _digest(token)
        with self.database.read() as tx:
            sql = f"SELECT hash, {_COLUMNS} FROM principal_key WHERE hash = ?"  # noqa: S608
            row = tx.execute(sql, (digest,)).fetchone()
        known = row[0] if row else "0" * len(digest)
        if not hmac.compare_digest(known, digest) or row is None or row[5] is not None:
            raise Unauthorized("this API key is not known here, or was revoked", code="invalid_key")
        key = _key(row[1:])
        return Principal(key.id, key.name, key.scopes)

    def revoke(self, id_or_name: str) -> Key:
        """Revoke a key for good; to revoke it again is no error. Raises NotFound."""
        key = next((k for k in self.list() if id_or_name in (k.id, k.name) and not k.revoked_at), None)
        key = key or next((k for k in self.list() if id_or_name in (k.id, k.name)), None)
        if key is None:
            raise NotFound("there is no such key; `hub keys list` shows them")
        if key.revoked_at:
            return key
        at = _now()
        with self.database.write() as tx:
            tx.execute("UPDATE principal_key SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (at, key.id))
        return Key(key.id, key.name, key.scopes, key.created_at, at)

    def ensure_admin_key(self) -> str | None:
        """Make the first key, with the scope admin, and give its token; None where there has ever been a key."""
        with self.database.read() as tx:
            if tx.execute("SELECT 1 FROM principal_key LIMIT 1").fetchone():
                return None
        with self.database.write() as tx:
            if tx.execute("SELECT 1 FROM principal_key LIMIT 1").fetchone():
                return None
            return self._create(tx, "admin", (ADMIN,))[0]

    def _create(self, tx: Any, name: str, scopes: tuple[str, ...]) -> tuple[str, Key]:
        name = name.strip()
        if not 1 <= len(name) <= 100:
            raise Invalid("a key's name has 1 to 100 characters", field_path="name")
        if tx.execute("SELECT 1 FROM principal_key WHERE name = ? AND revoked_at IS NULL", (name,)).fetchone():
            raise Conflict(
                f'there is a key "{name}" already; revoke it first, or choose another name', code="key_exists"
            )
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        key = Key("key_" + secrets.token_hex(8), name, scopes, _now())
        row = (key.id, key.name, _digest(token), json.dumps(scopes), key.created_at)
        tx.execute("INSERT INTO principal_key (id, name, hash, scopes, created_at) VALUES (?, ?, ?, ?, ?)", row)
        return token, key


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _key(row: Any) -> Key:
    return Key(row[0], row[1], tuple(json.loads(row[2])), row[3], row[4])
