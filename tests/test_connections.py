"""Connections: opened once, from settings, and what is wrong with those said plainly."""

import pytest
from pydantic import SecretStr

from hub.config import ConnectionSettings, Settings
from hub.connections import Connections
from hub.connector import Connector, ConnectorConfig, Outcome, Page, act, pull
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


class LedgerConnector(ShopConnector):
    name = "ledger"
    mapping = TICKETS + VERB


def connections(cls=ShopConnector, vault=None, **options):
    table = ConnectionSettings(connector=cls.name, options={"token": "a-secret-token", **options})
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
