"""What lies outside of an installation: the port it listens on, and the systems that it connects to."""

import socket
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from typing import Any

from hub.app.doctor.findings import Finding
from hub.app.opened import App

_ASK_S = 2.0


def port(app: App) -> Iterator[Finding]:
    """See that `hub serve` can listen, or that a hub does so already."""
    host, number = app.settings.hub.host, app.settings.hub.port
    where = f"{host}:{number}"
    if number == 0:
        yield Finding("port", "ok", "a free one is taken")
        return
    try:
        family = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, number))
    except OSError as exc:
        if _is_hub(host, number):
            yield Finding("port", "ok", f"a hub listens on {where}")
            return
        told = f"{where} cannot be listened on: {exc.strerror or type(exc).__name__}"
        yield Finding("port", "failed", told, "stop what listens there, or set [hub] host and port")
        return
    yield Finding("port", "ok", f"{where} is free")


def _is_hub(host: str, number: int) -> bool:
    name = "127.0.0.1" if host in ("0.0.0.0", "") else host  # noqa: S104 - what is listened on is asked from here
    try:
        with urllib.request.urlopen(f"http://{name}:{number}/healthz", timeout=_ASK_S) as answer:
            return bool(answer.status == 200)
    except (OSError, HTTPException):  # whatever listens there, it is no hub
        return False


def connections(app: App, names: Sequence[str], timeout_s: float) -> Iterator[Finding]:
    """Try each connection with one cheap read, all at once; one that does not answer in time is named."""
    names = [name for name in names if app.settings.connections[name].connector in app.plugins.connectors]
    reports: dict[str, dict[str, Any]] = {}

    def check(name: str) -> None:
        reports[name] = app.check([name])[name]

    threads = {name: threading.Thread(target=check, args=(name,), daemon=True) for name in names}
    for thread in threads.values():
        thread.start()
    until = time.monotonic() + timeout_s
    for name, thread in threads.items():
        thread.join(max(0.0, until - time.monotonic()))
        yield _told(name, reports.get(name), timeout_s)


def _told(name: str, report: dict[str, Any] | None, timeout_s: float) -> Finding:
    check = f"connection {name}"
    if report is None:
        told = f"did not answer within {timeout_s:g} s"
        return Finding(check, "failed", told, "see that this machine may reach it: firewall, proxy, base_url")
    if not report["ok"]:
        do = _DO.get(report["code"], f"mend what the message names, then `hub check {name}`")
        return Finding(check, "failed", report["error"], do)
    live = "" if report.get("live") is None else ", live" if report["live"] else ", test"
    return Finding(check, "ok", f"{report['account']}{live}")


_DO = {
    "unauthorized": "replace the credentials, or have them granted what is missing",
    "not_sent": "see that this machine may reach it: firewall, proxy, DNS, base_url",
    "temporary": "wait and look again; if it stays so, ask the system's owners",
    "rate_limited": "wait; something else uses up the account's limit",
}
