"""How commands answer: one JSON object or a table on stdout; progress, hints and errors on stderr, one line each."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.errors import ConfigError, HubError

if TYPE_CHECKING:
    from hub.app import App

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
_USAGE = ("usage", "unknown_stream")
_options: dict[str, str | None] = {"config": None}


def configure(path: str | None) -> None:
    """Remember which config file the command line names."""
    _options["config"] = path


def config_path() -> str | None:
    """Give the config file that the command line or HUB_CONFIG names, or None."""
    return _options["config"] or os.environ.get("HUB_CONFIG") or None


def opened(*, service: bool = False) -> "App":
    """Open the hub that the command line means, with its log on stderr."""
    from hub.app import App

    app = App.open(config_path())
    app.log_to_stderr(service=service)
    return app


def say(line: str) -> None:
    """Write one line for a person to stderr."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def write(text: str) -> None:
    """Write to stdout, where only answers go."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def answer(value: Any, as_json: bool, show: Callable[[], None]) -> None:
    """Print `value` as one JSON object, or let `show` print it for a person."""
    if as_json:
        write(json.dumps(value, ensure_ascii=False, default=str))
    else:
        show()


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table on stdout: drawn on a terminal, tab-separated lines elsewhere."""
    if not sys.stdout.isatty():
        write("\t".join(columns))
        for row in rows:
            write("\t".join(_cell(cell) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None, title_justify="left")
    for column in columns:
        drawn.add_column(column)
    for row in rows:
        drawn.add_row(*(Text(_cell(cell)) for cell in row))
    Console().print(drawn)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def fail(exc: HubError, as_json: bool) -> int:
    """Tell an error in one line (and as JSON where asked); give the exit code: 2 for configuration, else 1."""
    if as_json:
        write(json.dumps({"error": exc.as_dict()}, ensure_ascii=False))
    hint = f" (next: {', '.join(exc.next_actions)})" if exc.next_actions else ""
    say("error: " + " ".join(f"{exc.message}{hint}".split()))
    return 2 if isinstance(exc, ConfigError) or exc.error_code in _USAGE else 1
