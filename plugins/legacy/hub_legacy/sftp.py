"""A folder behind SFTP. asyncssh runs on a loop in a thread of its own; what calls it is plain and waits."""

import asyncio
import fnmatch
import io
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast
from urllib.parse import unquote, urlsplit

from hub import ConfigError, Temporary, Unauthorized
from hub_legacy.options import LegacyConfig
from hub_legacy.places import Entry, beside, checked_pattern, is_finished, natural

if TYPE_CHECKING:
    import asyncssh

BLOCK = 1 << 20
_KEPT = 6
_CONNECT_S, _ANSWER_S = 15.0, 60.0
_DIRECTORY, _LINK = 2, 3
T = TypeVar("T")


class Sftp:
    """
    A folder on an SFTP server; the connection is made at first use and kept. Thread-safe.

    The server's host key must be known: by `host_key`, or by a line of `known_hosts`. There is no way around that.
    """

    remote = True

    def __init__(self, config: LegacyConfig) -> None:
        assert isinstance(config.folder, str)
        url = urlsplit(config.folder)
        self.config = config
        self.host, self.port = url.hostname or "", url.port or 22
        self.user = unquote(url.username or "")
        self.root = _folder(unquote(url.path))
        self.label = f"{self.host}{self.root if self.root.startswith('/') else f'/~/{self.root}'}"
        self._thread = _LoopThread()
        self._lock = threading.Lock()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._client: asyncssh.SFTPClient | None = None

    def is_there(self) -> bool:
        return self._do(lambda sftp: sftp.isdir(self.root))

    def entries(self, pattern: str) -> list[Entry]:
        steps = checked_pattern(pattern)
        if not self.is_there():
            raise ConfigError(f"folder: {self.host} has no folder {self.root}, or hides it from {self.user}")
        try:
            found = self._do(lambda sftp: _listed(sftp, self.root, steps))
        except PermissionError as exc:
            raise Unauthorized(f"folder: {self.user} may not list it on {self.host}") from exc
        return sorted(found, key=lambda entry: natural(entry.name))

    def stamps(self, folder: str) -> dict[str, int]:
        found = self._do(lambda sftp: _within(sftp, self._path(folder)))
        return {_name(one): _mtime_ns(one.attrs) for one in found if one.attrs.type != _DIRECTORY}

    def open(self, name: str) -> BinaryIO:
        file = self._do(lambda sftp: _handle(sftp, self._path(name)))
        return cast(BinaryIO, io.BufferedReader(_Remote(self, file), BLOCK // 16))

    def content(self, name: str) -> bytes | None:
        try:
            with self.open(name) as file:
                return file.read()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        temporary = beside(name, "new.tmp")
        self.put(temporary, content)
        self._do(lambda sftp: _replaced(sftp, self._path(temporary), self._path(name)))

    def put(self, name: str, content: bytes) -> None:
        self._do(lambda sftp: _written(sftp, self._path(name), content))

    def rename(self, old: str, new: str) -> None:
        """Rename a file; one that is there under the new name stays, and that is an error."""
        self._do(lambda sftp: sftp.rename(self._path(old), self._path(new)))

    def close(self) -> None:
        with self._lock:
            if self._connection is not None and self._thread.is_running:
                self._thread.run(_closed(self._connection), _CONNECT_S)
            self._connection = self._client = None
            self._thread.stop()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work on the connection. Raises OSError for what the server refuses; a silent one is given up."""
        try:
            with _translated():
                return self._thread.run(work, _ANSWER_S)
        except (ConnectionError, TimeoutError):
            self._give_up()
            raise

    def _do(self, work: "Callable[[asyncssh.SFTPClient], Coroutine[Any, Any, T]]") -> T:
        return self.call(work(self._session()))

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    def _give_up(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._thread.soon(self._connection.abort)
            self._connection = self._client = None

    def _session(self) -> "asyncssh.SFTPClient":
        with self._lock:
            if self._client is None or self._connection is None or self._connection.is_closed():
                self._connection = self._client = None
                self._connection, self._client = self._opened()
            return self._client

    def _opened(self) -> "tuple[asyncssh.SSHClientConnection, asyncssh.SFTPClient]":
        try:
            import asyncssh
        except ModuleNotFoundError as exc:
            raise ConfigError('folder: files over SFTP need `pip install "deskhub-legacy[sftp]"`') from exc
        from hub_legacy.hostkeys import KnownHost

        known = KnownHost(self.host, self.port, self.config.host_key, self.config.known_hosts)
        where = f"{self.host}:{self.port}"
        try:
            return self._thread.run(self._connected(known), _CONNECT_S * 2)
        except asyncssh.HostKeyNotVerifiable as exc:
            raise Unauthorized(f"folder: {known.complaint()}") from exc
        except asyncssh.PermissionDenied as exc:
            raise Unauthorized(f"folder: {where} refused {self.user}; check name, key and password") from exc
        except (OSError, TimeoutError, asyncssh.Error) as exc:
            raise Temporary(f"folder: {where} cannot be reached now ({type(exc).__name__})") from exc

    async def _connected(self, known: Any) -> "tuple[asyncssh.SSHClientConnection, asyncssh.SFTPClient]":
        import asyncssh

        config = self.config
        connection = await asyncssh.connect(
            self.host,
            self.port,
            username=self.user,
            password=config.password.get_secret_value() if config.password else None,
            client_keys=_keys(config),
            known_hosts=known.text(),
            client_factory=known.client(),
            config=None,
            agent_path=None,
            gss_host=None,
            connect_timeout=_CONNECT_S,
            login_timeout=_CONNECT_S,
            keepalive_interval=_CONNECT_S,
        )
        try:
            return connection, await connection.start_sftp_client()
        except BaseException:
            connection.abort()
            raise


def _keys(config: LegacyConfig) -> "list[asyncssh.SSHKey]":
    import asyncssh

    if config.private_key_file is None:
        return []
    secret = config.passphrase.get_secret_value() if config.passphrase else None
    name = config.private_key_file.name
    try:
        return [asyncssh.read_private_key(config.private_key_file, secret)]
    except FileNotFoundError as exc:
        raise ConfigError(f"private_key_file: there is no file {name} at that path") from exc
    except OSError as exc:
        raise ConfigError(f"private_key_file: {name} cannot be read ({type(exc).__name__})") from exc
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as exc:
        raise ConfigError(f"private_key_file: {name} is no private key, or passphrase does not open it") from exc


class _LoopThread:
    """An event loop in a thread of its own, started at first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        return self._loop is not None

    def run(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Run a coroutine on the loop and wait for it. Raises TimeoutError."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="sftp", daemon=True)
                self._thread.start()
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, seconds), self._loop).result()

    def soon(self, what: Callable[[], object]) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(what)

    def stop(self) -> None:
        with self._lock:
            if self._loop is None or self._thread is None:
                return
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._loop = self._thread = None


class _Remote(io.RawIOBase):
    """A file on the server, read in blocks. The first block and the last few stay in memory, for seeking back."""

    def __init__(self, place: Sftp, file: "asyncssh.SFTPClientFile") -> None:
        self._place, self._file = place, file
        self._at = 0
        self._blocks: dict[int, bytes] = {}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            offset += self._place.call(self._file.stat()).size or 0
        self._at = offset + (self._at if whence == io.SEEK_CUR else 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        number, start = divmod(self._at, BLOCK)
        piece = self._block(number, start)[start : start + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _block(self, number: int, start: int) -> bytes:
        """Give a block that reaches beyond `start`, where the file does."""
        found = self._blocks.get(number)
        if found is None or start >= len(found):
            found = self._blocks[number] = self._place.call(_bytes(self._file, number * BLOCK))
            if len(self._blocks) > _KEPT:
                oldest = next(key for key in self._blocks if key not in (0, number))
                del self._blocks[oldest]
        return found

    def close(self) -> None:
        if not self.closed:
            super().close()
            try:
                self._place.call(self._file.close())
            except OSError:
                return  # the connection is gone, and the handle with it


@contextmanager
def _translated() -> Iterator[None]:
    """Give what asyncssh raises as the OSError that a local file would raise."""
    import asyncssh

    lost = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.DisconnectError, asyncssh.ChannelOpenError)
    try:
        yield
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath) as exc:
        raise FileNotFoundError("the server has no such file") from exc
    except (asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect) as exc:
        raise PermissionError("the server does not permit it") from exc
    except lost as exc:
        raise ConnectionResetError("the connection to the server broke") from exc
    except asyncssh.Error as exc:
        raise OSError(f"the server answered {type(exc).__name__}") from exc


def _folder(path: str) -> str:
    """Give the folder of a URL's path; /~/ starts at the user's home."""
    if path == "/~" or path.startswith("/~/"):
        return path[3:].strip("/") or "."
    return path.rstrip("/") or "/"


async def _handle(sftp: "asyncssh.SFTPClient", path: str) -> "asyncssh.SFTPClientFile":
    return await sftp.open(path, "rb")


async def _bytes(file: "asyncssh.SFTPClientFile", offset: int) -> bytes:
    return cast(bytes, await file.read(BLOCK, offset))


async def _closed(connection: "asyncssh.SSHClientConnection") -> None:
    connection.close()
    await connection.wait_closed()


async def _listed(sftp: "asyncssh.SFTPClient", root: str, steps: Sequence[str]) -> list[Entry]:
    home = await sftp.realpath(root)
    return [entry async for entry in _walk(sftp, (home, ""), steps)]


async def _walk(sftp: "asyncssh.SFTPClient", at: tuple[str, str], steps: Sequence[str]) -> AsyncIterator[Entry]:
    """Follow the steps of a pattern from folder to folder; `at` is the root, and the folder reached inside it."""
    root, inside = at
    if not steps:
        return
    first, rest = steps[0], steps[1:]
    if first == "**":
        async for entry in _walk(sftp, at, rest):
            yield entry
    for one in await _within(sftp, f"{root}/{inside}".rstrip("/")):
        bare = _name(one)
        name = f"{inside}{bare}"
        attrs = await _followed(sftp, root, name, one.attrs) if is_finished(name) else None
        if attrs is None:
            continue
        if attrs.type == _DIRECTORY:
            onward = steps if first == "**" else rest if fnmatch.fnmatchcase(bare, first) else ()
            async for entry in _walk(sftp, (root, f"{name}/"), onward):
                yield entry
        elif not rest and fnmatch.fnmatchcase(bare, first):
            yield Entry(name, attrs.size or 0, _mtime_ns(attrs))


def _mtime_ns(attrs: "asyncssh.SFTPAttrs") -> int:
    return (attrs.mtime or 0) * 1_000_000_000 + (attrs.mtime_ns or 0)


def _name(one: "asyncssh.SFTPName") -> str:
    return one.filename if isinstance(one.filename, str) else one.filename.decode("utf-8", "replace")


async def _within(sftp: "asyncssh.SFTPClient", folder: str) -> "list[asyncssh.SFTPName]":
    import asyncssh

    try:
        return [one async for one in sftp.scandir(folder or "/") if one.filename not in (".", "..")]
    except asyncssh.SFTPNoSuchFile:
        return []  # taken away since it was listed


async def _followed(
    sftp: "asyncssh.SFTPClient", root: str, name: str, attrs: "asyncssh.SFTPAttrs"
) -> "asyncssh.SFTPAttrs | None":
    """Follow a link, unless it leads out of the folder."""
    import asyncssh

    if attrs.type != _LINK:
        return attrs
    try:
        target = await sftp.realpath(f"{root}/{name}")
        inside = str(target).startswith(f"{root.rstrip('/')}/")
        return await sftp.stat(f"{root}/{name}") if inside else None
    except asyncssh.SFTPError:
        return None


async def _written(sftp: "asyncssh.SFTPClient", path: str, content: bytes) -> None:
    import asyncssh

    folder = path.rpartition("/")[0]
    if folder and not await sftp.isdir(folder):
        await sftp.makedirs(folder, exist_ok=True)
    async with sftp.open(path, "wb") as file:
        await file.write(content)
        try:
            await file.fsync()
        except asyncssh.SFTPOpUnsupported:
            return  # few servers but OpenSSH's know it


async def _replaced(sftp: "asyncssh.SFTPClient", old: str, new: str) -> None:
    """Rename over a file that is there: at once where the server can, else the old one is removed first."""
    import asyncssh

    try:
        await sftp.posix_rename(old, new)
    except asyncssh.SFTPOpUnsupported:
        if await sftp.exists(new):
            await sftp.remove(new)
        await sftp.rename(old, new)
