"""What comes before a hub is open: the files to start from, and the databases' versions."""

from pathlib import Path

from hub.config import Settings, example, ledger_beside, load
from hub.plugins import discover
from hub.store import open_database

_POLICY = """\
# Which actions are allowed. The first rule that matches decides; money that no rule allows is refused.

# [[rule]]
# name    = "small refunds"
# action  = "payment.refund"
# when    = { amount_lte = "50.00 EUR" }
# verdict = "allow"
"""


def skeletons() -> dict[str, str]:
    """Give the files that `hub init` writes, by name: every setting with its default, and a policy to fill in."""
    configs = {name: cls.Config for name, cls in discover().connectors.items()}
    return {"config.toml": example(configs), "policy.toml": _POLICY}


def ledger_url(settings: Settings) -> str:
    """Name the ledger's database."""
    return settings.hub.ledger_url or ledger_beside(settings.hub.database_url)


def upgrade_databases(config: Path | str | None) -> dict[str, str | None]:
    """Create both databases or bring them to this version; give the versions."""
    settings = load(config)
    for branch, url in _urls(settings).items():
        open_database(url, branch=branch).close()  # type: ignore[arg-type]
    return database_versions(config)


def database_versions(config: Path | str | None) -> dict[str, str | None]:
    """Tell which migration each database is at; None where there is none yet."""
    from hub.store import migrate

    files = {branch: Path(url.removeprefix("sqlite:///")) for branch, url in _urls(load(config)).items()}
    return {branch: migrate.version(file) for branch, file in files.items()}


def _urls(settings: Settings) -> dict[str, str]:
    return {"hub": settings.hub.database_url, "ledger": ledger_url(settings)}
