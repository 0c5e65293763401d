"""Pull from the systems, and see how fresh everything is: sync, status."""

import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from hub.cli import out
from hub.cli.out import Json
from hub.cli.tables import table

COLUMNS = ("connection", "table", "kind", "read", "changed", "deleted", "rejected", "seconds")


def register(app: typer.Typer) -> None:
    """Add these commands to `hub`."""
    app.command()(sync)
    app.command()(status)


def sync(
    connections: Annotated[list[str] | None, typer.Argument(help="Connections; all by default.")] = None,
    stream: Annotated[list[str] | None, typer.Option(help="Only this stream; may be repeated.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything again, from the beginning.")] = False,
    as_json: Json = False,
) -> None:
    """Pull what changed. One page a transaction: safe to stop and to repeat."""
    from hub.app import memory, remaps, syncs

    with out.opened() as app, Progress() as progress, memory.settled():
        found = app.sync(connections, streams=stream, full=full, wait_s=syncs.WAIT_S, progress=progress)
        behind = remaps.behind(app, list(found))
    tell_behind(behind)
    out.answer({"connections": found}, as_json, lambda: show(found))
    raise typer.Exit(1 if failed(found) else 0)


def status(as_json: Json = False) -> None:
    """Show how each connection stands, what is stored of it and as of when, and what is left of its limits."""
    from hub.cli.standing import show_status

    with out.opened() as app:
        found = app.status() if app.settings.connections else {}
        hint = "" if app.settings.connections else app.unconfigured()
    tell_behind({name: line["behind"] for name, line in found.items()})
    tell_drift({name: line["drift"] for name, line in found.items()})
    if hint:
        out.say(hint)
    out.answer({"connections": found}, as_json, lambda: show_status(found) if found else None)
    lines = ((name, line["streams"]) for name, line in found.items())
    if not as_json:
        tell_errors([(name, stream, each["error"]) for name, streams in lines for stream, each in streams.items()])


def tell_behind(behind: dict[str, list[str]]) -> None:
    """Say of which streams rows are stored that another mapping than the present one made."""
    for name, streams in behind.items():
        if streams:
            out.say(
                f"{name} {', '.join(streams)}: some stored rows are of another mapping than the present one; "
                f"`hub map diff {name}` shows what would change, `hub map apply {name}` changes it"
            )


def tell_drift(drift: dict[str, dict[str, int] | None]) -> None:
    """Say which systems have changed in what the mapping reads."""
    for name, line in drift.items():
        if line and (line["changes"] or line["emptied"]):
            said = f"{line['changes']} changes of its fields hit the mapping, {line['emptied']} fields became empty"
            out.say(f"{name}: {said}; see `hub drift {name}`")


def failed(found: dict[str, dict[str, Any]]) -> bool:
    """Say whether any table of a sync report has an error."""
    return any(line["error"] for tables in found.values() for line in tables.values())


def show(found: dict[str, dict[str, Any]], columns: tuple[str, ...] = COLUMNS) -> None:
    """Print a sync report as a table, its errors below it."""
    lines = [(name, title, line) for name, tables in found.items() for title, line in tables.items()]
    rows = []
    for name, title, line in lines:
        stream = line["stream"]
        shown = title if title == stream else f"{title} ({stream})"
        rows.append([{"connection": name, **line, "table": shown}[column] for column in columns])
    table(columns, rows, none="nothing was synced", spare=("kind", "seconds", "deleted"))
    tell_errors([(name, line["stream"], line["error"]) for name, _, line in lines])


def tell_errors(errors: list[tuple[str, str, str | None]]) -> None:
    """Print each error once, with the streams that it stopped."""
    stopped: dict[tuple[str, str], dict[str, None]] = {}
    for connection, stream, error in errors:
        if error:
            stopped.setdefault((connection, error), {})[stream] = None
    for (connection, error), streams in stopped.items():
        out.write(f"error: {connection} {', '.join(streams)}: {error}")


class Progress:
    """Tell on stderr how a sync goes: a moving line per stream on a terminal, plain lines now and then elsewhere."""

    every_s = 2.0

    def __init__(self) -> None:
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}
        self._told: dict[str, float] = {}

    def __enter__(self) -> Callable[[Any], None]:
        if not sys.stderr.isatty():
            return self._line
        from rich.console import Console
        from rich.progress import Progress as Bar

        self._bar = Bar(*self._columns(), console=Console(stderr=True), transient=True)
        self._bar.start()
        return self._move

    def _columns(self) -> tuple[Any, ...]:
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        words = TextColumn("{task.description}"), TextColumn("{task.completed:,.0f} read")
        return SpinnerColumn(), *words, TimeElapsedColumn()

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _move(self, step: Any) -> None:
        name = f"{step.connection} {step.stream}"
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name, total=None)
        self._bar.update(self._tasks[name], completed=step.read)

    def _line(self, step: Any) -> None:
        name = f"{step.connection} {step.stream}"
        now = time.monotonic()
        if not step.done and now - self._told.setdefault(name, now) < self.every_s:
            return
        self._told[name] = now
        end = ", stopped by an error" if step.failed else ", done" if step.done else ""
        out.say(f"{name}: {step.read} read{end}")
