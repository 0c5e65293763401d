"""The documents say what the code does."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from hub import hookspecs
from hub.connections import load_sandbox
from hub.mapping import check
from hub.plugins import discover
from hub.testing import case_for

ROOT = Path(__file__).parent.parent
DOCS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("plugins/*/README.md")])


def generate():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_current():
    assert generate().main(check=True) == 0


def test_every_hook_says_what_it_is_for():
    hooks = [value for name, value in vars(hookspecs).items() if name.startswith("hub_")]
    assert hooks
    assert all(hook.__doc__ and len(hook.__doc__.strip()) > 20 for hook in hooks)


@pytest.mark.parametrize("page", DOCS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_to_files_of_the_project_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("name", ["salesforce", "stripe", "zendesk"])
def test_the_readme_of_a_connector_names_every_action_it_can_do(name):
    page = (ROOT / "plugins" / name / "README.md").read_text()
    marks = [mark.name for mark in discover().connectors[name].marks if mark.role == "act"]
    assert [one for one in marks if f"`{one}`" not in page and f"`{one.partition('.')[2]}`" not in page] == []


@pytest.mark.parametrize("page", DOCS, ids=lambda p: str(p.relative_to(ROOT)))
def test_toml_blocks_parse(page):
    for block in re.findall(r"```toml\n(.*?)```", page.read_text(), re.S):
        tomllib.loads(block)


def test_the_further_examples_of_a_connector_work(acme, acme_sandbox, acme_folder):
    page = (ROOT / "docs" / "connectors.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.S)
    known = vars(acme).copy() | {"__name__": "hub_acme"}
    for example in examples:
        if example.startswith("class "):
            exec(compile(example, "docs/connectors.md", "exec"), known)
    assert [action.name for action in known["hub_actions"]()] == ["case.escalate"]
    assert known["CaseEscalate"](ticket_ref="acme/cases/AC-1", why="x").changes()["message"]["visibility"] == "internal"
    convert = known["hub_converters"]()["case_number"]
    assert convert("AC-17") == "17"
    with pytest.raises(ValueError, match="begins with AC-"):
        convert("17")
    with case_for(known["FullerConnector"], sandbox=acme_sandbox, samples={}) as case:
        marks = {(mark.role, mark.name) for mark in case.connector.marks}
        assert {("act", "ticket.create"), ("act", "ticket.set_status"), ("find", "ticket.note")} <= marks
        fields = {"cases": case.connector.describe("cases")}
        problems = check(case.mapping, fields=fields)
    assert {problem.severity for problem in problems} == {"warning"}
    assert load_sandbox(known["AcmeConnector"]) is type(acme_sandbox)


def test_constraints_hold_names_and_versions_only():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line), line


def test_every_dependency_is_pinned():
    pinned = {
        re.split("==", line)[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()
    }
    wanted = []
    for file in [ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")]:
        project = tomllib.loads(file.read_text())["project"]
        wanted += project["dependencies"]
        wanted += [d for extra in project.get("optional-dependencies", {}).values() for d in extra]
    names = {re.split(r"[\[<>=!~; ]", d)[0].lower().replace("_", "-") for d in wanted}
    assert {n for n in names if not n.startswith("deskhub")} <= pinned
