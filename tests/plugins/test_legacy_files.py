"""The legacy connector on drop folders: encodings, checkpoints, half-written files, and lines that do not fit."""

import json
import os
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub import ConfigError, HubError, Invalid, MappingError, Page, Stream, Transport
from hub.mapping import Source, compile_mapping
from hub_legacy.cells import with_point
from hub_legacy.connector import LegacyConnector
from hub_legacy.options import LegacyConfig

SAMPLES = Path(__file__).parents[2] / "cassettes" / "legacy"
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

    def put(self, name: str, content: str | bytes, *, append: bool = False) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_bytes() if append else b""
        path.write_bytes(before + (content.encode() if isinstance(content, str) else content))
        return path

    def pull(self, cursor: str | None = None, pattern: str = "c*.csv", **options: Any) -> list[Page]:
        what = Stream(pattern, paths=options.pop("paths", ()), key=("no",), options=options)
        return list(self.connector.pull_any(what, cursor))


@pytest.fixture
def drop(tmp_path: Path) -> Iterator[Drop]:
    made = Drop(tmp_path / "drop")
    yield made
    made.transport.close()


def records(pages: list[Page]) -> list[Any]:
    return [json.loads(record) for page in pages for record in page.records or ()]


def names(pages: list[Page]) -> list[str]:
    return [record["name"] for record in records(pages) if isinstance(record, dict)]


def last(pages: list[Page], before: str | None = None) -> str | None:
    return next((page.cursor for page in reversed(pages) if page.cursor is not None), before)


EXPECTED = [
    {"customer_no": "C-1", "name": "Zoë Krämer", "balance": "1234.50", "since": "2025-12-24"},
    {"customer_no": "C-2", "name": 'Jørgen "Jo" Ås', "balance": "0.99", "since": "2026-02-01"},
    {"customer_no": "C-3", "name": "Ana Muñoz; Sons", "balance": "12", "since": None},
]


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("customers-utf8.csv", {}),
        ("customers-latin1.csv", {"encoding": "ISO-8859-1", "delimiter": ";"}),
        ("customers-cp1252.csv", {"encoding": "windows-1252", "delimiter": "\t"}),
    ],
)
def test_the_three_encodings_give_the_same_records(file: str, options: dict[str, Any]) -> None:
    drop = Drop(SAMPLES)
    house = {"decimal": ",", "decimal_columns": ["balance"], "date_format": ["%d.%m.%Y", "%d.%m.%Y %H:%M"]}
    what = Stream(file, key=("customer_no",), options={**house, "zone": "Europe/Berlin", **options})
    found = records(list(drop.connector.pull_any(what, None)))
    assert [{k: record[k] for k in EXPECTED[0]} for record in found] == EXPECTED
    assert [record["changed"] for record in found] == [
        "2026-11-03T07:15:00Z", "2026-10-28T22:30:00Z", "2026-10-30T11:00:00Z"
    ]  # fmt: skip
    assert found[0]["street"] == "Käthe-Weg 1\nHinterhaus"
    assert found[2]["street"] == (None if "cp1252" not in file else "Löwe – 5 €")
    drop.transport.close()


def test_ndjson_lines_are_handed_on_as_they_are() -> None:
    drop = Drop(SAMPLES)
    (page,) = drop.pull(pattern="orders-*.ndjson")
    assert list(page.records or ()) == (SAMPLES / "orders-utf8.ndjson").read_bytes().splitlines()
    drop.transport.close()


def test_the_next_pull_reads_new_files_and_appended_rows_only(drop: Drop) -> None:
    drop.put("c-2.csv", HEADER + "2,Ben\n")
    drop.put("c-10.csv", HEADER + "10,Jo\n")
    first = drop.pull()
    assert names(first) == ["Ben", "Jo"], "numbers in names count by value"
    assert drop.pull(last(first)) == []
    drop.put("c-2.csv", "3,Chiara\n", append=True)
    drop.put("c-11.csv", HEADER + "11,Elif\n")
    second = drop.pull(last(first))
    assert names(second) == ["Chiara", "Elif"]
    assert drop.pull(last(second)) == []
    assert sorted(path.name for path in drop.folder.iterdir()) == ["c-10.csv", "c-11.csv", "c-2.csv"]


def test_a_replaced_file_is_read_anew(drop: Drop) -> None:
    path = drop.put("c.csv", HEADER + "1,Ada\n2,Ben\n")
    cursor = last(drop.pull())
    drop.put("c.csv", HEADER + "1,Ida\n2,Ben\n3,Zoe\n")
    assert names(drop.pull(cursor)) == ["Ida", "Ben", "Zoe"]
    cursor = last(drop.pull())
    drop.put("c.csv", HEADER + "1,Eva\n2,Ben\n3,Zoe\n")
    os.utime(path, (time.time(), time.time() + 1))
    assert names(drop.pull(cursor)) == ["Eva", "Ben", "Zoe"], "same size, other content"


def test_a_last_line_that_grows_is_read_again_whole(drop: Drop) -> None:
    drop.put("c.csv", HEADER + "1,Ada\n2,Be")
    first = drop.pull()
    assert names(first) == ["Ada", "Be"]
    drop.put("c.csv", "njamin\n", append=True)
    assert names(drop.pull(last(first))) == ["Ada", "Benjamin"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.integers(0, 99), st.text("aé\"\n,;'\r €", max_size=6)), max_size=8),
    cuts=st.lists(st.integers(0, 8), max_size=3),
    size=st.integers(1, 4),
)
def test_however_a_file_grows_the_rows_are_those_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str]], cuts: list[int], size: int
) -> None:
    import csv
    import io

    def text(some: list[tuple[int, str]]) -> str:
        out = io.StringIO()
        csv.writer(out, quoting=csv.QUOTE_ALL).writerows(some)
        return out.getvalue()

    drop = Drop(tmp_path_factory.mktemp("law"), page_size=size)
    drop.put("c.csv", HEADER)
    cursor, found, done = None, [], 0
    for cut in sorted({min(cut, len(rows)) for cut in cuts} | {len(rows)}):
        drop.put("c.csv", text(rows[done:cut]), append=True)
        done = max(done, min(cut, len(rows)))
        pages = drop.pull(cursor)
        found += records(pages)
        cursor = last(pages, cursor)
    assert [(int(r["no"]), r["name"] or "") for r in found] == rows
    drop.transport.close()


def test_a_pull_resumes_in_the_middle_of_a_file(tmp_path: Path) -> None:
    drop = Drop(tmp_path / "drop", page_size=2)
    drop.put("c-1.csv", HEADER + "".join(f'{n},"a\nb"\n' for n in range(5)))
    drop.put("c-2.csv", HEADER + "8,x\n9,x\n")
    pages = drop.pull()
    numbers = [[r["no"] for r in records([page])] for page in pages]
    assert [n for page in numbers for n in page] == ["0", "1", "2", "3", "4", "8", "9"]
    for n, page in enumerate(pages):
        rest = [r["no"] for r in records(drop.pull(page.cursor))]
        assert rest == [one for page in numbers[n + 1 :] for one in page]
    drop.transport.close()


def test_small_files_share_a_page(drop: Drop) -> None:
    for n in range(30):
        drop.put(f"c-{n}.csv", HEADER + f"{n},x\n")
    (page,) = drop.pull()
    assert len(page.records or ()) == 30


def test_half_written_files_are_left_alone(tmp_path: Path) -> None:
    drop = Drop(tmp_path / "drop", settle_s=5)
    old = time.time() - 60
    for name in ("c-1.csv", "c-2.csv.tmp", "c-3.csv.part", ".c-4.csv", "c-5.csv~"):
        os.utime(drop.put(name, HEADER + "1,Ada\n"), (old, old))
    drop.put("c-6.csv", HEADER + "6,young\n")
    pages = drop.pull(pattern="*c*")
    assert names(pages) == ["Ada"]
    os.utime(drop.folder / "c-6.csv", (old, old))
    assert names(drop.pull(last(pages), pattern="*c*")) == ["young"]
    drop.transport.close()


def test_an_unfinished_last_line_of_ndjson_waits(drop: Drop) -> None:
    drop.put("c.ndjson", '{"no":1,"name":"Ada"}\n{"no":2,"na')
    first = drop.pull(pattern="*.ndjson")
    assert names(first) == ["Ada"]
    assert "c.ndjson line 2: not finished" in first[-1].warnings[0]
    assert names(drop.pull(last(first), pattern="*.ndjson")) == []
    drop.put("c.ndjson", 'me":"Ben"}', append=True)
    second = drop.pull(last(first), pattern="*.ndjson")
    assert names(second) == ["Ben"], "a whole object needs no newline"
    drop.put("c.ndjson", '\n{"no":3,"name":"Cy"}\n', append=True)
    assert names(drop.pull(last(second), pattern="*.ndjson")) == ["Cy"]


MAPPING = """
[customers]
stream = "c*.csv"
kind = "customer"
key = "no"
where = { sort = "B2C" }
[customers.fields]
display_name = "name"
"""


def test_a_line_that_does_not_fit_is_a_reject_and_the_rest_goes_on(drop: Drop) -> None:
    drop.put("c.csv", "no,name,sort\n1,Ada,B2C\n2,Ben\n3,Cy,B2C,extra\n\n4,Di,B2C\n")
    mapping = compile_mapping(Source(MAPPING, "test"), table_options=LegacyConnector.table_options)
    (page,) = list(drop.connector.pull_any(mapping.stream("c*.csv"), None))
    mapped = mapping.map_page("c*.csv", page)
    rows = mapped.tables["customers"]
    assert [row.remote_id for row in rows.rows] == ["1", "4"]
    assert mapped.read == 4
    raws = [json.loads(mapped.raws()[reject.index]) for reject in rows.rejects]
    assert raws == [
        ["c.csv line 3: 2 values where the header has 3", "2,Ben"],
        ["c.csv line 4: 4 values where the header has 3", "3,Cy,B2C,extra"],
    ]
    assert list(page.warnings) == [raw[0] for raw in raws], "warnings hold no data of the line"
    assert [reject.reason for reject in rows.rejects] == [raw[0] for raw in raws]


def test_a_stray_quote_swallows_no_other_line(drop: Drop) -> None:
    drop.put("c.csv", HEADER + '1,"Ada\n2,Ben\n3,Cy"x\n4,Di\n5,"Eve\n6,Flo\n')
    found = records(drop.pull())
    assert [r["no"] for r in found if isinstance(r, dict)] == ["2", "3", "4", "6"]
    assert [r[1] for r in found if isinstance(r, list)] == ['1,"Ada', '5,"Eve']


def test_a_file_full_of_stray_quotes_is_refused_not_ground_through(drop: Drop) -> None:
    drop.put("c.csv", HEADER + "".join(f'{n},"Ada {"x" * 500}\n' for n in range(3000)))
    started = time.process_time()
    with pytest.raises(Invalid, match="too many quotes that are not closed; set quotechar"):
        drop.pull()
    assert time.process_time() - started < 2
    assert len(records(drop.pull(quotechar=""))) == 3000


def test_bad_lines_of_ndjson_are_rejects(drop: Drop) -> None:
    drop.put("c.ndjson", '{"no":1,"name":"Ada"}\nnonsense\n[1]\n{"no":2},{"no":3}\n{"no":4,"name":"Di"}\n')
    (page,) = drop.pull(pattern="*.ndjson")
    assert names([page]) == ["Ada", "Di"]
    assert [r[0] for r in records([page]) if isinstance(r, list)] == [
        f"c.ndjson line {n}: not a JSON object" for n in (2, 3, 4)
    ]


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (b"no,name\n1,Ada\n2,J\xf6rg\n", "utf-8", r'line 3, byte 18: is not utf-8; set encoding = "cp1252"'),
        (b"no,name\n1,\x81\n", "cp1252", r"c-1.csv line 2, byte 11: is not cp1252; set encoding = \"latin-1\""),
        ("no,name\n1,Jörg\n".encode(), "latin-1", r'c-1.csv: its text is UTF-8, not latin-1; set encoding = "utf-8"'),
        ("no,name\n1,Ada\n".encode("utf-16"), "utf-8", "it looks like UTF-16"),
        ("no,name\n1,Jö".encode()[:-1], "utf-8", "c-1.csv line 2, byte 12: is not utf-8"),
    ],
)  # fmt: skip
def test_a_file_in_another_encoding_stays_unread_and_stops_no_other(
    drop: Drop, content: bytes, encoding: str, message: str
) -> None:
    drop.put("c-1.csv", content)
    drop.put("c-2.csv", HEADER + "2,Ben\n")
    pages: list[Page] = []
    what = Stream("c-*.csv", key=("no",), options={"encoding": encoding})
    with pytest.raises(Invalid, match=message):
        pages.extend(drop.connector.pull_any(what, None))  # the pages before the error stay in the list
    assert names(pages) == ["Ben"]
    drop.put("c-1.csv", HEADER + "1,Ada\n")
    assert names(drop.pull(last(pages), "c-*.csv")) == ["Ada"], "nothing was lost"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no;name\n1;Ada\n", 'no column "no", which is the key: the first line has 1 values at delimiter ","'),
        ("C-1,Ada Example\nC-2,Ben\n", r"header = \[names\] for files without one"),
        ("no,name,no\n1,Ada,2\n", "column 3 has the name of one before it"),
        ("\n", 'no column "no"'),
    ],
)
def test_a_header_that_cannot_be_right_is_told_without_its_words(drop: Drop, content: str, message: str) -> None:
    drop.put("c.csv", content)
    with pytest.raises(Invalid, match=message) as caught:
        drop.pull()
    assert "Example" not in caught.value.message


def test_files_without_a_header_take_the_mappings_names(drop: Drop) -> None:
    drop.put("c.csv", "1;Ada\n2;Ben\n")
    assert records(drop.pull(header=["no", "name"], delimiter=";"))[1] == {"no": "2", "name": "Ben"}


def test_a_column_that_the_mapping_uses_and_the_file_lacks_is_told_once(drop: Drop) -> None:
    drop.put("c.csv", HEADER + "1,Ada\n")
    first = drop.pull(paths=("no", "phone"))
    assert list(first[0].warnings) == ['c.csv: there is no column "phone"; the fields that use it stay empty']
    drop.put("c.csv", "2,Ben\n", append=True)
    assert list(drop.pull(last(first), paths=("no", "phone"))[0].warnings) == []


def test_byte_order_marks_and_windows_line_ends_are_no_data(drop: Drop) -> None:
    drop.put("c.csv", b"\xef\xbb\xbfno,name\r\n1,Ada\r\n")
    assert records(drop.pull()) == [{"no": "1", "name": "Ada"}]


def test_acknowledgements_appear_once_a_file_is_read_and_committed(tmp_path: Path) -> None:
    drop = Drop(tmp_path / "drop", acks="acks", page_size=2)
    drop.put("in/c-1.csv", HEADER + "1,Ada\n2\n3,Cy\n")
    target = drop.folder / "acks" / "in__c-1.csv.ack.json"
    pages = drop.connector.pull_any(Stream("in/*.csv", key=("no",)), None)
    cursor = next(pages).cursor
    assert not target.exists()
    assert next(pages).cursor != cursor
    assert not target.exists(), "its last page is not committed yet"
    assert list(pages) == []
    told = json.loads(target.read_bytes())
    assert {k: told[k] for k in ("file", "read", "rejected")} == {"file": "in/c-1.csv", "read": 3, "rejected": 1}
    drop.transport.close()


def test_a_lost_acknowledgement_is_written_by_the_next_pull(tmp_path: Path) -> None:
    drop = Drop(tmp_path / "drop", acks="acks")
    drop.put("c.csv", HEADER + "1,Ada\n")
    cursor = last(drop.pull())
    (drop.folder / "acks" / "c.csv.ack.json").unlink()
    assert drop.pull(cursor) == []
    assert (drop.folder / "acks" / "c.csv.ack.json").exists()
    drop.transport.close()


def test_fetch_gives_the_newest_of_a_record_and_calls_none_deleted(drop: Drop) -> None:
    drop.put("c-1.csv", HEADER + "1,Ada\n2,Ben\n")
    drop.put("c-2.csv", HEADER + "1,Ida\n")
    page = drop.connector.fetch_any(Stream("c-*.csv", key=("no",)), ["1", "9"])
    assert (names([page]), list(page.deleted)) == (["Ida"], [])


@pytest.mark.parametrize("pattern", ["../*.csv", "/etc/*.csv", "x/../../*.csv"])
def test_a_pattern_that_leaves_the_folder_is_refused(drop: Drop, pattern: str) -> None:
    with pytest.raises(Invalid, match="inside the folder"):
        drop.pull(pattern=pattern)


def test_a_link_out_of_the_folder_is_not_followed(drop: Drop, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text(HEADER + "1,Ada\n")
    (drop.folder / "c.csv").symlink_to(tmp_path / "secret.csv")
    assert names(drop.pull()) == []


def test_a_folder_that_is_not_there_and_a_pattern_without_files_are_told(drop: Drop, tmp_path: Path) -> None:
    (page,) = drop.pull(pattern="custmers-*.csv")
    assert list(page.warnings) == ["custmers-*.csv: the folder has no such file"]
    gone = Drop(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigError, match="there is no folder gone"):
        gone.pull()
    gone.transport.close()


def test_settings_of_tables_do_not_fit_files_and_cursors_must_be_ours(drop: Drop) -> None:
    with pytest.raises(MappingError, match="changed_at does not belong to files"):
        drop.pull(changed_at="x")
    with pytest.raises(Invalid, match="the stored cursor"):
        drop.pull('{"by":"id"}')
    with pytest.raises(HubError, match="has no database_url"):
        drop.pull(pattern="orders")


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ("1.234,50", "1234.50"), ("-0,5", "-0.5"), ("1.234", "1234"), ("12", "12"), ("1.234.567,8", "1234567.8"),
        ("1,2,3", "1,2,3"), ("1.23", "1.23"), ("030.123.456", "030.123.456"), ("12,5 kg", "12,5 kg"), ("", ""),
    ],
)  # fmt: skip
def test_decimal_commas(cell: str, wanted: str) -> None:
    assert with_point(cell) == wanted


def test_fifty_thousand_rows_need_no_more_memory_than_a_page(drop: Drop) -> None:
    with (drop.folder / "c.csv").open("w") as file:
        file.write("no,name,email\n")
        for n in range(50_000):
            file.write(f"{n},Name {n},p{n}@mail.example.com\n")
    what = Stream("c*.csv", key=("no",))
    tracemalloc.start()
    read = sum(len(page.records or ()) for page in drop.connector.pull_any(what, None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read == 50_000
    assert peak < 8_000_000


def test_an_empty_file_waits_for_its_content(drop: Drop) -> None:
    drop.put("c.csv", "")
    cursor = last(drop.pull())
    drop.put("c.csv", HEADER + "1,Ada\n")
    assert names(drop.pull(cursor)) == ["Ada"]


@pytest.mark.parametrize("content", ["no;name\n1;Ada\n", b"no,name\n1,J\xf6rg\n", ""])
def test_what_only_the_mapping_can_read_is_not_described(drop: Drop, content: str | bytes) -> None:
    drop.put("c.csv", content)
    assert drop.connector.describe("c*.csv") == []
