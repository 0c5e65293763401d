"""Set a hub up and look at it: init, plugins, check, status, db, keys."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli import out
from hub.cli.out import Json
from hub.cli.tables import table
from hub.errors import ConfigError

db = typer.Typer(help="The databases.", no_args_is_help=True, rich_markup_mode=None)
keys = typer.Typer(help="API keys.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add these commands to `hub`."""
    app.command()(init)
    app.command()(plugins)
    app.command()(check)
    app.add_typer(db, name="db")
    app.add_typer(keys, name="keys")


def init(
    directory: Annotated[Path, typer.Argument(help="Where to write config.toml and policy.toml.")] = Path(),
    as_json: Json = False,
) -> None:
    """Write config.toml and policy.toml. Files that are there stay as they are."""
    from hub.app import private, skeletons

    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"{directory}: cannot be made a folder: {exc.strerror}") from exc
    written: list[str] = []
    kept: list[str] = []
    for name, text in skeletons().items():
        file = directory / name
        (kept if file.exists() else written).append(str(file))
        if not file.exists():
            private(file)
            file.write_text(text, encoding="utf-8")

    def show() -> None:
        for file in written:
            out.write(f"wrote {file}")
        for file in kept:
            out.write(f"kept {file}, which was there")

    out.answer({"written": written, "kept": kept}, as_json, show)


def plugins(as_json: Json = False) -> None:
    """List the plugins and what is wrong with them."""
    from dataclasses import asdict

    from hub.plugins import discover

    infos = discover().infos
    columns = ("name", "distribution", "version", "connectors", "actions", "error")
    rows = [[getattr(info, column) for column in columns] for info in infos]

    def show() -> None:
        table(
            columns[:-1], [row[:-1] for row in rows], none="no plugin is installed", spare=("distribution", "actions")
        )
        for info in infos:
            if info.error:
                out.write(f"error: {info.name}: {info.error}")

    out.answer({"plugins": [asdict(info) for info in infos]}, as_json, show)


def check(
    connections: Annotated[list[str] | None, typer.Argument(help="Connections; all by default.")] = None,
    as_json: Json = False,
) -> None:
    """Try each connection with one cheap read, and the policy. Tells account, live or test, and scopes."""
    with out.opened() as app:
        app.policy  # noqa: B018 - a policy that cannot be read is told before anything is asked
        found = app.check(connections)
    columns = ("connection", "ok", "connector", "account", "live", "api_version")
    rows = [[name, *(report.get(column) for column in columns[1:])] for name, report in found.items()]

    def show() -> None:
        table(columns, rows, none="no connection is configured", spare=("api_version", "connector"))
        for name, report in found.items():
            if report["error"]:
                told = report["error"]
                out.write(f"error: {told if name in told else f'{name}: {told}'}")

    out.answer({"connections": found}, as_json, show)
    raise typer.Exit(_verdict(found))


def _verdict(found: dict[str, dict[str, Any]]) -> int:
    codes = [report["code"] for report in found.values() if not report["ok"]]
    return 0 if not codes else 2 if {"config_error", "mapping_error"} & set(codes) else 1


@db.command()
def upgrade(as_json: Json = False) -> None:
    """Create the databases or bring them to this version."""
    from hub.app import upgrade_databases

    found = upgrade_databases(out.config_path())
    out.answer(found, as_json, lambda: table(("database", "version"), list(found.items()), none="none"))


@db.command()
def version(as_json: Json = False) -> None:
    """Tell which version the databases have."""
    from hub.app import database_versions

    found = database_versions(out.config_path())
    out.answer(found, as_json, lambda: table(("database", "version"), list(found.items()), none="none"))


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="read, read:<kind>, act:<action>[@connection], approve:<group>, assert:verification or admin; may be "
            "repeated. Default: read."
        ),
    ] = None,
    expires: Annotated[str | None, typer.Option(help="How long it is good, such as 90d; default: for ever.")] = None,
    rate: Annotated[str | None, typer.Option(help='How often it may ask, such as "60/minute".')] = None,
    ceiling: Annotated[
        list[str] | None, typer.Option(help='Money it may move a day (UTC), such as "500.00 EUR"; one per currency.')
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an API key and print it, once."""
    from hub.access import Terms

    with out.opened() as app:
        made = app.create_key(name, scope or ["read"], Terms(expires, rate, ceiling or ()))
    out.answer(made, as_json, lambda: out.write(made["key"]))


@keys.command()
def rotate(
    key_id: Annotated[str, typer.Argument(metavar="ID|NAME")],
    overlap: Annotated[str, typer.Option(help="How long the old one stays good beside the new one.")] = "24h",
    as_json: Json = False,
) -> None:
    """Give an API key another secret and print it, once. Id, scopes and terms stay."""
    with out.opened() as app:
        made = app.rotate_key(key_id, overlap=overlap)
    out.answer(made, as_json, lambda: out.write(made["key"]))


@keys.command("list")
def list_(as_json: Json = False) -> None:
    """List the API keys, without the keys themselves."""
    from dataclasses import asdict

    with out.opened() as app:
        found = [asdict(key) for key in app.keys.list()]
    columns = ("id", "name", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")
    rows = [[key.get(column) for column in columns] for key in found]
    none = "there is no key; make one with `hub keys create`"
    out.answer({"keys": found}, as_json, lambda: table(columns, rows, none=none, spare=("created_at", "expires_at")))


@keys.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID|NAME")], as_json: Json = False) -> None:
    """Make an API key useless, at once."""
    with out.opened() as app:
        key = app.keys.revoke(key_id)
    out.answer({"id": key.id, "revoked_at": key.revoked_at}, as_json, lambda: out.write(f"revoked {key.id}"))
