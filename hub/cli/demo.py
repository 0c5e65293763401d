"""See it work, with nothing to set up: demo."""

from typing import Annotated, Any

import typer

from hub.cli import out
from hub.cli.out import Json
from hub.cli.syncing import Progress, failed, show

COLUMNS = ("connection", "table", "kind", "read", "rejected", "seconds")


def register(app: typer.Typer) -> None:
    """Add this command to `hub`."""
    app.command()(demo)


def demo(
    serve: Annotated[bool, typer.Option("--serve", help="Stay up afterwards, with the API on a free port.")] = False,
    customers: Annotated[int, typer.Option(min=50, help="How many people live in the sandboxes' world.")] = 500,
    as_json: Json = False,
) -> None:
    """Run the main job on sandboxes. Sync, one customer in all systems, a refund that happens once."""
    from hub.app.demo import Story, staged

    with staged(customers) as (app, sandboxes):
        app.log_to_stderr()
        story = Story(app, sandboxes, say=out.say)
        with Progress() as progress:
            told = story.tell(progress)
        out.answer(told, as_json, lambda: _show(told))
        if serve:
            from hub.cli.serving import bound, listen

            out.say(f"key: {app.keys.ensure_admin_key()}")
            with bound("127.0.0.1", 0) as listening:
                listen(app, listening, worker=False)
    if failed(told["connections"]) or any(told[part]["effects"] != 1 for part in ("refund", "reply", "address")):
        raise typer.Exit(1)


def _show(told: dict[str, Any]) -> None:
    show(told["connections"], COLUMNS)
    customer = told["customer"]
    out.write(f"customer  {customer['name']} ({customer['id']}) in {', '.join(customer['connections'])}")
    refund = told["refund"]
    for request in (refund["preview"].get("preview") or {}).get("requests", []):
        sent = request.get("request") or {}
        out.write(f"preview   {sent.get('method')} {sent.get('url')} (not sent)")
    out.write(f"refund    {refund['first']['status']}, then with the same key: {_replayed(refund['second'])}")
    for part, what in (("refund", "refunds"), ("reply", "replies"), ("address", "address changes")):
        out.write(f"proof     {told[part]['effects']} of 1 {what} in the system's own ledger")
    out.write(f"done in {told['seconds']} s")


def _replayed(result: dict[str, Any]) -> str:
    return "the first answer again" if result["replayed"] else "done again"
