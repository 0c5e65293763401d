"""The policy's file: read when it is opened and when it has changed; a broken one leaves the policy as it was."""

import fnmatch
import logging
import threading
import tomllib
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path

from hub.actions import Action, Risk
from hub.config import did_you_mean
from hub.errors import ConfigError
from hub.policy.rules import Policy, parse_policy

log = logging.getLogger("hub.policy")
Loaded = Callable[[Policy, bytes | None], object]
Stamp = tuple[int, int, int] | None


def example() -> str:
    """Give the policy that ships: policy.example.toml, and what `hub init` writes."""
    return resources.files("hub.policy").joinpath("default.toml").read_text("utf-8")


def load_policy(path: Path | None, *, actions: Mapping[str, type[Action]] | None = None) -> Policy:
    """
    Read a policy file; the default policy where there is none. Raises ConfigError naming file, rule and key.

    With `actions` a rule about none of them is refused: misspelt, it would never deny anything.
    """
    if path is None or not (path.exists() or path.is_symlink()):
        return Policy()
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: is not TOML: {exc}") from exc
    policy = parse_policy(raw, str(path))
    check_actions(policy, actions or {}, str(path))
    return policy


def check_actions(policy: Policy, actions: Mapping[str, type[Action]], where: str) -> None:
    """Refuse a rule about no action, and silence that would move money. Raises ConfigError."""
    for rule in policy.rules:
        about = fnmatch.filter(actions, rule.action)
        if actions and not about:
            hint = did_you_mean(rule.action, actions)
            raise ConfigError(f'{where}: rule "{rule.name}": action: no action is called {rule.action}{hint}')
        risky = [name for name in about if actions[name].risk in (Risk.R3, Risk.R4)]
        if rule.approval and rule.approval.on_expiry == "allow" and risky:
            text = f'{risky[0]} is {actions[risky[0]].risk.value}; expected "deny"'
            raise ConfigError(f'{where}: rule "{rule.name}": on_expiry: silence allows nothing here: {text}')


class PolicyFile:
    """
    The policy of a running hub. Thread-safe.

    Raises ConfigError at the start where the file is wrong. Later a wrong one is logged once and told in `trouble`,
    and the policy before it stays.
    """

    def __init__(self, path: Path, *, actions: Mapping[str, type[Action]]) -> None:
        self.path = path
        self.actions = actions
        self.trouble: str | None = None
        self._loaded: Loaded = lambda policy, text: None
        self._lock = threading.Lock()
        self._stamp = self._now()
        self._policy = load_policy(path, actions=actions)

    def tell(self, loaded: Loaded) -> None:
        """Call `loaded` with the policy and the file's bytes: now, and for each that is taken later."""
        self._loaded = loaded
        loaded(self._policy, self._text())

    def current(self) -> Policy:
        """Give the policy as its file has it now, or as it was before the file went wrong."""
        if self._now() != self._stamp:
            with self._lock:
                stamp = self._now()
                if stamp != self._stamp:
                    self._take(stamp)
        return self._policy

    def _take(self, stamp: Stamp) -> None:
        try:
            if stamp is None:
                raise ConfigError(f"{self.path}: is gone")
            policy = load_policy(self.path, actions=self.actions)
        except ConfigError as exc:
            self.trouble = exc.message
            log.error("the policy before stays: %s", exc.message)
        else:
            self._loaded(policy, self._text())
            self._policy, self.trouble = policy, None
            log.info("%s: read anew, %d rules", self.path, len(policy.rules))
        self._stamp = stamp

    def _text(self) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None

    def _now(self) -> Stamp:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
