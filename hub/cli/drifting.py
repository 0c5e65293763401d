"""See what has drifted: drift."""

from typing import Annotated, Any

import typer

from hub.cli import out
from hub.cli.out import Json
from hub.cli.tables import counted, table


def register(app: typer.Typer) -> None:
    """Add these commands to `hub`."""
    app.command()(drift)


def drift(
    connections: Annotated[
        list[str] | None, typer.Argument(metavar="[CONNECTION…]", help="Connections; all by default.")
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="Ask the systems to describe their fields first.")] = False,
    days: Annotated[int, typer.Option(min=1, help="How far to look back.")] = 30,
    as_json: Json = False,
) -> None:
    """Show fields and values of the systems that came, went or changed, what they hit, and what is unknown or empty."""
    from hub.app import drifting

    with out.opened(secrets=now) as app:
        found = drifting.report(app, connections, now=now, days=days)
    out.answer({"connections": found}, as_json, lambda: _show(found))
    raise typer.Exit(1 if any(line["errors"] for line in found.values()) else 0)


def _show(found: dict[str, dict[str, Any]]) -> None:
    rows = [
        [name, one["stream"], one["what"], one["field"], one["before"], one["after"], one["hits"], one["at"]]
        for name, line in found.items()
        for one in line["changes"]
    ]
    columns = ("connection", "stream", "what", "field", "before", "after", "hits", "at")
    table(columns, rows, none="no field has changed", spare=("at",))
    for name, line in found.items():
        if not line["described"]:
            out.say(f"{name}: was not described yet; `hub drift {name} --now` does it")
        for one in line["problems"]:
            out.write(f"{name}: {one['where']}: {one['message']}")
        for one in line["emptied"]:
            share = f"{one['filled_before']:.0%}"
            out.write(
                f"{name} {one['table']}: {one['field']} was filled in {share} of the rows and is null in all new ones"
            )
        for one in line["unknown"]:
            word = "null" if one["word"] is None else f'"{one["word"]}"'
            out.write(f"{name} {one['table']}: {one['field']} is unknown for {word} in {counted(one['count'], 'row')}")
        for stream, error in line["errors"].items():
            out.write(f"error: {name} {stream}: {error}")
