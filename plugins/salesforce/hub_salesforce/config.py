"""Settings of a Salesforce connection, and which of the ways to sign in they mean."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from hub import ConnectorConfig

SignIn = Literal["session", "password", "jwt", "client_credentials"]
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_API_NAME = r"^[A-Za-z][A-Za-z0-9_]{0,79}$"


def _instance(value: str) -> str:
    host = value.strip().removeprefix("https://").rstrip("/").lower()
    if not _HOST.fullmatch(host) or "." not in host:
        raise ValueError('expected a host name such as "acme.my.salesforce.com"')
    return host


def _domain(value: str) -> str:
    name = value.strip().lower().removesuffix(".salesforce.com")
    if not _HOST.fullmatch(name):
        raise ValueError('expected "login", "test" or a My Domain such as "acme.my"')
    return name


class SalesforceConfig(ConnectorConfig):
    """
    One of four ways to sign in.

    `instance` and `session_id`; or `username`, `password` and `security_token`; or `instance`, `client_id` and
    `client_secret` (client credentials); or `client_id`, `username` and `private_key_file` (JWT bearer).
    """

    instance: Annotated[str, AfterValidator(_instance)] | None = Field(
        None, description="the org's host", examples=["acme.my.salesforce.com"]
    )
    session_id: SecretStr | None = Field(None, description="a session id or access token")
    username: str | None = Field(None, description="for a log-in by password or JWT")
    password: SecretStr | None = None
    security_token: SecretStr = Field(
        SecretStr(""), description="appended to the password; empty from trusted networks"
    )
    client_id: str | None = Field(None, description="consumer key of a connected app")
    client_secret: SecretStr | None = None
    private_key_file: Path | None = Field(None, description="PEM file that signs the JWT")
    domain: Annotated[str, AfterValidator(_domain)] = Field("login", description="login, test, or a My Domain")
    api_version: str = Field("61.0", pattern=r"^[0-9]{2,3}\.0$", description="REST API version")
    external_id_field: str = Field(
        "Hub_Key__c", pattern=_API_NAME, description="unique external-id field of Case that ticket.create upserts by"
    )
    contact_external_id_field: str = Field(
        "Hub_External_Id__c", pattern=_API_NAME, description="the same of Contact, which customer.create upserts by"
    )
    default_currency: str | None = Field(
        None, pattern=r"^[A-Z]{3}$", description="currency of an org without multi-currency", examples=["EUR"]
    )
    quota_reserve_percent: int = Field(
        5, ge=0, le=90, description="share of the daily API quota that pulls leave to actions"
    )
    overlap_s: int = Field(
        60, ge=0, le=3600, description="how far back a pull looks for rows whose transaction committed late"
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> "SalesforceConfig":
        self.sign_in  # noqa: B018 - raises where no way is complete
        return self

    @property
    def sign_in(self) -> SignIn:
        """Say how this connection signs in. Raises ValueError where the settings name no complete way."""
        if self.session_id is not None:
            if self.instance is None:
                raise ValueError("session_id needs instance beside it")
            return "session"
        if self.username is not None and self.password is not None:
            return "password"
        if self.client_id is not None and self.username is not None and self.private_key_file is not None:
            return "jwt"
        if self.client_id is not None and self.client_secret is not None:
            if self.instance is None or not self.instance.endswith(".salesforce.com"):
                raise ValueError(
                    'client_secret needs instance beside it, the My Domain such as "acme.my.salesforce.com"'
                )
            return "client_credentials"
        raise ValueError(
            "expected session_id and instance, or username, password and security_token, or client_id, client_secret "
            "and instance, or client_id, username and private_key_file"
        )

    @property
    def login_domain(self) -> str | None:
        """The part before .salesforce.com of the host that signs in; None for a ready session."""
        if self.sign_in == "session":
            return None
        if self.sign_in == "client_credentials" and self.instance is not None:
            return self.instance.removesuffix(".salesforce.com")
        return self.domain
