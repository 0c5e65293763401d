"""Prove what was done: audit verify, export, accept."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hub.cli import out
from hub.cli.out import Json
from hub.cli.tables import counted
from hub.errors import Invalid

audit = typer.Typer(help="The audit chain.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add these commands to `hub`."""
    app.add_typer(audit, name="audit")


@audit.command()
def verify(
    head: Annotated[Path | None, typer.Option(help="A head that was kept elsewhere; default: audit.head.")] = None,
    as_json: Json = False,
) -> None:
    """Check every row and the signed head. Names what was changed, removed, inserted or cut off; exit 1 then."""
    import msgspec

    from hub.ledger import Head
    from hub.ledger import verify as verified

    kept = None
    if head is not None:
        try:
            kept = msgspec.json.decode(head.read_bytes(), type=Head)
        except (OSError, msgspec.MsgspecError) as exc:
            raise Invalid(f"--head: {head} is no signed head of an audit", code="usage") from exc
    with out.opened() as app:
        found = verified(app.ledger.audit, head=kept)

    def show() -> None:
        for problem in found.problems:
            out.write(problem.text)
        verdict = "all well" if found.ok else counted(len(found.problems), "problem")
        signed = f"signed up to row {found.head.count}" if found.head else "no genuine head"
        out.write(f"{counted(found.rows, 'row')}, {signed}: {verdict}")

    out.answer(msgspec.to_builtins(found), as_json, show)
    raise typer.Exit(0 if found.ok else 1)


@audit.command()
def export(
    since: Annotated[str | None, typer.Option(help='A date, or an age such as "7d".')] = None,
    as_json: Json = False,
) -> None:
    """Print the rows, one JSON object a line; with --json all in one object, with the signed head."""
    from hub.config import since_time

    try:
        start = since_time(since, datetime.now(UTC)) if since else None
    except ValueError as exc:
        raise Invalid(f"--since: {exc}", code="usage") from exc
    with out.opened() as app:
        rows = (row.as_dict() for row in app.ledger.audit.rows(since=start))
        if as_json:
            out.write(json.dumps({"head": app.ledger.audit.head(), "rows": list(rows)}, ensure_ascii=False))
            return
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False))


@audit.command()
def accept(
    new_key: Annotated[bool, typer.Option("--new-key", help="Seal with a new key from now on.")] = False,
    as_json: Json = False,
) -> None:
    """Go on from the chain as it stands, once you know what is wrong with it; a row says so."""
    with out.opened() as app:
        row = app.ledger.audit.accept(new_key=new_key)
    out.answer(row.as_dict(), as_json, lambda: out.write(f"accepted: the chain goes on from row {row.seq}"))
