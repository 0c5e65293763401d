"""Act, and see what was done: actions, act, runs."""

import json
from typing import Annotated, Any

import typer

from hub.cli import out
from hub.cli.out import Json
from hub.cli.tables import table
from hub.errors import Invalid

BOOLEANS = {"true": "yes", "false": "no"}


def register(app: typer.Typer) -> None:
    """Add these commands to `hub`."""
    app.command()(actions)
    app.command()(act)
    app.command()(runs)


def actions(as_json: Json = False) -> None:
    """List the actions and who can do them."""
    with out.opened() as app:
        app.policy  # noqa: B018 - a policy that cannot be read would refuse them all
        found = app.describe_actions()
    columns = ("name", "title", "risk", "connections")
    rows = [[line[column] for column in columns] for line in found]
    out.answer({"actions": found}, as_json, lambda: table(columns, rows, none="there is no action"))


def act(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as ticket.reply; see `hub actions`.")],
    fields: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Input; a.b=c nests.")] = None,
    input_: Annotated[str | None, typer.Option("--input", help="Input as a JSON object, or @file.json.")] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency key: the same key never acts twice.")] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Show what would be sent; send nothing.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the journal.")] = None,
    repeat: Annotated[bool, typer.Option("--repeat", help="Act though the same was just done.")] = False,
    as_json: Json = False,
) -> None:
    """Run one action, as the local operator."""
    from hub.perform import Request

    given = _input(input_, fields or [])
    mode: Any = "preview" if preview else "execute"
    with out.opened() as app:
        result = app.act(Request(action=name, input=given, mode=mode, key=key, reason=reason, repeat=repeat))
    out.answer(result, as_json, lambda: _show(result))
    raise typer.Exit(0 if result["status"] in ("succeeded", "previewed", "queued", "running") else 1)


def runs(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID | reverse ID | cancel ID]", help="Without it the latest are listed."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """List the latest runs, show one, undo one (reverse), or take back one that waits for an approval (cancel)."""
    with out.opened() as app:
        ways = {"reverse": app.reverse, "cancel": app.cancel}
        if words:
            verb, run_id = words if len(words) == 2 else ("", words[0])
            if len(words) > 2 or (verb and verb not in ways):
                raise Invalid("expected a run's id, reverse ID or cancel ID", code="usage")
            one = ways[verb](run_id) if verb else app.run(run_id)
            out.answer(one, as_json, lambda: _show(one))
            raise typer.Exit(0 if verb != "reverse" or one["status"] == "succeeded" else 1)
        found = app.runs(limit=limit)
    columns = ("run_id", "action", "status", "connection", "by", "created_at")
    rows = [[line.get("principal_name" if column == "by" else column) for column in columns] for line in found["data"]]
    spare = ("connection", "by", "created_at")
    out.answer(found, as_json, lambda: table(columns, rows, none="there is no run yet", spare=spare))


def _input(text: str | None, fields: list[str]) -> dict[str, Any]:
    value = _json(text) if text else {}
    if not isinstance(value, dict):
        raise Invalid('--input: expected a JSON object, such as \'{"ticket_ref": "tkt_…"}\'', code="usage")
    for field in fields:
        path, equals, word = field.partition("=")
        if not equals or not path:
            raise Invalid(f"{field}: expected key=value", code="usage")
        *steps, last = path.split(".")
        place = value
        for step in steps:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise Invalid(f"{field}: {step} already has a value", code="usage")
        place[last] = _scalar(word)
    return value


def _json(text: str) -> Any:
    try:
        if text.startswith("@"):
            with open(text[1:], encoding="utf-8") as file:
                text = file.read()
        return json.loads(text)
    except OSError as exc:
        raise Invalid(f"--input: {text[1:]} cannot be read: {exc.strerror}", code="usage") from exc
    except (ValueError, RecursionError) as exc:
        raise Invalid(f"--input: is not JSON: {exc}", code="usage") from exc


def _scalar(word: str) -> Any:
    """Take true, false, null and lists or objects as JSON; all else, numbers too, is text (ids keep their zeros)."""
    if word in ("true", "false", "null") or word[:1] in ("[", "{"):
        return _json(word)
    return word


def _show(result: dict[str, Any]) -> None:
    for key, value in result.items():
        if value not in (None, [], {}):
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            out.write(f"{key:16} {BOOLEANS.get(shown, shown)}")
