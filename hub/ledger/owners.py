"""Who works on a run: a process of a machine, and whether it is known to be dead."""

import os
import platform
from pathlib import Path


def new_owner() -> str:
    """Name who works on a run: this process, and a number nobody else has."""
    return f"{_NODE}:{os.getpid()}:{os.urandom(6).hex()}"


def _node() -> str:
    """
    Tell this machine, and its process table, from others; without a process table nobody is known to be dead.

    Names of machines repeat (`localhost`), and the numbers of process tables too: the id of the boot does not.
    """
    space, boot = Path("/proc/self/ns/pid"), Path("/proc/sys/kernel/random/boot_id")
    if not (space.exists() and boot.exists()):
        return ""
    return f"{platform.node()}/{boot.read_text().strip()}/{space.stat().st_ino}"


_NODE = _node()


def alive(owner: str | None) -> bool:
    """Say whether an owner may still be at work; one of another machine always may, until its lease ends."""
    if owner is None:
        return False
    node, _, rest = owner.rpartition(":")[0].rpartition(":")
    if not _NODE or node != _NODE or not rest.isdigit():
        return True
    return Path(f"/proc/{rest}").exists()
