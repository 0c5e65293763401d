"""How the Salesforce connector signs in, and where its token may go."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import ValidationError

from hub import Invalid, Temporary, Transport, Unauthorized
from hub.sandbox import World
from hub.transport import Captured, Patience, capturing, watch
from hub_salesforce.config import SalesforceConfig
from hub_salesforce.connector import SalesforceConnector
from hub_salesforce.sandbox import SalesforceSandbox

PASSWORD = {"username": "ops@acme.example", "password": "sandbox-password", "security_token": "sandbox-token"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SalesforceSandbox]:
    with SalesforceSandbox(World(customers=10)) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def anew(sandbox: SalesforceSandbox) -> None:
    sandbox.reset()


def connected(sandbox: SalesforceSandbox, **settings: Any) -> SalesforceConnector:
    config = SalesforceConfig(**settings)
    hosts = SalesforceConnector.hosts(config)
    patience = Patience(backoff_s=0.01)
    return SalesforceConnector(config, Transport("sf", hosts=hosts, base_url=sandbox.url, patience=patience))


def test_a_password_signs_in_and_owns_the_instance_named(sandbox: SalesforceSandbox) -> None:
    connector = connected(sandbox, **PASSWORD)
    assert connector.hosts(connector.config) == ("login.salesforce.com",)
    assert connector.check().account.startswith("00D")
    assert sandbox.instance in connector.transport.owned  # type: ignore[attr-defined]


def test_a_wrong_password_is_unauthorized_and_not_shown(sandbox: SalesforceSandbox) -> None:
    connector = connected(sandbox, **{**PASSWORD, "password": "guessed-wrong"})
    with pytest.raises(Unauthorized, match="INVALID_LOGIN") as caught:
        connector.check()
    assert "guessed-wrong" not in str(caught.value)
    assert len(sandbox.ledger) == 1, "wrong passwords lock users out"


def test_characters_that_mean_something_in_xml_are_fine_in_a_password(sandbox: SalesforceSandbox) -> None:
    sandbox.logins["a&b@acme.example"] = 'p<w>&"d'
    connector = connected(sandbox, username="a&b@acme.example", password='p<w>&"d')
    assert connector.check()


def test_an_expired_session_is_renewed_where_there_is_a_password(sandbox: SalesforceSandbox) -> None:
    connector = connected(sandbox, **PASSWORD)
    connector.check()
    sandbox.expire_sessions()
    assert connector.check()


def test_an_expired_session_id_is_unauthorized(sandbox: SalesforceSandbox) -> None:
    connector = connected(sandbox, instance=sandbox.instance, session_id=sandbox.session_id)
    connector.check()
    sandbox.expire_sessions()
    with pytest.raises(Unauthorized, match="INVALID_SESSION_ID"):
        connector.check()


def test_client_credentials_sign_in(sandbox: SalesforceSandbox) -> None:
    given = {"instance": sandbox.instance, "client_id": "sandbox-client"}
    assert connected(sandbox, **given, client_secret="sandbox-client-secret").check()
    with pytest.raises(Unauthorized, match="invalid_grant"):
        connected(sandbox, **given, client_secret="wrong").check()


def test_a_signed_jwt_signs_in(sandbox: SalesforceSandbox, tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    given = {"client_id": "sandbox-client", "username": "ops@acme.example"}
    assert connected(sandbox, **given, private_key_file=tmp_path / "key.pem").check()
    (tmp_path / "odd.pem").write_text("no key at all")
    for name in ("none.pem", "odd.pem"):
        with pytest.raises(Unauthorized, match="private_key_file"):
            connected(sandbox, **given, private_key_file=tmp_path / name).check()


def test_a_log_in_that_names_a_foreign_instance_is_refused(
    sandbox: SalesforceSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for foreign in ("evil.example", "salesforce.com.evil.example", "notsalesforce.com"):
        monkeypatch.setattr(sandbox, "instance", foreign, raising=False)
        with pytest.raises(Unauthorized, match=r"not under salesforce\.com"):
            connected(sandbox, **PASSWORD).check()


def test_the_token_goes_to_no_other_host(sandbox: SalesforceSandbox) -> None:
    connector = connected(sandbox, instance=sandbox.instance, session_id=sandbox.session_id)
    with pytest.raises(Invalid, match="does not own"):
        connector.transport.get("https://elsewhere.example/x")


def test_a_log_in_may_happen_in_a_preview(sandbox: SalesforceSandbox) -> None:
    connector = connected(sandbox, **PASSWORD)
    with capturing():
        assert connector.check()
    with pytest.raises(Captured), capturing():
        connector.client.write("POST", "sobjects/Contact", {"LastName": "Doe"}, "create Contact")


def test_a_session_that_expires_in_a_preview_is_renewed_without_showing_the_password(
    sandbox: SalesforceSandbox,
) -> None:
    connector = connected(sandbox, **PASSWORD)
    connector.check()
    sandbox.expire_sessions()
    with capturing():
        assert connector.check()
    sandbox.expire_sessions()
    with watch() as flights:
        connector.client.write("POST", "sobjects/Contact", {"LastName": "Doe"}, "create Contact")
    assert [(flight.url.rpartition("/")[2], flight.status) for flight in flights] == [
        ("Contact", 401),
        ("Contact", 201),
    ]
    assert len(sandbox.effects()) == 1


def test_a_session_that_is_refused_at_once_ends_in_unauthorized(
    sandbox: SalesforceSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = connected(sandbox, **PASSWORD)
    monkeypatch.setattr(sandbox, "_new_session", lambda: "00DHb000000000A!refused")
    with pytest.raises(Unauthorized, match="INVALID_SESSION_ID"):
        connector.check()
    assert len(sandbox.ledger) == 2


def test_a_log_in_server_that_is_down_is_temporary(sandbox: SalesforceSandbox) -> None:
    sandbox.fault("POST /services/Soap", "status:503", 10)
    with pytest.raises(Temporary):
        connected(sandbox, **PASSWORD).check()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "expected session_id and instance"),
        ({"session_id": "x"}, "session_id needs instance"),
        ({"session_id": "x", "instance": "not a host"}, "expected a host name"),
        ({"session_id": "x", "instance": "acme.my.salesforce.com", "api_version": "61"}, "api_version"),
        ({"client_id": "x", "client_secret": "y"}, "client_secret needs instance"),
        ({"session_id": "x", "instance": "acme.my.salesforce.com", "colour": "red"}, "colour"),
    ],
)
def test_settings_that_lead_nowhere_are_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SalesforceConfig(**settings)


def test_an_instance_may_be_written_as_a_url() -> None:
    config = SalesforceConfig(instance="https://Acme.my.salesforce.com/", session_id="x")
    assert config.instance == "acme.my.salesforce.com"
    assert SalesforceConnector.hosts(config) == ("acme.my.salesforce.com",)


def test_no_sdk_is_imported_before_a_connection_is_used() -> None:
    import subprocess
    import sys

    code = "import hub_salesforce, hub_salesforce.connector, sys; sys.exit('simple_salesforce' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
