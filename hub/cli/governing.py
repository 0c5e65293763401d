"""What may be done: policy, approvals, freeze and unfreeze."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli import out
from hub.cli.out import Json
from hub.cli.tables import table
from hub.errors import Invalid, NotFound

policy = typer.Typer(help="Which actions may run.", no_args_is_help=True, rich_markup_mode=None)
approvals = typer.Typer(help="Runs that wait for a person.", invoke_without_command=True, rich_markup_mode=None)
Reference = Annotated[str, typer.Argument(metavar="ID", help="A run (run_…) or an approval (apr_…).")]
Thing = Annotated[str, typer.Argument(metavar="money", help="What stands still: money, and all that is irreversible.")]


def register(app: typer.Typer) -> None:
    """Add these commands to `hub`."""
    app.add_typer(policy, name="policy")
    app.add_typer(approvals, name="approvals")
    app.command()(freeze)
    app.command()(unfreeze)


@policy.command()
def check(as_json: Json = False) -> None:
    """Read the policy's file and list its rules."""
    with out.opened() as app:
        found = app.policy.current()
        path = str(app.policy.path)
    rules = [
        {
            "rule": r.name,
            "action": r.action,
            "when": [p.shown for p in r.when],
            "verdict": r.verdict,
            "shadow": r.shadow,
        }
        for r in found.rules
    ]
    columns = ("rule", "action", "when", "verdict", "shadow")
    rows = [[rule[column] for column in columns] for rule in rules]
    none = f"{path} has no rule: R0 to R2 are allowed, R3 and R4 denied"
    out.answer({"policy": path, "rules": rules}, as_json, lambda: table(columns, rows, none=none))


@policy.command("test")
def cases_(
    cases: Annotated[Path, typer.Argument(metavar="CASES.toml", help="Tables [[case]].")],
    as_json: Json = False,
) -> None:
    """Hold the policy against cases; tell rules that none hits, and thresholds that may move unnoticed."""
    from dataclasses import asdict

    from hub.policy import read_cases, run_cases

    with out.opened() as app:
        path, actions = app.policy.path, app.plugins.actions
        text = path.read_text("utf-8") if path.exists() else ""
        report = run_cases(tomllib.loads(text), read_cases(cases, actions), actions, str(path))

    def show() -> None:
        for case in report.failed:
            out.write(f"failed: {case['case']}: expected {case['expected']}, is {case['said']} by {case['rule']!r}")
        for rule in report.unhit:
            out.write(f"no case hits rule {rule!r}")
        for threshold in report.unguarded:
            out.write(f"no case guards {threshold}")
        out.write(f"{report.cases} cases, {'all is well' if report.passed else 'not good'}")

    out.answer(asdict(report) | {"passed": report.passed}, as_json, show)
    raise typer.Exit(0 if report.passed else 1)


@policy.command()
def explain(
    action: Annotated[str, typer.Argument(metavar="ACTION")],
    facts: Annotated[
        list[str] | None, typer.Argument(metavar="[FACT=VALUE]...", help='Such as amount="5.00 EUR".')
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which rules are about an action, which of their conditions hold, and what follows."""
    from hub.config import did_you_mean
    from hub.policy import explain as explained
    from hub.policy import facts_of

    with out.opened() as app:
        cls = app.plugins.actions.get(action)
        if cls is None:
            raise NotFound(f"there is no action {action!r}{did_you_mean(action, app.plugins.actions)}", code="usage")
        told = explained(app.policy.current(), cls, facts_of(_given(facts or []), "facts"))

    def show() -> None:
        out.write(f"{told['action']} ({told['risk']}): {told['verdict']} by {told['rule']!r}")
        for rule in told["rules"]:
            fails = f"; does not hold: {', '.join(rule['fails'])}" if rule["fails"] else "; matches"
            shadow = " (shadow)" if rule["mode"] == "shadow" else ""
            out.write(f"  {rule['rule']}{shadow}: {rule['verdict']}{fails}")

    out.answer(told, as_json, show)


def _given(facts: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for fact in facts:
        name, equals, value = fact.partition("=")
        if not equals:
            raise Invalid(f"{fact}: expected fact=value", code="usage")
        found[name] = {"true": True, "false": False}.get(value, value)
    return found


@approvals.callback()
def waiting(context: typer.Context) -> None:
    """List the runs that wait for a person, or decide one."""
    if context.invoked_subcommand is None:
        list_()


@approvals.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Those that were decided, too.")] = False,
    as_json: Json = False,
) -> None:
    """List the runs that wait for a person."""
    with out.opened() as app:
        found = app.approvals(pending=not everything)
    columns = ("id", "run_id", "action", "money", "group", "asked_by_name", "state", "expires_at")
    rows = [[_cell(line, column) for column in columns] for line in found["data"]]
    out.answer(
        found, as_json, lambda: table(columns, rows, none="nothing waits for an approval", spare=("group", "state"))
    )


def _cell(line: dict[str, Any], column: str) -> Any:
    from hub.money import Money

    value = line.get(column)
    return str(Money(**value)) if column == "money" and value else value


@approvals.command()
def approve(
    reference: Reference,
    plan: Annotated[str | None, typer.Option(help="The plan's hash as you looked at it.")] = None,
    as_json: Json = False,
) -> None:
    """Approve a run as the local operator, and do it."""
    with out.opened() as app:
        result = app.approve(reference, seen=plan)
    out.answer(result, as_json, lambda: out.write(f"{result['run_id']} {result['status']}"))
    raise typer.Exit(0 if result["status"] in ("succeeded", "running") else 1)


@approvals.command()
def deny(
    reference: Reference,
    reason: Annotated[str | None, typer.Option(help="Why, for the one who asked.")] = None,
    as_json: Json = False,
) -> None:
    """Deny a run as the local operator; nothing is sent."""
    with out.opened() as app:
        result = app.deny(reference, reason=reason)
    out.answer(result, as_json, lambda: out.write(f"{result['run_id']} {result['status']}"))


def freeze(
    what: Thing,
    reason: Annotated[str | None, typer.Option(help="Why; every denial tells it.")] = None,
    as_json: Json = False,
) -> None:
    """Hold back all money and all that is irreversible, in every process, until `hub unfreeze money`."""
    _money(what)
    with out.opened() as app:
        found = app.freeze(reason=reason)
    out.answer({"frozen": found}, as_json, lambda: out.write(f"money is frozen since {found['at']}"))


def unfreeze(what: Thing, as_json: Json = False) -> None:
    """Let money move again, as far as policy allows."""
    _money(what)
    with out.opened() as app:
        found = app.unfreeze()
    out.answer({"frozen": None, "lifted": found}, as_json, lambda: out.write("money moves again"))


def _money(what: str) -> None:
    if what != "money":
        raise Invalid(f"{what}: expected money", code="usage")
