"""The legacy connector on files as they come: broken lines, huge ones, files that change while they are read."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub import Invalid, Page, Stream, Transport
from hub.app import App
from hub_legacy.connector import LegacyConnector
from hub_legacy.options import LegacyConfig
from hub_legacy.rows import LINE_LIMIT

HEADER = "no,name\n"


class Drop:
    """A drop folder with the connector on it."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.transport = Transport("erp")
        self.connector = LegacyConnector(
            LegacyConfig.model_validate({"folder": folder, "settle_s": 0, **config}), self.transport
        )

    def put(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def pages(self, cursor: str | None = None, pattern: str = "c*.csv", **options: Any) -> Iterator[Page]:
        return self.connector.pull_any(Stream(pattern, key=("no",), options=options), cursor)

    def pull(self, cursor: str | None = None, pattern: str = "c*.csv", **options: Any) -> list[Page]:
        return list(self.pages(cursor, pattern, **options))


@pytest.fixture
def drop(tmp_path: Path) -> Iterator[Drop]:
    made = Drop(tmp_path / "drop")
    yield made
    made.transport.close()


def numbers(pages: list[Page]) -> list[str]:
    """Give the keys of the records, and what is said of the lines that are none."""
    found = [json.loads(record) for page in pages for record in page.records or ()]
    return [str(record["no"]) if isinstance(record, dict) else record[0] for record in found]


def last(pages: list[Page], before: str | None = None) -> str | None:
    return next((page.cursor for page in reversed(pages) if page.cursor is not None), before)


def test_single_lines_in_another_encoding_are_rejects_where_the_others_prove_the_setting(drop: Drop) -> None:
    drop.put("c.csv", "no,name\n1,Zoë\n2,".encode() + b"J\xf6rg\n" + "3,Jo\n4,Åse\n".encode())
    pages = drop.pull()
    assert numbers(pages) == ["1", "c.csv line 3: is not utf-8", "3", "4"]
    assert json.loads(list(pages[0].records or ())[1])[1] == r"2,J\xf6rg", "the bytes are kept"


def test_one_wrong_line_in_thousands_does_not_stop_a_file(drop: Drop) -> None:
    lines = [f"{n},x\n".encode() for n in range(2000)]
    drop.put("c.csv", HEADER.encode() + b"".join(lines) + b"9,\xff\n9,\xff\n")
    assert numbers(drop.pull())[-2:] == ["c.csv line 2002: is not utf-8", "c.csv line 2003: is not utf-8"]
    drop.put("c.csv", HEADER.encode() + b"".join(lines) + b"9,\xff\n" * 3)
    with pytest.raises(Invalid, match=r'c\.csv line 2002, byte \d+: is not utf-8; set encoding = "cp1252"'):
        drop.pull()


def test_ndjson_lines_in_another_encoding_are_rejects(drop: Drop) -> None:
    line = '{"no":1,"name":"Zoë"}\n'.encode()
    drop.put("c.ndjson", line + b'{"no":2,"name":"J\xf6rg"}\n' + line.replace(b"1", b"3"))
    assert numbers(drop.pull(pattern="*.ndjson")) == ["1", "c.ndjson line 2: is not utf-8", "3"]


def test_nul_bytes_make_a_reject_of_their_line_alone(drop: Drop) -> None:
    drop.put("c.csv", b"no,name\n1,Ada\n2,B\x00en\n3,Cy\n")
    assert numbers(drop.pull()) == ["1", "c.csv line 3: holds a NUL byte", "3"]
    drop.put("c.ndjson", b'{"no":1}\n{"no":\x002}\n{"no":3}\n')
    assert numbers(drop.pull(pattern="*.ndjson")) == ["1", "c.ndjson line 2: not a JSON object", "3"]


def test_utf_16_without_a_mark_is_told(drop: Drop) -> None:
    drop.put("c.csv", "no,name\n1,Ada\n".encode("utf-16-le"))
    with pytest.raises(Invalid, match="holds a NUL byte; it looks like UTF-16"):
        drop.pull()


def test_a_field_of_five_megabytes_is_read(drop: Drop) -> None:
    big = "x" * 5_000_000
    drop.put("c.csv", HEADER + f'1,{big}\n2,"{big}\nand more"\n3,Cy\n')
    records = [json.loads(record) for page in drop.pull() for record in page.records or ()]
    assert [(record["no"], len(record["name"])) for record in records] == [
        ("1", 5_000_000), ("2", 5_000_009), ("3", 2)
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "ndjson"])
def test_a_line_without_end_is_a_reject_and_the_rest_goes_on(drop: Drop, suffix: str) -> None:
    good = {"csv": (HEADER + "1,Ada\n", "3,Cy\n"), "ndjson": ('{"no":1}\n', '{"no":3}\n')}[suffix]
    with (drop.folder / f"c.{suffix}").open("w") as file:
        file.write(good[0] + "2," + "x" * (2 * LINE_LIMIT) + "\n" + good[1])
    line = 3 if suffix == "csv" else 2
    told = f"c.{suffix} line {line}: longer than {LINE_LIMIT} bytes"
    assert numbers(drop.pull(pattern=f"*.{suffix}")) == ["1", told, "3"]


def test_pages_of_large_records_are_small_in_number_not_in_memory(tmp_path: Path) -> None:
    drop = Drop(tmp_path / "drop")
    with (drop.folder / "c.csv").open("w") as file:
        file.write(HEADER + "".join(f"{n},{'x' * 1_000_000}\n" for n in range(30)))
    tracemalloc.start()
    sizes = [len(page.records or ()) for page in drop.pages()]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(sizes) == 30
    assert max(sizes) <= 5
    assert peak < 30_000_000
    drop.transport.close()


def test_windows_line_ends_quoted_lines_and_a_missing_last_one(drop: Drop) -> None:
    drop.put("c.csv", b'\xef\xbb\xbfno,name\r\n1,"two\r\nlines"\r\n2,"says ""hi"""\r\n3,end')
    records = [json.loads(record) for page in drop.pull() for record in page.records or ()]
    assert [record["name"] for record in records] == ["two\r\nlines", 'says "hi"', "end"]


def test_a_file_that_grows_while_it_is_read_loses_no_row(tmp_path: Path) -> None:
    drop = Drop(tmp_path / "drop", page_size=10)
    path = drop.put("c.csv", HEADER + "".join(f"{n},x\n" for n in range(35)))
    pages = []
    for page in drop.pages():
        pages.append(page)
        with path.open("a") as file:
            file.write(f"{100 + len(pages)},late\n")
    rest = drop.pull(last(pages))
    assert numbers(pages) == [str(n) for n in range(35)]
    assert numbers(rest) == [str(100 + n) for n in range(1, len(pages) + 1)]
    drop.transport.close()


def test_a_file_that_is_replaced_while_it_is_read_is_read_anew(tmp_path: Path) -> None:
    drop = Drop(tmp_path / "drop", page_size=10)
    drop.put("c.csv", HEADER + "".join(f"{n},old\n" for n in range(35)))
    reading = drop.pages()
    first = next(reading)
    drop.put(".new", HEADER + "".join(f"{n},new\n" for n in range(40)))
    os.replace(drop.folder / ".new", drop.folder / "c.csv")
    pages = [first, *reading]
    assert numbers(pages) == [str(n) for n in range(35)], "the file that was opened is read to its end"
    assert numbers(drop.pull(last(pages))) == [str(n) for n in range(40)]
    drop.transport.close()


def test_a_file_that_is_cut_while_it_is_read_ends_the_page_not_the_pull(tmp_path: Path) -> None:
    drop = Drop(tmp_path / "drop", page_size=10)
    path = drop.put("c.csv", HEADER + "".join(f"{n:05},{'x' * 2000}\n" for n in range(500)))
    reading = drop.pages()
    first = next(reading)
    os.truncate(path, len(HEADER) + 20 * 2007)
    found = numbers([first, *reading])
    assert found[:20] == [f"{n:05}" for n in range(20)]
    assert numbers(drop.pull(last([first]))) == [f"{n:05}" for n in range(10, 20)]
    drop.transport.close()


def test_a_renamed_file_is_not_read_again(drop: Drop) -> None:
    path = drop.put("c-1.csv", HEADER + "1,old\n")
    drop.put("c-2.csv", HEADER + "1,new\n")
    cursor = last(drop.pull())
    path.rename(drop.folder / "c-9.csv")
    pages = drop.pull(cursor)
    assert numbers(pages) == []
    assert sorted(json.loads(last(pages) or "")["files"]) == ["c-2.csv", "c-9.csv"]
    assert drop.pull(last(pages)) == []
    with (drop.folder / "c-9.csv").open("a") as file:
        file.write("2,more\n")
    assert numbers(drop.pull(last(pages))) == ["2"]


def test_another_file_in_place_of_one_that_went_is_read(drop: Drop) -> None:
    path = drop.put("c-1.csv", HEADER + "1,Ada\n")
    cursor, when = last(drop.pull()), path.stat().st_mtime_ns
    path.unlink()
    os.utime(drop.put("c-2.csv", HEADER + "2,Ben\n"), ns=(when, when))
    assert numbers(drop.pull(cursor)) == ["2"], "same size and time, other content"


def test_packed_files_are_read_and_go_on_in_the_middle(tmp_path: Path) -> None:
    drop = Drop(tmp_path / "drop", page_size=10)
    drop.put("c-1.csv.gz", gzip.compress((HEADER + "".join(f"{n},x\n" for n in range(35))).encode()))
    drop.put("c-2.ndjson.gz", gzip.compress(b'{"no":1}\n{"no":2}\n'))
    pages = drop.pull(pattern="*.csv.gz")
    assert numbers(pages) == [str(n) for n in range(35)]
    for n, page in enumerate(pages):
        assert numbers(drop.pull(page.cursor, "*.csv.gz")) == [str(n) for n in range(10 * (n + 1), 35)]
    assert numbers(drop.pull(pattern="*.ndjson.gz")) == ["1", "2"]
    drop.transport.close()


def test_a_packed_file_that_is_not_whole_waits(drop: Drop) -> None:
    whole = gzip.compress((HEADER + "1,Ada\n").encode())
    for broken in (whole[:-9], b"no gzip at all"):
        drop.put("c.csv.gz", broken)
        with pytest.raises(Invalid, match=r"c\.csv\.gz: is no whole gzip file; it stays unread until it is"):
            drop.pull(pattern="*.csv.gz")
    drop.put("c.csv.gz", whole)
    assert numbers(drop.pull(pattern="*.csv.gz")) == ["1"]


def test_many_rows_of_csv_and_ndjson_need_no_more_memory_than_few(tmp_path: Path) -> None:
    drop, peaks = Drop(tmp_path / "drop"), {}
    for count in (1_500, 12_000):
        out = io.StringIO()
        csv.writer(out).writerows([("no", "name"), *((n, f"Näme {n}\nand more") for n in range(count))])
        drop.put(f"c-{count}.csv", out.getvalue())
        drop.put(f"c-{count}.ndjson", "".join(f'{{"no":{n},"name":"Näme {n}"}}\n' for n in range(count)))
        for suffix in ("csv", "ndjson"):
            tracemalloc.start()
            read = sum(len(page.records or ()) for page in drop.pages(pattern=f"c-{count}.{suffix}"))
            peaks[suffix, count] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert read == count
    for suffix in ("csv", "ndjson"):
        assert peaks[suffix, 12_000] < peaks[suffix, 1_500] + 3_000_000
    drop.transport.close()


MAPPING = """
[customers]
stream = "c*.csv"
kind = "customer"
key = "no"
[customers.fields]
display_name = "name"
"""


def test_a_pull_killed_in_the_middle_of_a_file_goes_on_there(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "c.csv").write_text(HEADER + "".join(f"{n},Name {n}\n" for n in range(5_000)))
    (tmp_path / "erp.toml").write_text(MAPPING)
    (tmp_path / "config.toml").write_text(
        f'[hub]\ndatabase_url = "{database_url}"\n[connections.erp]\nconnector = "legacy"\nfolder = "drop"\n'
        'mapping = "erp.toml"\nsettle_s = 0\npage_size = 50\n'
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "hub.cli", "sync", "--json"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with App.open(tmp_path / "config.toml") as app:
        before = 0
        while before < 200 and child.poll() is None:
            time.sleep(0.02)
            before = _stored(app)
        child.kill()
        child.wait()
        before = _stored(app)
        assert 200 <= before < 5_000, "it was killed on the way"
        report = app.sync(["erp"])["erp"]["customers"]
        assert (report["error"], _stored(app)) == (None, 5_000)
        assert report["read"] == 5_000 - before, "no page is read twice: the cursor commits with its page"


def _stored(app: App) -> int:
    with app.store.read() as tx:
        count: int = tx.execute("SELECT count(*) FROM record").fetchone()[0]
        return count
