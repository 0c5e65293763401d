"""A fault of msgspec that the crash campaign found: threads that meet a Struct at once end the process."""

import subprocess
import sys

RACE = """
import sys, threading
import msgspec
from hub.connections import meet_structs
sys.setswitchinterval(1e-6)
BODY = b'{"t": {"id": 1, "c": {"all": [{"id": 3, "m": {"x": {}}, "e": [{}]}]}}, "more": [{"id": 2}]}'
TEXT = '''
class M(msgspec.Struct):
    x: "dict | None" = None
class A(msgspec.Struct):
    id: int
    m: M | None = None
    e: list[dict[str, object]] = []
class All(msgspec.Struct):
    all: list[A]
class T(msgspec.Struct):
    id: int
    a: int | None = None
    c: All | None = None
class One(msgspec.Struct):
    t: T
    more: list[T] = []
'''
for _ in range(150):
    made = {"msgspec": msgspec}
    exec(TEXT, made)
    meet_structs()
    barrier = threading.Barrier(8)
    def meet(one=made["One"]):
        barrier.wait()
        msgspec.json.decode(BODY, type=one)
    threads = [threading.Thread(target=meet) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
"""


def test_threads_may_meet_a_struct_at_once_after_a_connection_was_opened() -> None:
    assert subprocess.run([sys.executable, "-c", RACE], check=False, timeout=60).returncode == 0
