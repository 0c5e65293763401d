"""Check a mapping and try it on records: map check, map preview."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli import out
from hub.cli.out import Json
from hub.cli.tables import counted, table

group = typer.Typer(help="Mappings: check them, try them, apply them.", no_args_is_help=True, rich_markup_mode=None)
Mapping = Annotated[Path | None, typer.Option("--mapping", help="This mapping file instead of the one found.")]


def register(app: typer.Typer) -> None:
    """Add these commands to `hub`."""
    app.add_typer(group, name="map")


@group.callback()
def _group() -> None: ...


@group.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Connections or connectors; default: all.")] = None,
    mapping: Mapping = None,
    live: Annotated[bool, typer.Option("--live", help="Ask the systems to describe their fields.")] = False,
    as_json: Json = False,
) -> None:
    """Check mappings. Words, paths, enums, visibility, and that what is written reads back the same."""
    from hub.app.mappings import check_mappings

    found = check_mappings(out.config_path(), names, mapping=mapping, live=live)
    rows = [[name, p["severity"], p["where"], p["message"]] for name, problems in found.items() for p in problems]

    def show() -> None:
        if rows:
            table(("mapping", "severity", "where", "message"), rows, none="")
        out.say(f"{counted(len(found), 'mapping')} checked, {counted(len(rows), 'remark')}")

    out.answer({"mappings": found}, as_json, show)
    raise typer.Exit(1 if any(p["severity"] == "error" for problems in found.values() for p in problems) else 0)


@group.command()
def preview(
    name: Annotated[str, typer.Argument(metavar="CONNECTION|CONNECTOR", help="Whose mapping.")],
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The vendor's word, such as tickets.")],
    file: Annotated[
        Path | None,
        typer.Option(help="Raw records: a JSON object a line, or a JSON list; - reads them from standard input."),
    ] = None,
    remote_id: Annotated[str | None, typer.Option("--id", help="Fetch this one from the system.")] = None,
    sample: Annotated[int, typer.Option(min=1, max=1000, help="Pull that many from the system.")] = 5,
    mapping: Mapping = None,
    as_json: Json = False,
) -> None:
    """Show raw records and what becomes of them. With --file no configuration is needed."""
    from hub.app.mappings import Wanted, preview_records

    wanted = Wanted(stream, file=file, remote_id=remote_id, sample=sample)
    raws, entries = preview_records(out.config_path(), name, wanted, mapping=mapping)
    out.answer({"records": entries}, as_json, lambda: _show(raws, entries))


def _show(raws: list[bytes], entries: list[dict[str, Any]]) -> None:
    import json

    for raw, entry in zip(raws, entries, strict=True):
        out.write("raw      " + raw.decode("utf-8", "replace"))
        out.write("unified  " + json.dumps(entry, ensure_ascii=False, default=str))
