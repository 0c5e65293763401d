"""Connections: opened once, from settings, and what is wrong with those said plainly."""

import pytest
from pydantic import SecretStr

from hub.config import ConnectionSettings, Settings
from hub.connections import Connections
from hub.connector import Connector, ConnectorConfig, Limit, Outcome, Page, act, pull
from hub.errors import ConfigError, Invalid, MappingError
from hub.plugins import Plugins
from hub.vault import HIDDEN, Vault

TICKETS = '[tickets]\nkind = "ticket"\nkey = "id"\n[tickets.fields]\nsubject = "title"\n'
VERB = '[actions."payment.refund"]\ninsert = "refunds"\nset = { amount = "amount.major" }\n'


class ShopConfig(ConnectorConfig):
    token: SecretStr
    api: str = "https://api.shop.example/v1"


class ShopConnector(Connector):
    name = "shop"
    Config = ShopConfig
    mapping = TICKETS

    @classmethod
    def hosts(cls, config):
        return ("shop.example",)

    @pull("tickets")
    def tickets(self, stream, cursor):
        yield Page(records=[])

    @act("*", idempotency="ack")
    def book(self, action, call):
        return Outcome()


class BusyConnector(ShopConnector):
    name = "busy"
    limits = (Limit("export", 10, per_s=60, match="/export", reserve=0), Limit("api", 400, per_s=60))


class LedgerConnector(ShopConnector):
    name = "ledger"
    mapping = TICKETS + VERB


def connections(cls=ShopConnector, vault=None, common=None, **options):
    table = ConnectionSettings(connector=cls.name, options={"token": "a-secret-token", **options}, **(common or {}))
    return Connections(Settings(connections={"mine": table}), Plugins(connectors={cls.name: cls}), vault)


def test_a_connection_is_opened_once_and_makes_no_request():
    opened = connections()
    assert opened.open("mine") is opened.open("mine")
    assert opened.open("mine").mapping.streams() == ["tickets"]


def test_an_unknown_connection_is_told_with_those_there_are():
    with pytest.raises(ConfigError, match=r'connection "mien" is not configured.*"mine"'):
        connections().open("mien")


def test_it_owns_the_hosts_its_connector_declares_and_those_of_its_own_settings():
    transport = connections().open("mine").transport
    transport.guard("https://shop.example/x")
    transport.guard("https://api.shop.example/v1/x")
    with pytest.raises(Invalid, match="does not own"):
        transport.guard("https://elsewhere.example/x")


def test_any_legacy_verb_of_the_mapping_is_something_it_can_do():
    assert connections().open("mine").can("payment.refund") is None
    assert connections(LedgerConnector).open("mine").can("payment.refund").idempotency == "ack"
    assert connections(LedgerConnector).open("mine").can("ticket.reply") is None


def test_a_mapping_that_is_wrong_is_told_when_the_connection_opens():
    class Wrong(ShopConnector):
        mapping = TICKETS + 'nonsense = "x"\n'

    with pytest.raises(MappingError, match="nonsense"):
        connections(Wrong).open("mine")


def test_secrets_of_open_connections_are_taken_out_of_text():
    vault = Vault()
    connections(vault=vault).open("mine")
    assert vault.scrub("401 for a-secret-token at shop") == f"401 for {HIDDEN} at shop"
    assert Vault().scrub("nothing is known yet") == "nothing is known yet"


def test_limits_are_kept_towards_the_vendor_and_on_loopback_only_where_that_is_asked():
    local = {"base_url": "http://127.0.0.1:9"}
    always = {"limits": {"enforce": "always"}}
    for common, on in (
        ({}, True),
        (local, False),
        (local | always, True),
        ({"base_url": "https://proxy.example"}, True),
    ):
        assert connections(BusyConnector, common=common).open("mine").transport.pace.on is on


def test_an_account_with_a_better_plan_has_other_counts():
    pace = connections(BusyConnector, common={"limits": {"counts": {"api": 700}}}).open("mine").transport.pace
    assert [(limit.name, limit.count, limit.spare) for limit in pace.limits] == [("export", 10, 0), ("api", 700, 70)]


@pytest.mark.parametrize(
    ("cls", "said"), [(BusyConnector, 'no limit is called "exprot".*"export"'), (ShopConnector, "has no limits")]
)
def test_a_count_of_no_limit_is_told(cls, said):
    with pytest.raises(ConfigError, match=rf"\[connections.mine\] limits.counts: .*{said}"):
        connections(cls, common={"limits": {"counts": {"exprot": 30}}}).open("mine")
