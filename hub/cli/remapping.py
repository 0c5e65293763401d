"""Apply a changed mapping to what is stored: map diff, apply, suggest, replay-rejects."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Annotated, Any

import typer

from hub.cli import out, syncing
from hub.cli.mapping import group
from hub.cli.out import Json
from hub.cli.tables import counted, table

Names = Annotated[list[str] | None, typer.Argument(metavar="[CONNECTION…]", help="Connections; all by default.")]
_COUNTS = ("same", "created", "changed", "deleted", "rejected", "without_raw")


def register(app: typer.Typer) -> None:
    """Add these commands to `hub map`."""
    group.command()(diff)
    group.command()(apply)
    group.command()(suggest)
    group.command("replay-rejects")(replay)


def diff(
    connections: Names = None,
    only: Annotated[list[str] | None, typer.Option("--table", help="Only this table; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Show which stored rows the present mapping would change. Nothing is written, no system is asked."""
    from hub.app import remaps

    with out.opened(secrets=False) as app, Progress() as progress:
        found = remaps.diff(app, connections, tables=only, progress=progress)
    out.answer({"connections": found}, as_json, lambda: _show_diff(found))


def apply(
    connections: Names = None,
    stream: Annotated[list[str] | None, typer.Option(help="Only this stream; may be repeated.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Also where most of a stream's rows would go.")] = False,
    as_json: Json = False,
) -> None:
    """Make the stored rows what the present mapping says of the kept raw records. Safe to stop and to repeat."""
    from hub.app import memory, remaps

    with out.opened(secrets=False) as app, Progress() as progress, memory.settled():
        found = remaps.apply(app, connections, streams=stream, fuse=not yes, progress=progress)
    out.answer({"connections": found}, as_json, lambda: _show_counts(found))


def suggest(
    connection: Annotated[str, typer.Argument(metavar="CONNECTION")],
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The vendor's word, such as tickets.")],
    live: Annotated[bool, typer.Option("--live", help="Ask the system to describe its fields, too.")] = False,
    as_json: Json = False,
) -> None:
    """Propose lines for fields of the vendor's that no table uses. Values are never shown."""
    from hub.app import remaps

    with out.opened(secrets=live) as app:
        found = remaps.suggest(app, connection, stream, live=live)

    def show() -> None:
        out.say(f"{counted(found['records'], 'raw record')} looked at; for [{found['table']}.fields]:")
        rows = [[one["path"], one["type"], _share(one["filled"]), one["line"]] for one in found["fields"]]
        table(("path", "type", "filled", "line"), rows, none="every field is used")

    out.answer(found, as_json, show)


def replay(connections: Names = None, as_json: Json = False) -> None:
    """Try the kept rejects with the present mapping once more."""
    from hub.app import remaps

    with out.opened(secrets=False) as app, Progress() as progress:
        found = remaps.replay(app, connections, progress=progress)

    def show() -> None:
        columns = ("connection", "stream", "tried", "settled", "left")
        lines = [(name, stream, line) for name, report in found.items() for stream, line in report.items()]
        rows = [[name, stream, *(line[column] for column in columns[2:])] for name, stream, line in lines]
        table(columns, [row for row in rows if row[2]], none="there are no rejects")

    out.answer({"connections": found}, as_json, show)


def _share(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"


def _show_counts(found: dict[str, dict[str, dict[str, Any]]]) -> None:
    rows = [
        [name, title, *(line[column] for column in _COUNTS)]
        for name, report in found.items()
        for title, line in report.items()
    ]
    table(("connection", "table", *_COUNTS), rows, none="nothing is stored yet", spare=("same",))
    _tell_without_raw(found)


def _tell_without_raw(found: dict[str, dict[str, dict[str, Any]]]) -> None:
    for name, report in found.items():
        for title, line in report.items():
            if line["without_raw"]:
                rows = counted(line["without_raw"], "row")
                out.say(f"{name} {title}: {rows} without a kept raw record stay as they are; `hub sync {name} --full`")


def _show_diff(found: dict[str, dict[str, dict[str, Any]]]) -> None:
    _show_counts(found)
    for name, report in found.items():
        for title, line in report.items():
            where = f"{name} {title}"
            for field, count in sorted(line["fields"].items(), key=lambda item: -item[1]):
                out.write(f"{where}: {field} changes in {counted(count, 'row')}")
            for reason, count in line["reasons"].items():
                out.write(f"{where}: {counted(count, 'new reject')}: {reason}")
            for what in ("created", "deleted"):
                if line[f"{what}_ids"]:
                    out.write(f"{where}: {what}, such as {', '.join(line[f'{what}_ids'])}")
            for sample in line["samples"]:
                for field, (before, after) in sample["fields"].items():
                    out.write(f"{where} {sample['remote_id']}: {field}: {before!r} → {after!r}")


class Progress(syncing.Progress):
    """Tell on stderr how a remap goes: a bar per stream on a terminal, plain lines now and then elsewhere."""

    def _columns(self) -> tuple[Any, ...]:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

        return TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()

    def _move(self, step: Any) -> None:
        name = f"{step.connection} {step.stream}"
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name, total=step.total)
        self._bar.update(self._tasks[name], completed=step.read, total=step.total)

    def _line(self, step: Any) -> None:
        name = f"{step.connection} {step.stream}"
        now = time.monotonic()
        if not step.total or (not step.done and now - self._told.setdefault(name, now) < self.every_s):
            return
        self._told[name] = now
        out.say(f"{name}: {step.read} of {step.total}, {step.changed} changed{', done' if step.done else ''}")


class Blocks(Progress):
    """Tell on stderr how a compaction goes, block by block."""

    def __enter__(self) -> Callable[..., None]:
        tell = super().__enter__()

        def told(done: int, of: int) -> None:
            tell(SimpleNamespace(connection="raw", stream="blocks", read=done, total=of, changed=done, done=done >= of))

        return told
