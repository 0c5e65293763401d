"""What commands show while they work, and their tables: on a terminal and elsewhere."""

import io
import time
from dataclasses import dataclass

import pytest

from hub.cli import syncing, tables


@dataclass
class Step:
    """What a sync tells of itself."""

    connection: str
    stream: str
    read: int
    done: bool = False
    failed: bool = False


class Terminal(io.StringIO):
    """What a person sees."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_long_work_shows_a_moving_line(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    with syncing.Progress() as tell:
        for read in (100, 1500):
            tell(Step("market", "people", read))
        tell(Step("market", "people", 1500, done=True))
        time.sleep(0.2)
    assert "market people" in shown.getvalue()
    assert "1,500 read" in shown.getvalue()


def test_elsewhere_long_work_tells_plain_lines_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moments = iter((0.0, 1.0, 2.5, 3.0, 9.0))
    monkeypatch.setattr("time.monotonic", lambda: next(moments))
    with syncing.Progress() as tell:
        for read in (100, 200, 300, 400):
            tell(Step("market", "people", read))
        tell(Step("market", "people", 500, done=True))
    assert capsys.readouterr().err == "market people: 300 read\nmarket people: 500 read, done\n"


ROWS = [
    ("run_4f5pzrmrmv2j3kq2mwzsc5q2ha", "a text that has many words in it", 1.5, True, "2026-11-22T11:22:33.123456Z")
]
NAMES = ("id", "title", "size", "fine", "at")


def test_on_a_narrow_terminal_text_is_wrapped_and_ids_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Terminal()
    monkeypatch.setattr("sys.stdout", shown)
    monkeypatch.setenv("COLUMNS", "80")
    tables.table(NAMES, [*ROWS, ("b", None, 12.0, False, "")], none="", spare=("fine",))
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["id", "title", "size", "at"]
    assert lines[1].split()[0] == ROWS[0][0]
    assert lines[1].endswith("  1.50  2026-11-22 11:22Z")
    assert " ".join(line[30:54].strip() for line in lines[1:3]) == ROWS[0][1]
    assert lines[-1].split() == ["b", "-", "12.00", "-"]


def test_elsewhere_a_table_has_aligned_columns_and_one_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    tables.table(NAMES, [*ROWS, ("b", None, 12, False, [])], none="", spare=("fine",))
    tables.table(NAMES, [], none="there is none")
    out, err = capsys.readouterr()
    assert out.splitlines()[:3] == [
        "id                              title                             size  fine  at",
        "run_4f5pzrmrmv2j3kq2mwzsc5q2ha  a text that has many words in it  1.50  yes   2026-11-22 11:22Z",
        "b                               -                                   12  no    -",
    ]
    assert err == "there is none\n"
