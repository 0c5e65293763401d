"""hub doctor: look at the whole installation, and say what to do."""

from dataclasses import asdict
from typing import Annotated

import typer

from hub.cli import out
from hub.cli.out import Json


def register(app: typer.Typer) -> None:
    """Add this command to `hub`."""
    app.command()(doctor)


def doctor(
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds that connections have to answer; 0 leaves them out.")
    ] = 20.0,
    as_json: Json = False,
) -> None:
    """Look at what usually goes wrong: configuration, databases, plugins, mappings, clock, connections."""
    from hub.app.doctor import examine

    found = []
    for finding in examine(out.config_path(), timeout_s=timeout):
        found.append(finding)
        if not as_json:
            out.write(f"{finding.status:<7}  {finding.check}: {finding.found}")
            if finding.do and finding.status != "ok":
                out.write(f"         → {finding.do}")
    well = all(finding.status != "failed" for finding in found)
    if as_json:
        out.answer({"ok": well, "checks": [asdict(finding) for finding in found]}, as_json, lambda: None)
    raise typer.Exit(0 if well else 1)
