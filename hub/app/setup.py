"""What comes before a hub is open: the files to start from, and the databases' versions."""

import contextlib
import os
from pathlib import Path

from hub import policy
from hub.config import Settings, engine_beside, example, ledger_beside, load
from hub.plugins import discover
from hub.store import Branch, Database, is_postgres, version
from hub.store.traffic import beside


def skeletons() -> dict[str, str]:
    """Give the files that `hub init` writes, by name: every setting with its default, and the policy that ships."""
    configs = {name: cls.Config for name, cls in discover().connectors.items()}
    return {"config.toml": example(configs), "policy.toml": policy.example()}


def private(file: Path) -> None:
    """Create a file that only its owner can read, where there is none yet: it will hold secrets or customers' data."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def private_database(url: str) -> None:
    """Create the file of a SQLite database as `private` does; what SQLite puts beside it is as private."""
    start = "sqlite:///"
    if url.startswith(start):
        file = Path(url.removeprefix(start))
        with contextlib.suppress(OSError):  # opening it tells why it cannot be made
            file.parent.mkdir(parents=True, exist_ok=True)
            private(file)


def ledger_url(settings: Settings) -> str:
    """Name the ledger's database."""
    return settings.hub.ledger_url or ledger_beside(settings.hub.database_url)


def engine_url(settings: Settings) -> str:
    """Name the engine's database."""
    return settings.hub.engine_url or engine_beside(settings.hub.database_url)


def traffic_url(settings: Settings) -> str:
    """Name where is kept what processes share about the accounts they send to."""
    return beside(settings.hub.database_url)


def audit_key(settings: Settings) -> Path | None:
    """Name the file of the audit's key; None leaves it beside the ledger's file."""
    if settings.hub.audit_key_file is None and is_postgres(ledger_url(settings)):
        return settings.directory / "audit.key"
    return settings.hub.audit_key_file


def upgrade_databases(config: Path | str | None) -> dict[str, str | None]:
    """Create both databases or bring them to this version; give the versions."""
    settings = load(config)
    for branch, url in _urls(settings).items():
        private_database(url)
        Database(url, branch).close()
    return database_versions(config)


def database_versions(config: Path | str | None) -> dict[str, str | None]:
    """Tell which migration each database is at; None where there is none yet."""
    return {branch: version(url, branch) for branch, url in _urls(load(config)).items()}


def _urls(settings: Settings) -> dict[Branch, str]:
    return {"hub": settings.hub.database_url, "ledger": ledger_url(settings)}
