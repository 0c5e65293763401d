"""hub doctor: each thing that usually goes wrong is found, told with what to do, and stops no other look."""

import json
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hub.api import create_app
from hub.app import App, upgrade_databases
from hub.app.doctor import Finding, examine, storage
from hub.cli import run
from hub.errors import near
from hub.store import Database, Health, look

Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Write a private config.toml, and say where."""

    def write(text: str = "", mode: int = 0o600) -> Path:
        file = tmp_path / "config.toml"
        file.write_text("[hub]\nport = 0\n" + text)
        file.chmod(mode)
        return file

    return write


def found(config: Path, **more: Any) -> dict[str, list[Finding]]:
    by_check: dict[str, list[Finding]] = {}
    for finding in examine(config, **more):
        by_check.setdefault(finding.check, []).append(finding)
    return by_check


def bad(config: Path, **more: Any) -> list[tuple[str, str]]:
    return [(f.check, f.status) for fs in found(config, **more).values() for f in fs if f.status != "ok"]


def test_a_fresh_installation_is_well_and_stays_untouched(folder: Folder, tmp_path: Path) -> None:
    config = folder()
    looked = found(config)
    assert [f for fs in looked.values() for f in fs if f.status != "ok"] == []
    assert looked["database hub"][0].found == "not there yet; it is made at first use"
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


def test_a_working_installation_is_well(folder: Folder, database_url: str) -> None:
    config = folder(f'database_url = "{database_url}"\n')
    upgrade_databases(config)
    with App.open(config) as app:
        app.ready()
    looked = found(config)
    assert [f for fs in looked.values() for f in fs if f.status != "ok"] == []
    assert looked["database ledger"][0].found.startswith("version ")


def test_every_missing_secret_is_named_and_the_rest_is_looked_at(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ERP_URL", raising=False)
    monkeypatch.delenv("STRIPE_KEY", raising=False)
    config = folder(
        '[connections.erp]\nconnector = "legacy"\ndatabase_url = "${ERP_URL}"\n'
        '[connections.stripe]\nconnector = "stripe"\napi_key = "${STRIPE_KEY}"\n'
    )
    looked = found(config)
    assert [(f.found, f.do) for f in looked["secrets"]] == [
        ("ERP_URL is not set; [connections.erp] database_url needs it", "export ERP_URL"),
        ("STRIPE_KEY is not set; [connections.stripe] api_key needs it", "export STRIPE_KEY"),
    ]
    assert looked["mapping erp"][0].status == "ok"
    assert "connection erp" not in looked, "without its secret it is not tried"


def test_a_file_that_cannot_be_read_is_told(folder: Folder, tmp_path: Path) -> None:
    config = folder("nonsense = = 1\n")
    (broken,) = found(config)["config"]
    assert (broken.status, broken.do) == ("failed", "mend the file; the rest cannot be looked at before")
    assert "is not TOML" in broken.found
    assert "there is no such file" in found(tmp_path / "none.toml")["config"][0].found


def test_what_others_can_read_is_told_with_the_command_that_mends_it(folder: Folder) -> None:
    config = folder(mode=0o644)
    upgrade_databases(config)
    (config.parent / "hub.db").chmod(0o664)
    looked = found(config)
    assert [(f.status, f.do) for f in looked["config"]][1] == ("warning", f"chmod 600 {near(config)}")
    assert looked["database hub"][1].status == "warning"


def test_a_plugin_and_a_mapping_that_fail_are_told_by_name(folder: Folder) -> None:
    config = folder(
        '[connections.fax]\nconnector = "fax"\n'
        '[connections.erp]\nconnector = "legacy"\nfolder = "."\nmapping = "erp.toml"\n'
    )
    (config.parent / "erp.toml").write_text('[customers]\nkind = "custmer"\nkey = "no"\n')
    looked = found(config, timeout_s=0)
    assert (looked["connection fax"][0].status, looked["connection fax"][0].do) == (
        "failed", "pip install deskhub-fax"
    )  # fmt: skip
    assert looked["mapping erp"][0].status == "failed"
    assert "hub map check erp" in (looked["mapping erp"][0].do or "")


def test_a_port_that_is_taken_is_told_unless_a_hub_has_it(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.app.doctor.outside._ASK_S", 0.1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = folder()
        config.write_text(f"[hub]\nport = {taken.getsockname()[1]}\n")
        (port,) = found(config)["port"]
        assert (port.status, "cannot be listened on" in port.found) == ("failed", True)


def test_a_hub_that_serves_has_its_port_rightly(folder: Folder, serving: Callable[[Path], int]) -> None:
    config = folder()
    number = serving(config)
    config.write_text(f"[hub]\nport = {number}\n")
    assert found(config)["port"][0].found == f"a hub listens on 127.0.0.1:{number}"


@pytest.fixture
def serving() -> Iterator[Callable[[Path], int]]:
    import threading

    import uvicorn

    servers: list[tuple[uvicorn.Server, threading.Thread, App]] = []

    def serve(config: Path) -> int:
        app = App.open(config)
        server = uvicorn.Server(uvicorn.Config(create_app(app), host="127.0.0.1", port=0, log_level="error"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        servers.append((server, thread, app))
        return int(server.servers[0].sockets[0].getsockname()[1])

    yield serve
    for server, thread, app in servers:
        server.should_exit = True
        thread.join()
        app.close()


def test_a_connection_that_refuses_and_one_that_is_silent_are_told(folder: Folder, tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        config = folder(
            f'[connections.slow]\nconnector = "stripe"\napi_key = "sk_test_1"\nbase_url = "{url}"\n'
            '[connections.erp]\nconnector = "legacy"\nfolder = "nowhere"\n'
        )
        looked = found(config, timeout_s=0.5)
    assert looked["connection slow"][0].found == "did not answer within 0.5 s"
    assert "there is no folder nowhere" in looked["connection erp"][0].found


def test_files_that_are_no_databases_of_this_version_are_told(folder: Folder, tmp_path: Path) -> None:
    config = folder()
    (tmp_path / "hub.db").write_bytes(b"this is no database, and it is long enough to be looked at as one" * 20)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger:
        ledger.execute("CREATE TABLE alembic_version (version_num TEXT)")
        ledger.execute("INSERT INTO alembic_version VALUES ('9999')")
        ledger.commit()
    looked = found(config)
    assert "is no database that Deskhub wrote" in looked["database hub"][0].found
    assert "from a newer Deskhub" in looked["database ledger"][0].found


def test_a_database_of_a_newer_version_is_told(folder: Folder, database_url: str) -> None:
    with closing(Database(database_url, "hub")) as database, database.write() as tx:
        tx.execute("UPDATE alembic_version SET version_num = '9999'")
    (told,) = found(folder(f'database_url = "{database_url}"\n'))["database hub"]
    assert (told.status, "from a newer Deskhub" in told.found) == ("failed", True)


def test_a_database_that_somebody_holds_is_busy_not_broken(
    folder: Folder, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.store.health._WAIT_S", 0.1)
    config = folder(f'database_url = "{database_url}"\n')
    with closing(Database(database_url, "hub")) as other, other.write():
        looked = found(config)
    assert [(f.status, f.found) for f in looked["database hub"]][1:] == [
        ("warning", "another process has been writing for over two seconds")
    ]


def test_a_database_is_looked_at_without_a_change(database_url: str) -> None:
    health = look(database_url, "hub")
    assert health.version == health.newest
    assert (health.unwritable, health.busy, health.latest_s) == (None, False, None)
    assert abs(health.clock_s) < 5


def test_a_page_from_the_future_shows_a_clock_that_went_back(database_url: str) -> None:
    with closing(Database(database_url, "hub")) as database, database.write() as tx:
        later = int((time.time() + 3600) * 1000)
        tx.execute("INSERT INTO cursor (connection, stream, read_at) VALUES ('erp', 'orders', ?)", (later,))
    health = look(database_url, "hub")
    assert health.latest_s is not None
    assert 3590 < health.latest_s < 3610
    (finding,) = storage.clock("database hub", health)
    assert (finding.check, finding.status) == ("clock", "warning")


@pytest.mark.parametrize(
    ("health", "status", "words"),
    [
        (Health("0001", "0001", clock_s=3.0), "warning", "clock is 3 s ahead of this machine's"),
        (Health("0001", "0001", clock_s=-90.0), "failed", "clock is 90 s behind this machine's"),
        (Health("0001", "0001", free_bytes=900 << 20), "warning", "900 MB are free"),
        (Health("0001", "0001", free_bytes=9 << 20), "failed", "9 MB are free"),
        (Health("0001", "0001", unwritable="attempt to write a readonly database"), "failed", "cannot be written"),
        (Health("0001", "0002"), "warning", "of version 0001; this Deskhub has 0002"),
    ],
)
def test_what_is_wrong_with_a_database_says_how_bad_it_is(health: Health, status: str, words: str) -> None:
    told = [finding for finding in storage.told("database hub", health) if finding.status != "ok"]
    assert [(finding.status, words in finding.found, bool(finding.do)) for finding in told] == [(status, True, True)]


def test_the_command_answers_with_its_exit_code(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    config = folder()
    assert run(["--config", str(config), "doctor", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"]
    assert {"check", "status", "found", "do"} == set(answer["checks"][0])
    config.write_text('[hub]\nport = 0\n[connections.erp]\nconnector = "legacy"\nfolder = "nowhere"\n')
    assert run(["--config", str(config), "doctor"]) == 1
    text = capsys.readouterr().out
    assert "failed   connection erp: " in text
    assert "→ " in text
