"""Settings of a connection, and of a table in its mapping."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic import ValidationError as Wrong

from hub import ConnectorConfig, MappingError, Stream

JSON_LINES = (".ndjson", ".jsonl", ".json")
ENCODINGS = ("utf-8", "latin-1", "cp1252")
_QUOTED = re.compile(r"'((?:[^']|'')*)'")
_ALIASES = {
    "utf8": "utf-8",
    "utf-8-sig": "utf-8",
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "windows-1252": "cp1252",
}


def _known_encoding(value: Any) -> Any:
    return _ALIASES.get(value.lower(), value.lower()) if isinstance(value, str) else value


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as exc:
        raise ValueError('expected a time zone such as "Europe/Berlin"') from exc
    return value


def _place(value: Any) -> Any:
    """Tell a folder of this machine (a Path) from one behind SFTP (the URL)."""
    if not isinstance(value, str):
        return value
    return _sftp_url(value) if re.match(r"[A-Za-z]+:/", value) else Path(value)


def _sftp_url(value: str) -> str:
    if not value.startswith("sftp://"):
        raise ValueError("expected a folder such as drop/, or sftp://user@host:22/drop")
    try:
        url = urlsplit(value)
        fine = bool(url.hostname) and bool(url.username) and (url.port is None or url.port > 0)
    except ValueError:
        fine = False
    if not fine or url.query or url.fragment:
        raise ValueError("expected sftp://user@host:22/drop; /~/drop starts at the home of the user")
    if url.password:
        raise ValueError('the password does not belong into the URL; write password = "${NAME}" and export it')
    return value


def _fingerprint(value: str) -> str:
    if not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}=?", value):
        raise ValueError("expected a fingerprint such as SHA256:…, as `ssh-keygen -lf` prints it")
    return value.rstrip("=")


def _one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Encoding = Annotated[Literal["utf-8", "latin-1", "cp1252"], BeforeValidator(_known_encoding)]
Zone = Annotated[str, AfterValidator(_known_zone)]
Char = Annotated[str, Field(min_length=1, max_length=1)]
Place = Annotated[str | Path, BeforeValidator(_place)]
Words = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]


class LegacyConfig(ConnectorConfig):
    """
    A database, a drop folder, or both.

    `encoding`, `delimiter`, `decimal` and `zone` hold for all files (`zone` for times without one in the database,
    too); a table of the mapping may say otherwise. `acks` is a folder, inside `folder`, that gets one small file for
    each file read to its end.
    """

    database_url: SecretStr | None = Field(None, description="any URL of SQLAlchemy; it may hold a password")
    folder: Place | None = Field(
        None,
        description="the drop folder, here or sftp://user@host:22/drop",
        examples=["drop/"],
    )
    password: SecretStr | None = Field(None, description="of the SFTP user")
    private_key_file: Path | None = Field(None, description="of the SFTP user", examples=["keys/erp"])
    passphrase: SecretStr | None = Field(None, description="opens private_key_file")
    known_hosts: Path | None = Field(
        None, description="SSH servers and their keys; default ~/.ssh/known_hosts", examples=["known_hosts"]
    )
    host_key: Annotated[str, AfterValidator(_fingerprint)] | None = Field(
        None, description="the SFTP server's key, in place of known_hosts", examples=["SHA256:…"]
    )
    encoding: Encoding = Field("utf-8", description="utf-8, latin-1 or cp1252")
    delimiter: Char = Field(",", description="of CSV files")
    decimal: Literal[".", ","] = Field(".", description="the decimal sign in CSV files")
    zone: Zone = Field("UTC", description="of times that name no zone")
    acks: str | None = Field(None, description="a folder inside `folder` for acknowledgement files", examples=["acks"])
    settle_s: float = Field(2.0, ge=0, description="a file younger than this may still be written, and waits")
    page_size: int = Field(1000, ge=1, le=10_000, description="rows a page")
    ack_wait_s: float = Field(10.0, ge=0, le=300, description="how long an action waits for its acknowledgement")

    @model_validator(mode="after")
    def _something(self) -> "LegacyConfig":
        if self.database_url is None and self.folder is None:
            raise ValueError("expected database_url, folder, or both")
        if self.database_url is not None and "://" not in self.database_url.get_secret_value():
            raise ValueError("database_url: expected a URL such as postgresql+psycopg://user@host/name")
        if self.acks is not None and (Path(self.acks).is_absolute() or ".." in Path(self.acks).parts):
            raise ValueError("acks: expected a folder inside `folder`, such as acks")
        self._check_sftp()
        return self

    def _check_sftp(self) -> None:
        secrets = {"password": self.password, "private_key_file": self.private_key_file}
        own = {**secrets, "passphrase": self.passphrase, "known_hosts": self.known_hosts, "host_key": self.host_key}
        if isinstance(self.folder, str):
            if not any(secrets.values()):
                raise ValueError("folder over SFTP: expected password or private_key_file")
            if self.known_hosts and self.host_key:
                raise ValueError("expected known_hosts or host_key, not both")
            return
        for name, value in own.items():
            if value is not None:
                raise ValueError(f"{name}: belongs to a folder over SFTP, such as sftp://user@host/drop")


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Nest(_Options):
    """Rows of another table as a list inside each record: those whose `key` equals the record's `parent` column."""

    table: str
    key: str
    parent: str | None = None
    order: str | None = None


class TableOptions(_Options):
    """
    What a table of the mapping may say about a database table.

    `changed_at` or `version` name the column that grows with every change; without one, each pull reads the whole
    table. Times younger than `overlap_s`, and the last `overlap_versions` numbers, are read again by the next pull, for
    rows that were committed late.
    """

    changed_at: str | None = None
    version: str | None = None
    zone: Zone | None = None
    overlap_s: float = Field(60.0, ge=0)
    overlap_versions: int = Field(1000, ge=0)
    select: Literal["mapped", "all"] = "mapped"
    nest: dict[str, Nest] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_clock(self) -> "TableOptions":
        if self.changed_at and self.version:
            raise ValueError("expected changed_at or version, not both")
        return self

    @property
    def grows(self) -> str | None:
        return self.changed_at or self.version


class FileOptions(_Options):
    """
    What a table of the mapping may say about files.

    `header` is true, or the names of the columns of files that have no header. With `decimal = ","` a value that is a
    number in that notation becomes one with a point; `decimal_columns` restricts that. Values that fit one of
    `date_format` become ISO dates; `date_columns` restricts that.
    """

    format: Literal["csv", "ndjson"] | None = None
    encoding: Encoding | None = None
    delimiter: Char | None = None
    quotechar: Annotated[str, Field(max_length=1)] = '"'
    header: Literal[True] | Annotated[tuple[str, ...], Field(min_length=1)] = True
    decimal: Literal[".", ","] | None = None
    decimal_columns: Words = ()
    date_format: Words = ()
    date_columns: Words = ()
    zone: Zone | None = None


TABLE_OPTIONS = frozenset(TableOptions.model_fields) | frozenset(FileOptions.model_fields)
Options = TypeVar("Options", TableOptions, FileOptions)


def options_of(stream: Stream, model: type[Options]) -> Options:
    """Check a stream's options. Raises MappingError naming stream and key."""
    given: Mapping[str, Any] = stream.options
    foreign = sorted(set(given) - set(model.model_fields))
    if foreign:
        sort = "a database table" if model is TableOptions else "files"
        raise MappingError(f'stream "{stream.name}": {foreign[0]} does not belong to {sort}')
    try:
        return model.model_validate(dict(given))
    except Wrong as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(step) for step in first["loc"] if not str(step).startswith("function-"))
        raise MappingError(
            f'stream "{stream.name}": {key or "options"}: {first["msg"].removeprefix("Value error, ")}'
        ) from exc


def is_files(name: str, format_: str | None = None) -> bool:
    """Say whether a stream's name means files of the folder (a pattern, a path or a known suffix), not a table."""
    suffixed = name.lower().removesuffix(".gz").endswith((".csv", ".txt", ".tsv", *JSON_LINES))
    return format_ is not None or suffixed or any(sign in name for sign in "*?[/")


def roots(paths: tuple[str, ...]) -> tuple[str, ...] | None:
    """Give the first names of paths, each once; None where a path takes the whole record."""
    found: dict[str, None] = {}
    for path in paths:
        name = root(path)
        if name == "@":
            return None
        found[name] = None
    return tuple(found)


def root(path: str) -> str:
    """Give the first name of a mapping path; a name in single quotes may hold dots."""
    quoted = _QUOTED.match(path)
    if quoted:
        return quoted[1].replace("''", "'")
    return path.partition(".")[0].partition("[")[0]
