"""
Who may do what: API keys, their scopes, and the local operator.

A key is `hub_` and 256 random bits; only its SHA-256 is kept, so a lost key is replaced, never shown again.
A scope is `admin` (everything), `read`, `read:<kind>`, `act:<action>`, `approve:<group>` or `assert:verification`; the
part after the colon may be a pattern (`act:*`, `act:ticket.*`). `@<connection>` at the end of an `act:` scope confines
it to one connection; what is read may come from several, so read scopes know no connection.
"""

import fnmatch
import hashlib
import hmac
import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from hub import money
from hub.actions import CATALOGUE, Action
from hub.config import did_you_mean, duration_s
from hub.errors import Conflict, HubError, Invalid, NotFound, RateLimited, Refused, Unauthorized
from hub.ledger import Audit
from hub.records import KINDS
from hub.store import Database

TOKEN_PREFIX = "hub_"  # noqa: S105
ADMIN = "admin"
ASSERTS = "assert:verification"
_SCOPE = re.compile(
    r"(admin|read|assert:verification|(?:read|act):[a-z0-9_.*?]+|approve:[a-z0-9_*?-]+)(?:@([a-z0-9_*?-]+))?"
)
_COLUMNS = "id, name, scopes, created_at, revoked_at, expires_at, rate, ceilings, last_used_at"
_USED_EVERY_S = 60.0
OVERLAP = "24h"
log = logging.getLogger("hub.access")


@dataclass(frozen=True)
class Principal:
    """
    Who asks: a key, or the local operator. `id` scopes idempotency keys.

    `ceilings` holds the most money in minor units that it may move in a day, by currency.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    ceilings: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Key:
    """An API key as it may be listed."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: str
    revoked_at: str | None = None
    expires_at: str | None = None
    rate: str | None = None
    ceilings: Mapping[str, int] = field(default_factory=dict)
    last_used_at: str | None = None


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


def check_scopes(
    scopes: Sequence[str],
    *,
    actions: Sequence[type[Action]] = CATALOGUE,
    connections: Collection[str] | None = None,
) -> tuple[str, ...]:
    """
    Refuse scopes that could never grant anything. Raises Invalid naming the scope and what is known.

    `connections` are those configured; None where nobody knows.
    """
    if not scopes:
        raise Invalid("a key needs at least one scope, such as read or act:*", field_path="scopes")
    known = {"act": [a.name for a in actions], "read": list(KINDS)}
    for scope in scopes:
        found = _SCOPE.fullmatch(scope)
        if found is None:
            text = "expected admin, read, read:<kind>, act:<action>[@<connection>], approve:<group> or " + ASSERTS
            raise Invalid(f"scope {scope[:60]!r}: {text}", field_path="scopes")
        verb, _, what = found[1].partition(":")
        if what and verb in known and not fnmatch.filter(known[verb], what):
            raise Invalid(f"scope {scope!r}: names none of {', '.join(known[verb])}", field_path="scopes")
        _check_where(scope, verb, found[2], connections)
    return tuple(dict.fromkeys(scopes))


def _check_where(scope: str, verb: str, where: str | None, connections: Collection[str] | None) -> None:
    if where is None:
        return
    if verb not in ("act", "admin"):
        text = "only act:<action> can be confined to a connection; what is read may come from several"
        raise Invalid(f"scope {scope!r}: {text}", field_path="scopes")
    if connections is not None and not fnmatch.filter(connections, where):
        hint = did_you_mean(where, connections)
        raise Invalid(f"scope {scope!r}: there is no connection {where}{hint}", field_path="scopes")


@dataclass(frozen=True)
class Terms:
    """
    What a key may besides its scopes, as a person writes it.

    `expires` is a duration ("90d"), `rate` such as "60/minute", `ceilings` the money a day ("500.00 EUR").
    """

    expires: str | None = None
    rate: str | None = None
    ceilings: Sequence[str] = ()

    def checked(self) -> dict[str, Any]:
        """Give what is kept of them. Raises Invalid naming the first that is wrong."""
        rate = self.rate
        if rate is not None:
            _rate(rate)
        ceilings = {found.currency: found.amount for found in map(money.parse, self.ceilings)}
        return {
            "expires_at": None if self.expires is None else _later(self.expires),
            "rate": rate,
            "ceilings": ceilings,
        }


def _rate(text: str) -> RateLimitItem:
    try:
        return parse(text)
    except ValueError as exc:
        raise Invalid(f'rate {text[:40]!r}: expected such as "60/minute" or "5/second"', field_path="rate") from exc


def _later(duration: str) -> str:
    try:
        return _stamp(datetime.now(UTC) + timedelta(seconds=duration_s(duration)))
    except (ValueError, OverflowError) as exc:
        text = f'{duration[:40]!r}: expected a duration such as "90d" or "12h"'
        raise Invalid(text, field_path="expires") from exc


class Keys:
    """
    The API keys in the ledger's database, whose audit tells of each. Rates are kept per process.

    `actions` and `connections` are those that scopes may name.
    """

    def __init__(
        self,
        database: Database,
        *,
        actions: Sequence[type[Action]] = CATALOGUE,
        audit: Audit | None = None,
        connections: Collection[str] | None = None,
    ) -> None:
        self.database = database
        self.actions = actions
        self.connections = connections
        self.audit = audit or Audit(database)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()

    def create(self, name: str, scopes: Sequence[str], terms: Terms = Terms()) -> tuple[str, Key]:
        """Make a key; the token is given this once. Raises Invalid for a bad scope, Conflict for a name in use."""
        checked = check_scopes(scopes, actions=self.actions, connections=self.connections)
        kept = terms.checked()
        with self.database.write() as tx:
            made = self._create(tx, name, checked, kept)
        self.audit.sign_soon()
        return made

    def rotate(self, id_or_name: str, *, overlap: str = OVERLAP) -> tuple[str, Key]:
        """
        Give a key another token; the one before is good for `overlap` more. Id, scopes and terms stay.

        Raises NotFound, and Conflict for a key that was revoked.
        """
        key, until = self._find(id_or_name), _later(overlap)
        if key.revoked_at:
            raise Conflict(f"key {key.id} was revoked; make a new one", code="key_revoked")
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        with self.database.write() as tx:
            sql = (
                "UPDATE principal_key SET old_hash = hash, old_until = ?, hash = ? WHERE id = ? AND revoked_at IS NULL"
            )
            tx.execute(sql, (until, _digest(token), key.id))
            self.audit.append(tx, "key_rotated", principal=OPERATOR.id, key_id=key.id)
        self.audit.sign_soon()
        return token, key

    def principal(self, key_id: str) -> Principal:
        """Give who a key is. Raises Refused where it is no longer good."""
        if key_id == OPERATOR.id:
            return OPERATOR
        key = next((key for key in self.list() if key.id == key_id), None)
        if key is None or key.revoked_at or (key.expires_at is not None and key.expires_at <= _now()):
            raise Refused("who asked for this no longer has a valid key", code="asker_gone")
        return _principal(key)

    def list(self) -> list[Key]:
        """List all keys, revoked ones too, oldest first."""
        with self.database.read() as tx:
            sql = f"SELECT {_COLUMNS} FROM principal_key ORDER BY created_at, id"  # noqa: S608
            return [_key(row) for row in tx.execute(sql).fetchall()]

    def verify(self, token: str) -> Principal:
        """
        Say whose token this is. Raises RateLimited beyond its rate, and Unauthorized, the same for one that is unknown,
        revoked, expired, or rotated and past its overlap.
        """
        digest, at = _digest(token), _now()
        with self.database.read() as tx:
            sql = f"SELECT {_COLUMNS}, hash, old_hash, old_until FROM principal_key WHERE hash = ? OR old_hash = ?"  # noqa: S608
            row = tx.execute(sql, (digest, digest)).fetchone()
        hashes = [row[-3], *([row[-2]] if row[-2] and row[-1] > at else [])] if row else ["0" * len(digest)]
        known = any(hmac.compare_digest(one, digest) for one in hashes)
        key = _key(row[:-3]) if row else None
        if key is None or not known or key.revoked_at or (key.expires_at is not None and key.expires_at <= at):
            raise Unauthorized("this API key is not known here, was revoked or has expired", code="invalid_key")
        self._within_rate(key)
        self._note_use(key, at)
        return _principal(key)

    def _within_rate(self, key: Key) -> None:
        if key.rate is None:
            return
        rate = parse(key.rate)
        if not self._limiter.hit(rate, key.id):
            wait = max(0.1, self._limiter.get_window_stats(rate, key.id).reset_time - time.time())
            raise RateLimited(f'the key "{key.name}" may ask {key.rate}', code="key_rate", retry_after_s=wait)

    def _note_use(self, key: Key, at: str) -> None:
        """Write the last use down, at most once a minute; a ledger that cannot be written stops no read."""
        moment = time.monotonic()
        with self._lock:
            if moment - self._used.get(key.id, -_USED_EVERY_S) < _USED_EVERY_S:
                return
            self._used[key.id] = moment
        try:
            with self.database.write() as tx:
                tx.execute("UPDATE principal_key SET last_used_at = ? WHERE id = ?", (at, key.id))
        except HubError as exc:
            log.warning("the last use of key %s could not be written: %s", key.id, exc.message)

    def revoke(self, id_or_name: str) -> Key:
        """Revoke a key for good; to revoke it again is no error. Raises NotFound."""
        key = self._find(id_or_name)
        if key.revoked_at:
            return key
        at = _now()
        with self.database.write() as tx:
            sql = "UPDATE principal_key SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
            if tx.execute(sql, (at, key.id)).rowcount:
                self.audit.append(tx, "key_revoked", principal=OPERATOR.id, key_id=key.id)
        self.audit.sign_soon()
        return replace(key, revoked_at=at)

    def _find(self, id_or_name: str) -> Key:
        found = [key for key in self.list() if id_or_name in (key.id, key.name)]
        if not found:
            raise NotFound("there is no such key; `hub keys list` shows them")
        return next((key for key in found if not key.revoked_at), found[0])

    def ensure_admin_key(self) -> str | None:
        """Make the first key, with the scope admin, and give its token; None where there has ever been a key."""
        with self.database.read() as tx:
            if tx.execute("SELECT 1 FROM principal_key LIMIT 1").fetchone():
                return None
        with self.database.write() as tx:
            if tx.execute("SELECT 1 FROM principal_key LIMIT 1").fetchone():
                return None
            return self._create(tx, "admin", (ADMIN,), Terms().checked())[0]

    def _create(self, tx: Any, name: str, scopes: tuple[str, ...], terms: dict[str, Any]) -> tuple[str, Key]:
        name = name.strip()
        if not 1 <= len(name) <= 100:
            raise Invalid("a key's name has 1 to 100 characters", field_path="name")
        if tx.execute("SELECT 1 FROM principal_key WHERE name = ? AND revoked_at IS NULL", (name,)).fetchone():
            raise Conflict(
                f'there is a key "{name}" already; revoke it first, or choose another name', code="key_exists"
            )
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        key = Key("key_" + secrets.token_hex(8), name, scopes, _now(), **terms)
        row = (key.id, key.name, _digest(token), json.dumps(scopes), key.created_at, key.expires_at, key.rate)
        columns = "id, name, hash, scopes, created_at, expires_at, rate, ceilings"
        sql = f"INSERT INTO principal_key ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
        tx.execute(sql, (*row, json.dumps(key.ceilings)))
        told: dict[str, Any] = {"key_id": key.id, "scopes": scopes, "ceilings": key.ceilings or None}
        self.audit.append(tx, "key_created", principal=OPERATOR.id, hashed={"name": name.encode()}, **told)
        return token, key


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _now() -> str:
    return _stamp(datetime.now(UTC))


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _key(row: Any) -> Key:
    id, name, scopes, created_at, revoked_at, expires_at, rate, ceilings, used = row
    most = json.loads(ceilings) if ceilings else {}
    return Key(id, name, tuple(json.loads(scopes)), created_at, revoked_at, expires_at, rate, most, used)


def _principal(key: Key) -> Principal:
    return Principal(key.id, key.name, key.scopes, tuple(sorted(key.ceilings.items())))
