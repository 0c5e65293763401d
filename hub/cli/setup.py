"""Set a hub up and look at it: init, plugins, check, status, db, keys."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli import out
from hub.cli.out import Json

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
    from hub.app import skeletons

    directory.mkdir(parents=True, exist_ok=True)
    written: list[str] = []
    kept: list[str] = []
    for name, text in skeletons().items():
        file = directory / name
        (kept if file.exists() else written).append(str(file))
        if not file.exists():
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
    out.answer({"plugins": [asdict(info) for info in infos]}, as_json, lambda: out.table("Plugins", columns, rows))


def check(
    connections: Annotated[list[str] | None, typer.Argument(help="Connections; all by default.")] = None,
    as_json: Json = False,
) -> None:
    """Try each connection with one cheap read. Tells account, live or test, and scopes."""
    with out.opened() as app:
        found = app.check(connections)
    columns = ("connection", "ok", "connector", "account", "live", "api_version", "error")
    rows = [[name, *(report.get(column) for column in columns[1:])] for name, report in found.items()]
    out.answer({"connections": found}, as_json, lambda: out.table("Connections", columns, rows))
    raise typer.Exit(_verdict(found))


def _verdict(found: dict[str, dict[str, Any]]) -> int:
    codes = [report["code"] for report in found.values() if not report["ok"]]
    return 0 if not codes else 2 if "config_error" in codes else 1


@db.command()
def upgrade(as_json: Json = False) -> None:
    """Create the databases or bring them to this version."""
    from hub.app import upgrade_databases

    found = upgrade_databases(out.config_path())
    out.answer(found, as_json, lambda: out.table("Databases", ("database", "version"), list(found.items())))


@db.command()
def version(as_json: Json = False) -> None:
    """Tell which version the databases have."""
    from hub.app import database_versions

    found = database_versions(out.config_path())
    out.answer(found, as_json, lambda: out.table("Databases", ("database", "version"), list(found.items())))


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    scope: Annotated[list[str] | None, typer.Option(help="read, act:*, admin, …; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Make an API key and print it, once."""
    with out.opened() as app:
        made = app.create_key(name, scope or ["read"])
    out.answer(made, as_json, lambda: out.write(made["key"]))


@keys.command("list")
def list_(as_json: Json = False) -> None:
    """List the API keys, without the keys themselves."""
    from dataclasses import asdict

    with out.opened() as app:
        found = [asdict(key) for key in app.keys.list()]
    columns = ("id", "name", "scopes", "created_at", "revoked_at")
    rows = [[key.get(column) for column in columns] for key in found]
    out.answer({"keys": found}, as_json, lambda: out.table("Keys", columns, rows))


@keys.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID|NAME")], as_json: Json = False) -> None:
    """Make an API key useless, at once."""
    with out.opened() as app:
        key = app.keys.revoke(key_id)
    out.answer({"id": key.id, "revoked_at": key.revoked_at}, as_json, lambda: out.write(f"revoked {key.id}"))
