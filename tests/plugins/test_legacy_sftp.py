"""The legacy connector on files over SFTP, against a real SSH server on loopback."""

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from pydantic import ValidationError

from hub import (
    Absent,
    Call,
    CannotTell,
    ConfigError,
    HubError,
    OrderUpdateShippingAddress,
    Page,
    Stream,
    Temporary,
    Transport,
    Unauthorized,
    Unknown,
    Verb,
)
from hub.app import App
from hub.transport import announce, watch
from hub_legacy import handover
from hub_legacy.connector import LegacyConnector
from hub_legacy.options import LegacyConfig
from hub_legacy.sftp import BLOCK

HEADER = "no,name\n"
ACTION = OrderUpdateShippingAddress.model_validate(
    {"order_ref": "ord_1", "address": {"line1": "x", "city": "x", "postal_code": "1", "country_code": "DE"}}
)
Opened = Callable[..., LegacyConnector]


class Server:
    """An SSH server with one user and one folder; `cut_after` bytes it drops the connection, once."""

    def __init__(self, folder: Path, key: asyncssh.SSHKey) -> None:
        self.folder, self.key = folder, key
        self.allowed: str | None = None
        self.cut_after: int | None = None
        self.refuse_rename = self.lose_rename = self.old_server = False
        self.closed_names: set[str] = set()
        self.read, self.logins = 0, 0
        self.after_listing: Callable[[], object] | None = None
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> "Server":
        self.thread.start()
        self.acceptor = asyncio.run_coroutine_threadsafe(self._listen(), self.loop).result(10)
        self.port = self.acceptor.get_port()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def _listen(self) -> Any:
        outer = self

        class Login(asyncssh.SSHServer):
            def password_auth_supported(self) -> bool:
                return True

            def validate_password(self, username: str, password: str) -> bool:
                return (username, password) == ("hub", "open sesame")

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
                return outer.allowed == key.get_fingerprint()

            def auth_completed(self) -> None:
                outer.logins += 1

        return await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[self.key], server_factory=Login, sftp_factory=self._files
        )

    def _files(self, channel: Any) -> "Files":
        return Files(channel, self)

    async def _stop(self) -> None:
        self.acceptor.close()
        await self.acceptor.wait_closed()
        await asyncio.sleep(0)

    def put(self, name: str, content: str | bytes, age_s: float = 60) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, (time.time() - age_s,) * 2)
        return path


class Files(asyncssh.SFTPServer):
    """The server's files, with what may go wrong."""

    def __init__(self, channel: Any, outer: Server) -> None:
        super().__init__(channel, chroot=os.fsencode(outer.folder))
        self.outer = outer

    def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
        if path.rpartition(b"/")[2].decode() in self.outer.closed_names:
            raise asyncssh.SFTPPermissionDenied("no")
        return super().open(path, pflags, attrs)

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        async for one in super().scandir(path):
            yield one
        then, self.outer.after_listing = self.outer.after_listing, None
        if then is not None:
            then()

    def read(self, file_obj: Any, offset: int, size: int) -> Any:
        found = super().read(file_obj, offset, size)
        self.outer.read += len(found)  # type: ignore[arg-type]
        if self.outer.cut_after is not None and self.outer.read > self.outer.cut_after:
            self.outer.cut_after = None
            self.channel.get_connection().abort()
        return found

    def rename(self, oldpath: bytes, newpath: bytes) -> Any:
        if self.outer.refuse_rename:
            raise asyncssh.SFTPFailure("no")
        if self.outer.lose_rename:
            self.channel.get_connection().abort()
            return None
        return super().rename(oldpath, newpath)

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> Any:
        if self.outer.old_server:
            raise asyncssh.SFTPOpUnsupported("no such extension")
        return super().posix_rename(oldpath, newpath)


@pytest.fixture(scope="module")
def host_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
def server(tmp_path: Path, host_key: asyncssh.SSHKey) -> Iterator[Server]:
    (tmp_path / "files" / "drop").mkdir(parents=True)
    with Server(tmp_path / "files", host_key) as running:
        yield running


@pytest.fixture
def opened(server: Server, host_key: asyncssh.SSHKey) -> Iterator[Opened]:
    made: list[LegacyConnector] = []

    def open_(**more: Any) -> LegacyConnector:
        settings = {
            "folder": f"sftp://hub@127.0.0.1:{server.port}/drop",
            "password": "open sesame",
            "host_key": host_key.get_fingerprint(),
            "settle_s": 0,
        }
        config = {key: value for key, value in (settings | more).items() if value is not None}
        made.append(LegacyConnector(LegacyConfig.model_validate(config), Transport("erp")))
        return made[-1]

    yield open_
    for connector in made:
        connector.close()
        connector.transport.close()


def pulled(
    connector: LegacyConnector, cursor: str | None = None, pattern: str = "c*.csv", **options: Any
) -> list[Page]:
    return list(connector.pull_any(Stream(pattern, key=("no",), options=options), cursor))


def names(pages: list[Page]) -> list[str]:
    return [json.loads(record)["name"] for page in pages for record in page.records or ()]


def last(pages: list[Page], before: str | None = None) -> str | None:
    return next((page.cursor for page in reversed(pages) if page.cursor is not None), before)


def test_new_files_and_appended_rows_are_read_over_sftp(server: Server, opened: Opened) -> None:
    server.put("drop/c-2.csv", HEADER + "2,Ben\n")
    server.put("drop/c-10.csv", HEADER + "10,Jo\n")
    server.put("drop/c-3.csv.part", HEADER + "3,half\n")
    server.put("drop/in/deep/c-4.csv", HEADER + "4,Di\n")
    connector = opened()
    first = pulled(connector)
    assert names(first) == ["Ben", "Jo"], "numbers in names count by value"
    assert pulled(connector, last(first)) == []
    server.put("drop/c-2.csv", HEADER + "2,Ben\n3,Chiara\n", age_s=5)
    assert names(pulled(connector, last(first))) == ["Chiara"]
    assert names(pulled(connector, pattern="**/c-*.csv")) == ["Ben", "Chiara", "Jo", "Di"]
    assert server.logins == 1, "one connection serves all pulls"
    assert connector.check().account == "folder:127.0.0.1/drop"
    assert [field.name for field in connector.describe("c-*.csv")] == ["no", "name"]


def test_a_packed_file_is_read_over_sftp(server: Server, opened: Opened) -> None:
    import gzip

    server.put("drop/c.csv.gz", gzip.compress((HEADER + "1,Ada\n").encode()))
    assert names(pulled(opened(), pattern="c*.csv.gz")) == ["Ada"]


def test_a_key_opens_the_server_with_its_passphrase(server: Server, opened: Opened, tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "key").write_bytes(
        key.export_private_key("openssh", passphrase="secret", rounds=1, ignore_few_rounds=True)
    )
    server.allowed = key.get_fingerprint()
    server.put("drop/c.csv", HEADER + "1,Ada\n")
    own = {"password": None, "private_key_file": tmp_path / "key"}
    assert names(pulled(opened(**own, passphrase="secret"))) == ["Ada"]
    with pytest.raises(ConfigError, match="private_key_file: key is no private key, or passphrase does not open it"):
        pulled(opened(**own, passphrase="wrong"))
    with pytest.raises(ConfigError, match="there is no file none at that path"):
        pulled(opened(password=None, private_key_file=tmp_path / "none"))


def test_wrong_credentials_are_told(server: Server, opened: Opened) -> None:
    with pytest.raises(Unauthorized, match="refused hub; check name, key and password") as caught:
        pulled(opened(password="wrong"))
    assert "wrong" not in caught.value.message


def test_an_unknown_host_key_is_told_with_its_fingerprint_and_what_to_do(
    server: Server, opened: Opened, host_key: asyncssh.SSHKey, tmp_path: Path
) -> None:
    known = tmp_path / "known_hosts"
    known.write_text("")
    with pytest.raises(Unauthorized, match="which is not known; nothing was sent") as caught:
        pulled(opened(host_key=None, known_hosts=known))
    assert f'host_key = "{host_key.get_fingerprint()}"' in caught.value.message
    assert server.logins == 0
    line = caught.value.message.partition("add to known_hosts: ")[2]
    known.write_text(line + "\n")
    server.put("drop/c.csv", HEADER + "1,Ada\n")
    assert names(pulled(opened(host_key=None, known_hosts=known))) == ["Ada"], "the line that was told lets it in"


def test_another_host_key_than_the_known_one_ends_the_connection(
    server: Server, opened: Opened, tmp_path: Path
) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(Unauthorized, match="not the one of host_key; nothing was sent"):
        pulled(opened(host_key=other.get_fingerprint()))
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {other.export_public_key().decode()}")
    with pytest.raises(Unauthorized, match="known_hosts has another one for it; nothing was sent"):
        pulled(opened(host_key=None, known_hosts=known))
    assert server.logins == 0


def test_without_any_known_host_nothing_is_believed(
    server: Server, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(Unauthorized, match=r"or add to ~/.ssh/known_hosts"):
        pulled(opened(host_key=None))
    with pytest.raises(ConfigError, match="known_hosts: there is no file none at that path"):
        pulled(opened(host_key=None, known_hosts=tmp_path / "none"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"folder": "sftp://127.0.0.1/drop", "password": "x"}, r"expected sftp://user@host:22/drop"),
        ({"folder": "sftp://hub:pw@host/drop", "password": "x"}, "the password does not belong into the URL"),
        ({"folder": "ftp://hub@host/drop"}, "expected a folder such as drop/, or sftp://"),
        ({"folder": "sftp://hub@host/drop"}, "expected password or private_key_file"),
        ({"folder": "sftp://hub@host/drop", "password": "x", "host_key": "md5:00"}, "expected a fingerprint"),
        ({"folder": "drop", "known_hosts": "known"}, "known_hosts: belongs to a folder over SFTP"),
    ],
)
def test_settings_of_sftp_that_cannot_be_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LegacyConfig.model_validate(config)


def test_a_connection_cut_in_the_middle_of_a_file_goes_on_there(server: Server, opened: Opened) -> None:
    rows = 40_000
    path = server.put("drop/c.csv", HEADER + "".join(f"{n},{'x' * 200}{n}\n" for n in range(rows)))
    connector = opened(page_size=5000)
    server.cut_after = 5 * BLOCK + BLOCK // 2
    pages: list[Page] = []
    with pytest.raises(Temporary, match=r"c.csv: cannot be read now \(ConnectionResetError\)"):
        pages.extend(connector.pull_any(Stream("c*.csv", key=("no",)), None))
    before = sum(len(page.records or ()) for page in pages)
    assert 0 < before < rows
    server.read = 0
    rest = pulled(connector, last(pages))
    found = [json.loads(record)["no"] for page in (*pages, *rest) for record in page.records or ()]
    assert found == [str(n) for n in range(rows)]
    assert server.logins == 2
    assert server.read < 6 * BLOCK < path.stat().st_size, "what was read before is not read again"


def test_a_file_that_may_not_be_read_stops_no_other(server: Server, opened: Opened) -> None:
    server.put("drop/c-1.csv", HEADER + "1,Ada\n")
    server.put("drop/c-2.csv", HEADER + "2,Ben\n")
    server.closed_names = {"c-1.csv"}
    pages: list[Page] = []
    with pytest.raises(Unauthorized, match=r"c-1.csv: this user may not read it"):
        pages.extend(opened().pull_any(Stream("c*.csv", key=("no",)), None))
    assert names(pages) == ["Ben"]
    server.closed_names = set()
    assert names(pulled(opened(), last(pages))) == ["Ada"]


def test_a_file_that_is_still_written_waits_whatever_the_servers_clock_says(server: Server, opened: Opened) -> None:
    path = server.put("drop/c.csv", HEADER + "1,Ada\n", age_s=3600)
    connector = opened(settle_s=0.05)
    server.after_listing = lambda: path.write_text(HEADER + "1,Ada\n2,Be")
    assert names(pulled(connector)) == []
    path.write_text(HEADER + "1,Ada\n2,Ben\n")
    assert names(pulled(connector)) == ["Ada", "Ben"]


def test_a_link_out_of_the_folder_is_not_followed_over_sftp(server: Server, opened: Opened) -> None:
    server.put("secret.csv", HEADER + "1,Ada\n")
    server.put("drop/in/c-2.csv", HEADER + "2,Ben\n")
    (server.folder / "drop" / "c-1.csv").symlink_to("../secret.csv")
    (server.folder / "drop" / "c-2.csv").symlink_to("in/c-2.csv")
    assert names(pulled(opened())) == ["Ben"]


@pytest.mark.parametrize("old_server", [False, True])
def test_files_read_to_their_end_are_acknowledged_over_sftp(server: Server, opened: Opened, old_server: bool) -> None:
    server.old_server = old_server
    server.put("drop/c.csv", HEADER + "1,Ada\n")
    connector = opened(acks="acks")
    first = pulled(connector)
    target = server.folder / "drop" / "acks" / "c.csv.ack.json"
    assert json.loads(target.read_bytes())["read"] == 1
    server.put("drop/c.csv", HEADER + "1,Ada\n2,Ben\n", age_s=1)
    pulled(connector, last(first))
    assert json.loads(target.read_bytes())["read"] == 2
    assert [path.name for path in target.parent.iterdir()] == ["c.csv.ack.json"]


def call(key: str = "k1") -> Call:
    return Call("run_1", key, verb=Verb(file=f"out/move-{key}.csv", set={"request_id": key}), sending=announce)


def done(connector: LegacyConnector, asked: Call) -> str:
    with watch():
        return connector.do(ACTION, asked).status


def test_a_request_file_appears_whole_and_once(server: Server, opened: Opened) -> None:
    connector = opened()
    assert isinstance(connector.look_up(ACTION, call()), Absent)
    assert done(connector, call()) == "unknown", "without an acknowledgement nobody knows more"
    target = server.folder / "drop" / "out" / "move-k1.csv"
    assert target.read_bytes() == b"request_id\r\nk1\r\n"
    assert [path.name for path in target.parent.iterdir()] == ["move-k1.csv"]
    target.unlink()  # the system takes it
    assert done(connector, call()) == "unknown"
    assert not target.exists(), "a repeat finds the receipt"
    assert isinstance(connector.look_up(ACTION, call()), CannotTell)


def test_a_rename_that_the_server_refuses_is_made_up_for(server: Server, opened: Opened) -> None:
    connector = opened()
    server.refuse_rename = True
    with pytest.raises(HubError, match="nothing was handed over") as caught:
        done(connector, call())
    assert caught.value.error_code == "not_sent"
    assert isinstance(connector.look_up(ACTION, call()), Absent)
    server.refuse_rename = False
    assert done(connector, call()) == "unknown"
    assert (server.folder / "drop" / "out" / "move-k1.csv").exists()


def test_a_rename_whose_answer_is_lost_is_looked_up(server: Server, opened: Opened) -> None:
    connector = opened()
    server.lose_rename = True
    with pytest.raises(Unknown, match="whether it was is not known"):
        done(connector, call())
    server.lose_rename = False
    assert isinstance(connector.look_up(ACTION, call()), Absent), "it lies there under its hidden name"
    os.replace(
        server.folder / "drop" / handover.waiting_of("out/move-k1.csv"), server.folder / "drop" / "out" / "move-k1.csv"
    )
    assert isinstance(connector.look_up(ACTION, call()), CannotTell)
    assert done(connector, call()) == "unknown"
    assert [path.name for path in (server.folder / "drop" / "out").iterdir()] == ["move-k1.csv"]


def test_a_server_that_is_not_there_is_told(server: Server, opened: Opened) -> None:
    connector = opened(folder="sftp://hub@127.0.0.1:9/drop")
    with pytest.raises(Temporary, match=r"127.0.0.1:9 cannot be reached now"):
        pulled(connector)
    with pytest.raises(ConfigError, match=r"127.0.0.1 has no folder /nowhere, or hides it from hub"):
        pulled(opened(folder=f"sftp://hub@127.0.0.1:{server.port}/nowhere"))


def test_a_connection_that_broke_between_pulls_is_made_anew(server: Server, opened: Opened) -> None:
    server.put("drop/c.csv", HEADER + "1,Ada\n")
    connector = opened()
    first = pulled(connector)
    server.cut_after = 0
    server.put("drop/c-2.csv", HEADER + "2,Ben\n")
    with pytest.raises(Temporary):
        pulled(connector, last(first))
    assert names(pulled(connector, last(first))) == ["Ben"]
    assert server.logins == 2


def test_the_folder_may_start_at_the_users_home(server: Server, opened: Opened) -> None:
    server.put("drop/c.csv", HEADER + "1,Ada\n")
    connector = opened(folder=f"sftp://hub@127.0.0.1:{server.port}/~/drop")
    assert names(pulled(connector)) == ["Ada"]


def test_a_hub_syncs_files_over_sftp_as_its_config_says(
    server: Server, host_key: asyncssh.SSHKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("HUB_HUB__DATABASE_URL", database_url)
    monkeypatch.setenv("ERP_PASSWORD", "open sesame")
    server.put("drop/c.csv", HEADER + "1,Ada\n2\n")
    line = f"[127.0.0.1]:{server.port} {host_key.export_public_key().decode()}"
    (tmp_path / "known_hosts").write_text(line)
    (tmp_path / "erp.toml").write_text(
        '[customers]\nstream = "c*.csv"\nkind = "customer"\nkey = "no"\n[customers.fields]\ndisplay_name = "name"\n'
    )
    (tmp_path / "config.toml").write_text(
        f'[connections.erp]\nconnector = "legacy"\nfolder = "sftp://hub@127.0.0.1:{server.port}/drop"\n'
        'password = "${ERP_PASSWORD}"\nknown_hosts = "known_hosts"\nmapping = "erp.toml"\nsettle_s = 0\nacks = "acks"\n'
    )
    with App.open(tmp_path / "config.toml") as app:
        assert app.check(["erp"])["erp"]["account"] == "folder:127.0.0.1/drop"
        found = app.sync(["erp"])["erp"]["customers"]
        assert (found["error"], found["changed"], found["rejected"]) == (None, 1, 1)
    assert json.loads((server.folder / "drop" / "acks" / "c.csv.ack.json").read_bytes())["rejected"] == 1
    assert not any(thread.name == "sftp" for thread in threading.enumerate()), "closing ends its thread"
