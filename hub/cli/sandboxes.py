"""Imitations of the vendors on loopback: sandbox up."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from hub.cli import out
from hub.cli.out import Json
from hub.cli.tables import counted

sandbox = typer.Typer(help="Imitations of the vendors on loopback.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add these commands to `hub`."""
    app.add_typer(sandbox, name="sandbox")


@sandbox.callback()
def _group() -> None: ...


@sandbox.command()
def up(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Connectors; all by default.")] = None,
    customers: Annotated[int, typer.Option(min=1, help="How many people live in the shared world.")] = 500,
    seed: Annotated[int, typer.Option(help="Another seed, another world; the same seed, the same world.")] = 7,
    write: Annotated[Path | None, typer.Option(help="Write the config to this file too.")] = None,
    as_json: Json = False,
) -> None:
    """Start sandboxes and print the config.toml that points to them; they run until Ctrl-C."""
    from hub.app import private
    from hub.app.sandboxes import Sandboxes

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Sandboxes.start(names, customers=customers, seed=seed) as up:
        if write:
            half = write.with_name(write.name + ".part")
            private(half)
            half.write_text(up.toml(), encoding="utf-8")
            half.replace(write)
        out.answer({"sandboxes": up.addresses(), "config": up.toml()}, as_json, lambda: out.write(up.toml()))
        out.say(f"{counted(len(up.sandboxes), 'sandbox is', 'sandboxes are')} up; stop with Ctrl-C")
        stop.wait()
