"""Whose SFTP server it is: a host key that is not known ends the connection before a name or a password is sent."""

from pathlib import Path
from typing import Any

from hub import ConfigError

DEFAULT = "~/.ssh/known_hosts"


class KnownHost:
    """
    What is known of a server's host key: its fingerprint (`pin`), or the lines of a known_hosts file.

    Without either nothing is known, and no key is accepted.
    """

    def __init__(self, host: str, port: int, pin: str | None, file: Path | None) -> None:
        self.host, self.port, self.pin = host, port, pin
        self.file = file or Path(DEFAULT).expanduser()
        self.named = DEFAULT if file is None else file.name
        if pin is None and file is not None and not file.is_file():
            raise ConfigError(f"known_hosts: there is no file {file.name} at that path")
        self.shown: Any = None

    def text(self) -> bytes:
        """Give the lines that asyncssh is to believe. Raises ConfigError."""
        if self.pin is not None or not self.file.is_file():
            return b""
        try:
            return self.file.read_bytes()
        except OSError as exc:
            raise ConfigError(f"known_hosts: {self.named} cannot be read ({type(exc).__name__})") from exc

    def client(self) -> Any:
        """Give the class that asyncssh asks about a key that those lines do not have."""
        import asyncssh

        known = self

        class Client(asyncssh.SSHClient):
            def validate_host_public_key(self, host: str, addr: str, port: int, key: "asyncssh.SSHKey") -> bool:
                known.shown = key
                return known.pin is not None and key.get_fingerprint() == known.pin

        return Client

    def complaint(self) -> str:
        """Say which key the server showed, and what to do."""
        where = f"{self.host}:{self.port}"
        if self.shown is None:
            return f"the host key of {where} is revoked in {self.named}, or of a kind that is not accepted"
        kind, number = self.shown.algorithm.decode(), self.shown.get_fingerprint()
        showed = f"{where} showed the host key {kind} {number}"
        if self.pin is not None:
            return (
                f"{showed}, not the one of host_key; nothing was sent. Ask the server's owners: if it is theirs, "
                f'set host_key = "{number}"; if not, somebody stands between'
            )
        if self._knows_another():
            return (
                f"{showed}, and {self.named} has another one for it; nothing was sent. Ask the server's owners: "
                f"if they changed it, replace the line; if not, somebody stands between"
            )
        return (
            f"{showed}, which is not known; nothing was sent. Ask the server's owners whether it is theirs, then set "
            f'host_key = "{number}" or add to {self.named}: {self._line()}'
        )

    def _line(self) -> str:
        host = self.host if self.port == 22 else f"[{self.host}]:{self.port}"
        words: list[str] = self.shown.export_public_key().decode().split()
        return f"{host} {words[0]} {words[1]}"

    def _knows_another(self) -> bool:
        import asyncssh

        found = asyncssh.match_known_hosts(self.text(), self.host, self.host, self.port)
        return bool(found[0])
