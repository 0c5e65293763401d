"""What is built and installed: wheels in an empty environment, and a plugin from somebody else."""

import json
import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from hub.actions import CATALOGUE

ROOT = Path(__file__).parent.parent
PROJECTS = [ROOT, *sorted(ROOT.glob("plugins/*/"))]


def run(*command, cwd=None, env=None, code=0, timeout=300):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def pip(*words, **more):
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", *words, **more)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """The wheels of the core and the four plugins."""
    folder = tmp_path_factory.mktemp("wheels")
    for project in PROJECTS:
        pip("wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, project)
    return sorted(folder.glob("*.whl"))


def test_there_is_one_wheel_for_the_core_and_one_for_each_plugin(wheels):
    names = {wheel.name.split("-")[0] for wheel in wheels}
    assert names == {"deskhub", "deskhub_legacy", "deskhub_salesforce", "deskhub_stripe", "deskhub_zendesk"}


def test_the_cores_wheel_brings_the_default_mappings_and_no_tests(wheels):
    core = next(wheel for wheel in wheels if wheel.name.startswith("deskhub-"))
    names = set(zipfile.ZipFile(core).namelist())
    assert {f"hub/_mappings/{name}.toml" for name in ("salesforce", "zendesk", "stripe", "legacy")} <= names
    assert "hub/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "cassettes/"))]


def test_every_wheel_names_its_licence(wheels):
    licences = {}
    for wheel in wheels:
        archive = zipfile.ZipFile(wheel)
        metadata = next(name for name in archive.namelist() if name.endswith("METADATA"))
        lines = archive.read(metadata).decode().splitlines()
        licences[wheel.name.split("-")[0]] = next(
            li.split(": ")[1] for li in lines if li.startswith("License-Expression")
        )
    assert licences.pop("deskhub_zendesk") == "GPL-3.0-only"
    assert set(licences.values()) == {"Apache-2.0"}


def test_the_core_does_not_depend_on_any_vendor_sdk():
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert not [need for need in needs if need.startswith(("zenpy", "stripe", "simple"))]


@pytest.mark.timeout(420)
def test_wheels_work_in_an_empty_environment(wheels, tmp_path):
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    pip(
        "--python",
        python,
        "install",
        "-q",
        "--no-compile",
        "-c",
        ROOT / "constraints.txt",
        *wheels,
        env={"PIP_NO_WARN_SCRIPT_LOCATION": "1"},
    )
    hub = [python, "-m", "hub.cli"]
    elsewhere = tmp_path / "empty"
    elsewhere.mkdir()
    found = json.loads(run(*hub, "plugins", "--json", cwd=elsewhere))
    assert {p["name"] for p in found["plugins"]} == {"legacy", "salesforce", "stripe", "zendesk"}
    assert not [p for p in found["plugins"] if p["error"]]
    (elsewhere / "raw.ndjson").write_text('{"id": 7, "status": "open", "subject": "x", "requester_id": 1}\n')
    seen = json.loads(
        run(*hub, "map", "preview", "zendesk", "tickets", "--file", "raw.ndjson", "--json", cwd=elsewhere)
    )
    assert seen["records"][0]["data"]["status"] == "open"
    demo = json.loads(run(*hub, "demo", "--json", cwd=elsewhere))
    assert demo["refund"]["effects"] == 1
    assert [p.name for p in elsewhere.iterdir()] == ["raw.ndjson"]


def test_somebody_elses_plugin_is_found_syncs_and_acts(acme_folder, acme_sandbox, tmp_path):
    site, home = tmp_path / "site", tmp_path / "home"
    home.mkdir()
    before = {path: path.stat().st_mtime_ns for path in ROOT.glob("hub/**/*.py")}
    pip("install", "-q", "--no-deps", "--no-build-isolation", "--target", site, acme_folder)
    (home / "config.toml").write_text(
        f'[connections.acme]\nconnector = "acme"\nbase_url = "{acme_sandbox.url}"\ntoken = "${{ACME_TOKEN}}"\n'
    )
    env = {"PYTHONPATH": str(site), "ACME_TOKEN": "good-token"}
    hub = [sys.executable, "-m", "hub.cli"]
    plugins = json.loads(run(*hub, "plugins", "--json", cwd=home, env=env))["plugins"]
    mine = next(p for p in plugins if p["name"] == "acme")
    assert (mine["distribution"], mine["connectors"], mine["error"]) == ("deskhub-acme", ["acme"], None)

    run(*hub, "check", "acme", "--json", cwd=home, env=env)
    report = json.loads(run(*hub, "sync", "acme", "--json", cwd=home, env=env))["connections"]["acme"]
    assert (report["cases"]["read"], report["cases"]["rejected"], report["cases"]["error"]) == (90, 0, None)
    assert report["notes"]["read"] == 180

    note = ("ticket.note", "ticket_ref=acme/cases/AC-17", "body=Asked the warehouse", "--key", "note-1", "--json")
    first = json.loads(run(*hub, "act", *note, cwd=home, env=env))
    again = json.loads(run(*hub, "act", *note, cwd=home, env=env))
    assert (first["status"], again["status"], again["replayed"]) == ("succeeded", "succeeded", True)
    effects = acme_sandbox.effects("note AC-17")
    assert [effect.effect["audience"] for effect in effects] == ["staff"]
    assert before == {path: path.stat().st_mtime_ns for path in ROOT.glob("hub/**/*.py")}
    assert "ticket.note" in {action.name for action in CATALOGUE}
