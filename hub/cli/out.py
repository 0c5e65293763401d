"""How commands answer: one JSON object or a table on stdout; progress, hints and errors on stderr, one line each."""

import json
import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.errors import ConfigError, HubError, MappingError

if TYPE_CHECKING:
    from hub.app import App

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
_USAGE = ("usage", "unknown_stream", "unknown_action", "idempotency_key_required", "invalid_idempotency_key")
_ASKED = ("input", "scopes", "mode", "name")
_OPTIONS = (
    ("needs an Idempotency-Key", "needs --key"),
    ("under another Idempotency-Key", "under another --key"),
    ("use its key", "use its --key"),
    ("or use a new key", "or use a new --key"),
    ("an Idempotency-Key", "a --key"),
    ("Idempotency-Key", "--key"),
    ("set repeat to true", "add --repeat"),
)
"""How the API says it, and how it is said on the command line."""
_options: dict[str, str | None] = {"config": None}


def configure(path: str | None) -> None:
    """Remember which config file the command line names."""
    _options["config"] = path


def config_path() -> str | None:
    """Give the config file that the command line or HUB_CONFIG names, or None."""
    return _options["config"] or os.environ.get("HUB_CONFIG") or None


def opened(*, service: bool = False, secrets: bool = True) -> "App":
    """Open the hub that the command line means, with its log on stderr; without `secrets` no system can be asked."""
    from hub.app import App
    from hub.config import load

    app = App.open(load(config_path(), secrets=secrets))
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


def fail(exc: HubError, as_json: bool) -> int:
    """Tell an error in one line (and as JSON where asked); give the exit code of `exit_code`."""
    if as_json:
        write(json.dumps({"error": exc.as_dict()}, ensure_ascii=False))
    hint = f" (next: {', '.join(exc.next_actions)})" if exc.next_actions else ""
    say("error: " + " ".join(f"{in_words_of_the_cli(exc)}{hint}".split()))
    return exit_code(exc)


def exit_code(exc: HubError) -> int:
    """Give 2 where what was asked, or the configuration behind it, can never work as written, else 1."""
    wrong = exc.error_code == "invalid" and (exc.field_path or "").partition(".")[0] in _ASKED
    return 2 if wrong or exc.error_code in _USAGE or isinstance(exc, ConfigError | MappingError) else 1


def in_words_of_the_cli(exc: HubError) -> str:
    """Say an error's message with the options of the command line."""
    message = exc.message
    for api, cli in _OPTIONS:
        message = message.replace(api, cli)
    return re.sub(r"\binput\.(?=[a-z])", "", message)
