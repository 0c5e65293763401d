"""Keep copies and keep house: db backup, db restore, db compact."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli import out
from hub.cli.out import Json
from hub.cli.setup import db
from hub.cli.tables import counted


def register(app: typer.Typer) -> None:
    """Add these commands to `hub db`."""
    db.command()(backup)
    db.command()(restore)
    db.command()(restored)
    db.command()(compact)


def backup(
    target: Annotated[Path, typer.Argument(metavar="DEST", help="A folder that is new or empty.")],
    as_json: Json = False,
) -> None:
    """Copy the databases and the audit's signed head, while the hub runs. The audit's key is not copied."""
    from hub.app import backups

    found = backups.backup(out.config_path(), target)

    def show() -> None:
        for name, part in found["databases"].items():
            out.write(f"{name}: {part['bytes']:,} bytes, version {part['version']}")
        out.write(f"copied to {target}; the audit's key is not in it, keep that elsewhere")

    out.answer(found, as_json, show)


def restore(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A folder that `hub db backup` made.")],
    as_json: Json = False,
) -> None:
    """Put a backup in place, with the hub stopped. Open runs are looked up before anything is sent."""
    from hub.app import backups

    found = backups.restore(out.config_path(), source)
    out.answer(found, as_json, lambda: _show(found))


def restored(
    copied_at: Annotated[str, typer.Option(help="When the copy was taken, such as 2026-01-31T08:00:00Z.")],
    as_json: Json = False,
) -> None:
    """After other tools put an older ledger back (pg_restore), before the hub starts: open runs are looked up first."""
    from hub.app import backups

    found = backups.restored(out.config_path(), copied_at)

    def show() -> None:
        _show_runs(found)

    out.answer(found, as_json, show)


def compact(
    shrink: Annotated[
        bool, typer.Option("--shrink", help="Write a large SQLite file anew, too: writers wait meanwhile.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Give back the room of raw records that are superseded or too old. Safe beside a running hub."""
    from hub.app import keeping
    from hub.cli.remapping import Blocks

    with out.opened(secrets=False) as app, Blocks() as tell:
        found = keeping.compact(app, shrink=shrink, tell=tell)

    def show() -> None:
        out.write(
            f"{counted(found['live'], 'raw record')} of {found['records']:,} kept; {found['dropped_blocks']} blocks "
            f"dropped, {found['rewritten_blocks']} written anew"
        )
        out.write(f"{found['bytes_before']:,} bytes before, {found['bytes_after']:,} after")
        if found["bytes_free"]:
            out.write(f"{found['bytes_free']:,} bytes are free for what comes next; --shrink gives them back")

    out.answer(found, as_json, show)


def _show(found: dict[str, Any]) -> None:
    out.write(f"restored the copy of {found['copied_at']}; the old files are in {', '.join(found['aside'])}")
    _show_runs(found)
    for run_id in found["missing_runs"] or ():
        out.write(f"{run_id} was made after the copy and is no longer known: its key would act again")
    if found["missing_runs"] is None:
        out.write("the old ledger cannot be read: which runs were made after the copy is not known")


def _show_runs(found: dict[str, Any]) -> None:
    out.write(
        f"{counted(len(found['open_runs']), 'run was', 'runs were')} open; each is looked up before anything is sent"
    )
    for problem in found["audit"]["problems"]:
        out.write(f"audit: {problem}")
