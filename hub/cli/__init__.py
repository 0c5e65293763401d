"""
The command `hub`: parse, call one room below, answer.

One file per group of commands. They import what they need when they run, so that `hub --help` stays quick.
"""

import importlib
import json
import os
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from hub.cli import out
from hub.errors import HubError

_GROUPS = (
    "setup syncing serving demo sandboxes mapping remapping drifting acting governing auditing backups doctor".split()
)

app = typer.Typer(
    name="hub",
    help="Deskhub: one customer, one order, one ticket, and safe actions across your systems.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        out.write(f"deskhub {version('deskhub')}")
        raise typer.Exit


@app.callback()
def options(
    config: Annotated[str | None, typer.Option(help="Config file; default: HUB_CONFIG, else ./config.toml.")] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that every command has."""
    out.configure(config)


for _group in _GROUPS:
    importlib.import_module(f"hub.cli.{_group}").register(app)


def run(args: list[str] | None = None) -> int:
    """Run one command line and give its exit code: 0 done, 1 failed, 2 wrong usage or configuration."""
    args = _config_first(list(sys.argv[1:] if args is None else args))
    as_json = "--json" in args
    try:
        code = typer.main.get_command(app).main(args, prog_name="hub", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except HubError as exc:
        if os.environ.get("HUB_DEBUG"):
            raise
        return out.fail(exc, as_json)
    except TyperException as exc:
        return _usage(exc, as_json)
    except (typer.Abort, KeyboardInterrupt):
        out.say("stopped")
        return 130
    except SystemExit as exc:  # typer's answer when whoever read stdout went away
        return exc.code if isinstance(exc.code, int) else 1
    except Exception as exc:  # no traceback reaches a user unless asked for
        if os.environ.get("HUB_DEBUG"):
            raise
        out.say(f"error: the hub itself failed ({type(exc).__name__}); set HUB_DEBUG=1 to see where")
        return 1


def main() -> None:
    """Be the console script `hub`."""
    sys.exit(run())


def _config_first(args: list[str]) -> list[str]:
    """Let --config stand anywhere: it belongs to no single command."""
    for at, word in enumerate(args):
        if word == "--":
            break
        if word == "--config" and at + 1 < len(args):
            return [word, args[at + 1], *args[:at], *args[at + 2 :]]
        if word.startswith("--config="):
            return [word, *args[:at], *args[at + 1 :]]
    return args


def _usage(exc: TyperException, as_json: bool) -> int:
    message = " ".join(str(getattr(exc, "format_message", lambda: exc)()).split())
    context = getattr(exc, "ctx", None)
    if type(exc).__name__ == "NoArgsIsHelpError":
        out.say(str(exc))
        return 2
    if as_json:
        out.write(json.dumps({"error": {"code": "usage", "human_message": message}}))
    path = context.command_path if context else "hub"
    out.say(f"error: {message} (try `{path} --help`)")
    return 2
