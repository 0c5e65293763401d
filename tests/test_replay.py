"""Real recordings, served as the vendor would, through the command line: every object is accounted for."""

import json
import os
import subprocess
import sys
import urllib.request

import pytest

from hub.cli import run

RECORDED = {
    "zendesk": ("zendesk-zenpy.jsonl", {"subdomain": "acme", "email": "ops@acme.example", "token": "${SECRET}"}),
    "stripe": ("stripe-pay.jsonl", {"api_key": "${SECRET}"}),
    "salesforce": ("salesforce-cumulusci.jsonl", {"instance": "acme.my.salesforce.com", "session_id": "${SECRET}"}),
}
SERVED = {
    "zendesk": {"users": "zendesk.users", "organizations": "zendesk.organizations", "tickets": "zendesk.tickets"},
    "stripe": {
        "customers": "customer",
        "payment_intents": "payment_intent",
        "refunds": "refund",
        "subscriptions": "subscription",
    },
    "salesforce": {"Contact": "contact", "Account": "account"},
}


@pytest.fixture
def replay(shared):
    """Start the server of recordings; its URL."""
    started = []

    def start(file):
        command = [sys.executable, str(shared / "tools" / "replay.py"), str(shared / "recordings" / file), "--lists"]
        command += ["--describes", str(shared / "recordings" / "salesforce-describe")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process.stdout.readline().strip()

    yield start
    for process in started:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def hub(folder, *words):
    done = subprocess.run(
        [sys.executable, "-m", "hub.cli", *words],
        cwd=folder,
        env={**os.environ, "SECRET": "sk_test_made_up_secret_value"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "made_up_secret" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def previewed(capfd):
    """Give what `hub map preview` prints for a file of raw records."""

    def preview(name, stream, raw):
        capfd.readouterr()
        code = run(["map", "preview", name, stream, "--file", str(raw), "--json"])
        shown = capfd.readouterr()
        assert code == 0, shown.err
        return json.loads(shown.out)["records"]

    return preview


@pytest.mark.parametrize("name", RECORDED)
def test_a_full_sync_of_recordings_reads_every_object(replay, tmp_path, name):
    file, settings = RECORDED[name]
    url = replay(file)
    lines = [f'connector = "{name}"', f'base_url = "{url}"', *(f'{k} = "{v}"' for k, v in settings.items())]
    (tmp_path / "config.toml").write_text(f"[connections.{name}]\n" + "\n".join(lines) + "\n")
    assert hub(tmp_path, "check", "--json")["connections"][name]["ok"]
    report = hub(tmp_path, "sync", "--full", "--json")["connections"][name]

    assert {table: line["error"] for table, line in report.items() if line["error"]} == {}
    served = json.loads(urllib.request.urlopen(f"{url}/_replay/objects", timeout=10).read())
    for table, line in report.items():
        sort = SERVED[name].get(line["stream"])
        assert line["read"] == (served.get(sort, 0) if sort else 0), table
        assert line["rejected"] == 0, table
        assert line["read"] == line["changed"] + line["deleted"] + line["skipped"] + line["rejected"] + _elsewhere(
            report, line
        )


def _elsewhere(report, line):
    """Count the records of a stream that another table of it took."""
    same = [other for other in report.values() if other["stream"] == line["stream"] and other is not line]
    return sum(other["changed"] + other["deleted"] for other in same)


def dumped(shared, folder, file):
    """Write the recorded objects of a file into NDJSON files, one per sort of object."""
    tool = shared / "tools" / "replay.py"
    subprocess.run([sys.executable, tool, shared / "recordings" / file, "--dump", folder], check=True, timeout=60)
    return folder


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_object_goes_through_the_preview(shared, tmp_path, previewed, name):
    folder = dumped(shared, tmp_path, RECORDED[name][0])
    for stream, sort in SERVED[name].items():
        raw = folder / f"{sort}.ndjson"
        shown = previewed(name, stream, raw)
        assert len(shown) == len(raw.read_text().splitlines())
        assert [entry["reject"] for entry in shown if "reject" in entry] == []
        assert all(entry.get("skipped") or entry.get("deleted") or entry["data"]["remote_id"] for entry in shown)


def test_the_objects_of_recorded_webhook_events_go_through_the_preview_too(shared, tmp_path, previewed):
    folder, seen = dumped(shared, tmp_path, "stripe-webhook-events.jsonl"), 0
    for stream, sort in SERVED["stripe"].items():
        raw = folder / f"{sort}.ndjson"
        if raw.exists():
            shown = previewed("stripe", stream, raw)
            assert [entry["reject"] for entry in shown if "reject" in entry] == []
            seen += len(shown)
    assert seen > 5
