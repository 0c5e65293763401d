"""The room `access`: keys, scopes, principals."""

import threading
import time

import pytest

from hub.access import OPERATOR, Keys, Principal, Terms, allows, check_scopes, require, somewhere
from hub.config import ledger_beside
from hub.errors import Conflict, Invalid, NotFound, RateLimited, Refused, Unauthorized
from hub.ledger import Audit
from hub.store import Database
from tests.stores import dump


@pytest.fixture
def database(database_url):
    database = Database(ledger_beside(database_url), "ledger")
    yield database
    database.close()


@pytest.fixture
def keys(database, tmp_path):
    keys = Keys(database, audit=Audit(database, key_file=tmp_path / "audit.key"))
    yield keys
    keys.audit.close()


def test_a_key_is_shown_once_and_kept_as_a_hash(keys, database):
    token, key = keys.create("bot", ["read", "act:*"])
    assert token.startswith("hub_")
    assert len(token) >= 4 + 43
    with database.read() as tx:
        kept = dump(tx)
    assert token not in kept
    assert token[4:] not in kept
    assert key.id in kept


def test_a_token_names_its_principal(keys):
    token, key = keys.create("bot", ["read"])
    assert keys.verify(token) == Principal(key.id, "bot", ("read",))


@pytest.mark.parametrize("token", ["", "hub_", "hub_wrong", "Bearer x", "\udcff", "x" * 10_000])
def test_an_unknown_token_is_refused(keys, token):
    keys.create("bot", ["read"])
    with pytest.raises(Unauthorized) as caught:
        keys.verify(token)
    assert caught.value.error_code == "invalid_key"


def test_a_revoked_key_is_refused_with_the_same_words(keys):
    token, key = keys.create("bot", ["read"])
    revoked = keys.revoke("bot")
    assert revoked.id == key.id
    with pytest.raises(Unauthorized) as first:
        keys.verify(token)
    with pytest.raises(Unauthorized) as second:
        keys.verify("hub_nobody")
    assert first.value.message == second.value.message


def test_revoking_twice_is_no_error_and_keeps_the_first_time(keys):
    keys.create("bot", ["read"])
    first = keys.revoke("bot")
    assert keys.revoke(first.id).revoked_at == first.revoked_at


def test_revoking_nobody_is_told(keys):
    with pytest.raises(NotFound, match="hub keys list"):
        keys.revoke("ghost")


def test_a_name_is_free_again_after_its_key_was_revoked(keys):
    keys.create("bot", ["read"])
    with pytest.raises(Conflict) as caught:
        keys.create("bot", ["read"])
    assert caught.value.error_code == "key_exists"
    keys.revoke("bot")
    token, second = keys.create("bot", ["admin"])
    assert keys.verify(token).id == second.id
    assert keys.revoke("bot").id == second.id
    assert [key.revoked_at is None for key in keys.list()] == [False, False]


def test_a_key_needs_a_name(keys):
    with pytest.raises(Invalid):
        keys.create("  ", ["read"])


def test_the_admin_key_is_made_once(keys):
    token = keys.ensure_admin_key()
    assert token is not None
    assert keys.verify(token).scopes == ("admin",)
    assert keys.ensure_admin_key() is None
    keys.revoke("admin")
    assert keys.ensure_admin_key() is None


def test_many_first_starts_make_one_admin_key(database, keys):
    found, gate = [], threading.Barrier(8)

    def start():
        gate.wait()
        found.append(Keys(database, audit=keys.audit).ensure_admin_key())

    threads = [threading.Thread(target=start) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len([token for token in found if token]) == 1
    assert len(keys.list()) == 1


@pytest.mark.parametrize(
    ("granted", "scope", "connection", "expected"),
    [
        ("admin", "act:payment.refund", "pay", True),
        ("admin", "admin", None, True),
        ("read", "read", None, True),
        ("read", "read:ticket", None, True),
        ("read", "act:ticket.note", None, False),
        ("read:ticket", "read:ticket", None, True),
        ("read:ticket", "read:customer", None, False),
        ("read:ticket", "read", None, False),
        ("act:*", "act:payment.refund", "pay", True),
        ("act:*", "read", None, False),
        ("act:*", "admin", None, False),
        ("act:ticket.*", "act:ticket.note", "desk", True),
        ("act:ticket.*", "act:payment.refund", "pay", False),
        ("act:payment.refund", "act:payment.refund", "pay", True),
        ("act:*@desk", "act:ticket.note", "desk", True),
        ("act:*@desk", "act:ticket.note", "other", False),
        ("act:*@desk", "act:ticket.note", None, False),
        ("act:*@desk-*", "act:ticket.note", "desk-eu", True),
        ("admin@desk", "act:ticket.note", "pay", False),
    ],
)
def test_what_a_scope_covers(granted, scope, connection, expected):
    assert allows(Principal("k", "bot", (granted,)), scope, connection=connection) is expected


def test_a_missing_scope_is_named():
    with pytest.raises(Refused) as caught:
        require(Principal("k", "bot", ("read",)), "act:payment.refund", connection="pay")
    assert caught.value.error_code == "missing_scope"
    assert caught.value.reason == "act:payment.refund@pay"
    assert "act:payment.refund@pay" in caught.value.message


def test_the_operator_may_do_everything():
    require(OPERATOR, "act:payment.refund", connection="pay")


def test_a_scope_of_one_connection_is_enough_to_begin_with():
    assert somewhere(Principal("k", "bot", ("act:*@desk",)), "act:ticket.note")
    assert not somewhere(Principal("k", "bot", ("read",)), "act:ticket.note")


@pytest.mark.parametrize(
    "scopes",
    [[], ["write"], ["act"], ["act:"], ["act:ticket.fly"], ["read:unicorn"], ["act:*@"], ["read tickets"], ["ADMIN"]],
)
def test_scopes_that_could_never_grant_anything_are_refused(scopes, keys):
    with pytest.raises(Invalid) as caught:
        keys.create("bot", scopes)
    assert caught.value.field_path == "scopes"
    assert keys.list() == []


def test_scopes_are_kept_in_order_and_once():
    assert check_scopes(["read", "act:*@desk", "read"]) == ("read", "act:*@desk")


def test_a_rotated_key_keeps_its_id_and_the_old_secret_is_good_for_the_overlap(keys):
    old, key = keys.create("bot", ["read"])
    new, same = keys.rotate("bot", overlap="1s")
    assert new != old
    assert keys.verify(old) == keys.verify(new) == Principal(key.id, "bot", ("read",))
    assert same.id == key.id
    time.sleep(1.05)
    with pytest.raises(Unauthorized):
        keys.verify(old)
    assert keys.verify(new).id == key.id


def test_a_revoked_key_is_not_rotated(keys):
    keys.create("bot", ["read"])
    keys.revoke("bot")
    with pytest.raises(Conflict) as caught:
        keys.rotate("bot")
    assert caught.value.error_code == "key_revoked"


def test_an_expired_key_is_refused_like_an_unknown_one(keys):
    token, _ = keys.create("bot", ["read"], Terms(expires="1s"))
    assert keys.verify(token).name == "bot"
    time.sleep(1.05)
    with pytest.raises(Unauthorized) as caught:
        keys.verify(token)
    assert caught.value.error_code == "invalid_key"


def test_a_key_that_asks_too_often_is_told_to_wait(keys):
    token, _ = keys.create("bot", ["read"], Terms(rate="2/minute"))
    other, _ = keys.create("other", ["read"])
    keys.verify(token)
    keys.verify(token)
    with pytest.raises(RateLimited) as caught:
        keys.verify(token)
    assert caught.value.error_code == "key_rate"
    assert 0 < caught.value.retry_after_s <= 60
    assert keys.verify(other).name == "other"


def test_the_last_use_is_written_at_most_once_a_minute(keys):
    token, _ = keys.create("bot", ["read"])
    assert keys.list()[0].last_used_at is None
    keys.verify(token)
    first = keys.list()[0].last_used_at
    time.sleep(0.01)
    keys.verify(token)
    assert first is not None
    assert keys.list()[0].last_used_at == first


def test_a_ceiling_is_part_of_who_asks(keys):
    token, _ = keys.create("bot", ["read"], Terms(ceilings=["500.00 EUR", "5000 JPY"]))
    assert keys.verify(token).ceilings == (("EUR", 50000), ("JPY", 5000))


@pytest.mark.parametrize(
    "terms", [Terms(expires="soon"), Terms(rate="often"), Terms(ceilings=["much"]), Terms(expires="0s")]
)
def test_wrong_terms_make_no_key(keys, terms):
    with pytest.raises(Invalid):
        keys.create("bot", ["read"], terms)
    assert keys.list() == []


@pytest.mark.parametrize("scope", ["act:*@nope", "act:ticket.*@stripe-*", "read:ticket@desk", "read@desk"])
def test_a_scope_of_no_connection_or_one_that_reads_cannot_honour_is_refused(database, keys, scope):
    with pytest.raises(Invalid) as caught:
        Keys(database, connections=["desk"], audit=keys.audit).create("bot", [scope])
    assert caught.value.field_path == "scopes"


@pytest.mark.parametrize("scope", ["act:*@desk", "act:*@de*", "approve:leads", "approve:*", "assert:verification"])
def test_scopes_of_people_and_connections_that_are_there_are_taken(database, keys, scope):
    assert Keys(database, connections=["desk"], audit=keys.audit).create("bot", [scope])[1].scopes == (scope,)


def test_who_asked_is_known_only_as_long_as_the_key_is_good(keys):
    _, key = keys.create("bot", ["read"])
    assert keys.principal(key.id).name == "bot"
    assert keys.principal("local") == OPERATOR
    keys.revoke("bot")
    with pytest.raises(Refused) as caught:
        keys.principal(key.id)
    assert caught.value.error_code == "asker_gone"
