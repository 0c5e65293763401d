"""
Where worker processes come from: one process that has everything imported, and forks a worker for each line it reads.

A worker speaks to the campaign over a socket: it acts as it is told, eight at a time, and carries on what others left.
"""

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from multiprocessing.connection import Client, Connection
from typing import Any

from hub.access import OPERATOR
from hub.app import App
from hub.connector import Outcome
from hub.errors import Conflict, HubError
from hub.perform import Request
from hub.perform.intake import action_class, parsed
from hub.perform.words import call_for

AT_ONCE = 8
SWEEP_S = 0.2
TRIES = 4


class Worker:
    """One process that acts until it is told to stop, or is killed."""

    def __init__(self, app: App, mouth: Connection, in_flight_s: float) -> None:
        self.app, self.mouth = app, mouth
        self.lock, self.stopped = threading.Lock(), threading.Event()
        app.performer.in_flight = timedelta(seconds=in_flight_s)
        self.pool = ThreadPoolExecutor(AT_ONCE)

    def run(self) -> None:
        """Do what is asked until "stop" comes."""
        sweeper = threading.Thread(target=self.sweep)
        sweeper.start()
        while (asked := self.mouth.recv()) != "stop":
            self.pool.submit(self.do, *asked)
        self.stopped.set()
        self.pool.shutdown(wait=True)
        sweeper.join()
        self.app.close()

    def sweep(self) -> None:
        """Carry on the runs that nobody works on, as the worker's sweep does."""
        while not self.stopped.wait(SWEEP_S):
            for run_id in self.app.performer.waiting():
                try:
                    self.app.performer.advance(run_id)
                except HubError as exc:
                    sys.stderr.write(f"sweep of {run_id}: {exc.error_code}\n")

    def do(self, number: int, mode: str, action: str, given: dict[str, Any], key: str) -> None:
        """Do one thing and say what came of it."""
        try:
            told, run_id = self.barely(action, given) if mode == "control" else self.properly(action, given, key)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the campaign must hear of it
            told, run_id = f"raised {getattr(exc, 'error_code', type(exc).__name__)}", None
        with self.lock:
            self.mouth.send((number, told, run_id))

    def properly(self, action: str, given: dict[str, Any], key: str) -> tuple[str, str | None]:
        """Act through the hub."""
        found = self.app.performer.run(Request(action, given, key=key), OPERATOR)
        return found.status, found.run_id

    def barely(self, action: str, given: dict[str, Any]) -> tuple[str, str | None]:
        """
        Act as a queue that repeats what failed would: no journal, and a new key for each attempt.

        This is the control: the campaign must see that it doubles.
        """
        cls = action_class(self.app.plugins.actions, action)
        request = Request(action, given, key="none")
        for attempt in range(TRIES):
            try:
                plan = self.app.performer._planned(parsed(cls, given), request, OPERATOR)
                connection, own = self.app.connections.open(plan.steps[0].connection), uuid.uuid4().hex
                call = call_for(connection, plan.action, plan.steps[0], run_id=f"run_{own}", key=own)
                method = connection.connector.method("act", action)
                assert method is not None
                assert isinstance(method(plan.action, call), Outcome)
                return "succeeded", None
            except Conflict:
                return "failed", None
            except HubError:
                time.sleep(0.05 * attempt)
        return "failed", None


def main(config: str, address: str, in_flight_s: str) -> None:
    """Import and open all that a worker needs but databases and sockets, then fork one for each line of stdin."""
    app = App.open(config)
    for name in app.connections.names():
        app.connections.open(name).transport.limits = ()
    import psycopg  # noqa: F401 - so that no worker has to
    import stripe  # noqa: F401
    import zenpy  # noqa: F401

    faulthandler.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead leave at once: their process ids tell that they are
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        if os.fork() == 0:
            born(app, address, float(in_flight_s))


def born(app: App, address: str, in_flight_s: float) -> None:
    """Live as a worker, then leave without the nursery's clean-up."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(0)
        mouth = Client(address, "AF_UNIX")
        mouth.send(os.getpid())
        Worker(app, mouth, in_flight_s).run()
        code = 0
    except BaseException:  # noqa: BLE001 - told here, for what follows leaves no time for it
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
