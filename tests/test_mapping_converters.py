"""The converters of the mapping room, each with what it makes of good and of bad values."""

from decimal import Decimal
from typing import Any

import pytest

from hub.mapping.converters import BUILTIN, Step, catalogue, json_text
from hub.mapping.times import iso, parse_iso, sortable, time


def convert(name: str, value: Any, **options: Any) -> Any:
    return Step(BUILTIN[name], options).forward()(value)


@pytest.mark.parametrize(
    ("name", "value", "options", "made"),
    [
        ("string", 5, {}, "5"),
        ("string", True, {}, "true"),
        ("string", [1, None, "a"], {}, ["1", "a"]),
        ("strip", "  a ", {}, "a"),
        ("strip", "  ", {}, None),
        ("lower", "ÄB", {}, "äb"),
        ("upper", "äb", {}, "ÄB"),
        ("bool", "Yes", {}, True),
        ("bool", 0, {}, False),
        ("bool", False, {}, False),
        ("bool", " ", {}, None),
        ("int", "12", {}, 12),
        ("int", Decimal("3.0"), {}, 3),
        ("int", "", {}, None),
        ("decimal", " 1.50 ", {}, Decimal("1.50")),
        ("epoch_seconds", 0, {}, "1970-01-01T00:00:00Z"),
        ("epoch_seconds", "1700000000", {}, "2023-11-14T22:13:20Z"),
        ("epoch_seconds", Decimal("1.5"), {}, "1970-01-01T00:00:01.500Z"),
        ("epoch_millis", 1_700_000_000_123, {}, "2023-11-14T22:13:20.123Z"),
        ("epoch_millis", 72_082_915_200_001, {}, "4254-03-21T00:00:00.001Z"),
        ("iso8601", "2026-11-22 07:00", {"zone": "Europe/Berlin"}, "2026-11-22T06:00:00Z"),
        ("iso8601", "", {}, None),
        ("date", "2026-11-22T23:30:00-05:00", {}, "2026-11-23"),
        ("date", "", {}, None),
        ("datetime", "22.11.2026", {"format": "%d.%m.%Y", "zone": "Europe/Berlin"}, "2026-11-21T23:00:00Z"),
        ("datetime", "22.11.2026 +0200", {"format": "%d.%m.%Y %z"}, "2026-11-21T22:00:00Z"),
        ("datetime", "2026-11-22T07:00:00", {"zone": "America/New_York"}, "2026-11-22T12:00:00Z"),
        ("datetime", " ", {"format": "%d"}, None),
        ("split", "a, b,,c", {}, ["a", "b", "c"]),
        ("split", "a;b", {"sep": ";", "index": -1}, "b"),
        ("split", "a;b", {"sep": ";", "index": 5}, None),
        ("split", "a b c", {"sep": " ", "limit": 1, "index": 1}, "b c"),
        ("join", ["a", None, "", 5], {"sep": "-"}, "a-5"),
        ("join", "a", {}, "a"),
        ("email", " Ada@Example.COM ", {}, "ada@example.com"),
        ("email", "mailto:a@b.example", {}, "a@b.example"),
        ("email", "not an address", {}, None),
        ("phone", "030 1234567", {"region": "DE"}, "+49301234567"),
        ("phone", "+1 650-253-0000", {}, "+16502530000"),
        ("phone", "030 1234567", {}, "030 1234567"),
        ("phone", "ext. 12", {"region": "DE"}, "ext. 12"),
        ("phone", " ", {}, None),
        ("country", "Deutschland", {}, "DE"),
        ("country", "états-unis", {}, "US"),
        ("country", "AUT", {}, "AT"),
        ("country", "uk", {}, "GB"),
        ("country", "gb", {}, "GB"),
        ("country", "Atlantis", {}, None),
        ("language", "en_us", {}, "en-US"),
        ("language", "ZH-hans-cn", {}, "zh-Hans-CN"),
        ("language", "Deutsch", {}, "de"),
        ("language", "es-419", {}, "es-419"),
        ("language", "Klingonisch, vielleicht", {}, None),
        ("html_to_text", "<p>a &amp; b<br>c</p><script>x()</script><p> d </p>", {}, "a & b\nc\n\nd"),
        ("first_text", [None, " ", 5], {}, "5"),
        ("first_text", [None], {}, None),
        ("name_join", ["Ada ", None, "", "King"], {}, "Ada King"),
        ("name_join", [None], {}, None),
        ("min", [3, None, Decimal("1.5")], {}, Decimal("1.5")),
        ("max", ["2026-01-01", "2026-02-01"], {}, "2026-02-01"),
        ("max", [], {}, None),
        ("sum", [1, "2.5", None], {}, Decimal("3.5")),
        ("sum", [1, 2], {}, 3),
        ("sum", [None], {}, None),
    ],
)  # fmt: skip
def test_a_converter_makes(name: str, value: Any, options: dict[str, Any], made: Any) -> None:
    assert convert(name, value, **options) == made


@pytest.mark.parametrize(
    ("name", "value", "options", "said"),
    [
        ("string", {}, {}, "a text is needed, found an object"),
        ("bool", "perhaps", {}, "a text is no boolean"),
        ("int", "1.5", {}, 'a whole number is needed, found "1.5"'),
        ("int", "Ada", {}, "a number is needed, found a text"),
        ("decimal", True, {}, "a number is needed, found true"),
        ("decimal", "NaN", {}, "out of range"),
        ("decimal", Decimal("1E+900"), {}, "out of range"),
        ("epoch_seconds", "soon", {}, "is no number of seconds"),
        ("epoch_seconds", True, {}, "is no number of seconds"),
        ("epoch_seconds", 10**18, {}, "is out of the range of times"),
        ("iso8601", "2026-02-30", {}, "is no time that exists"),
        ("iso8601", "2026-02-03T10:00", {"zone": "Europe/Atlantis"}, 'no time zone "Europe/Atlantis"'),
        ("datetime", "x", {"format": "%d"}, 'does not fit "%d"'),
        ("min", [1, True], {}, "only numbers and texts have an order"),
        ("sum", ["x"], {}, "a number is needed"),
    ],
)  # fmt: skip
def test_a_converter_refuses(name: str, value: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        convert(name, value, **options)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-22T07:00:00Z", "2026-11-22T07:00:00Z"),
        ("2026-11-22T07:00:00.000+0000", "2026-11-22T07:00:00Z"),
        ("2026-11-22T07:00:00.12+02:00", "2026-11-22T05:00:00.120Z"),
        ("2026-11-22T07:00:00.1234567Z", "2026-11-22T07:00:00.123456Z"),
        ("2026-11-22 07:00:00 UTC", "2026-11-22T07:00:00Z"),
        ("2026-11-22 07:00:00 +0100", "2026-11-22T06:00:00Z"),
        ("2026-11-22T07:00-05", "2026-11-22T12:00:00Z"),
        ("20261122T070000Z", "2026-11-22T07:00:00Z"),
        ("2026-11-22", "2026-11-22T00:00:00Z"),
        ("", None),
    ],
)
def test_times_of_every_spelling_become_utc(text: str, utc: str | None) -> None:
    assert time(text) == utc


def test_widened_times_sort_as_times_do() -> None:
    texts = ["2026-11-22T07:00:00Z", "2026-11-22T07:00:00.001Z", "2026-11-22T07:00:00.001002Z", "2026-11-22T07:00:01Z"]
    wide = [sortable(iso(parse_iso(text))) for text in texts]
    assert wide == sorted(wide)
    assert {len(text) for text in wide} == {27}


@pytest.mark.parametrize(
    ("name", "options", "unified", "vendor"),
    [
        ("epoch_seconds", {}, "2023-11-14T22:13:20Z", 1_700_000_000),
        ("epoch_millis", {}, "2023-11-14T22:13:20.123Z", 1_700_000_000_123),
        ("datetime", {"format": "%d.%m.%Y %H:%M", "zone": "Europe/Berlin"}, "2026-07-01T10:00:00Z", "01.07.2026 12:00"),
        ("datetime", {}, "2026-07-01T10:00:00Z", "2026-07-01T10:00:00Z"),
        ("split", {"sep": ";"}, ["a", "b"], "a;b"),
        ("join", {"sep": ";"}, "a;b", ["a", "b"]),
        ("bool", {}, True, True),
    ],
)
def test_what_can_be_inverted_is(name: str, options: dict[str, Any], unified: Any, vendor: Any) -> None:
    step = Step(BUILTIN[name], options)
    backward = step.backward()
    assert backward is not None
    assert backward(unified) == vendor
    assert step.forward()(vendor) == unified


def test_plugins_add_converters_but_replace_none() -> None:
    def shout(value: str, marks: int = 1) -> str:
        """
        Make it loud.

        Very.
        """
        return value.upper() + "!" * marks

    known = catalogue({"shout": shout, "lower": shout})
    assert (known["shout"].options, known["shout"].about, known["shout"].inverse) == (("marks",), "Make it loud.", None)
    assert known["lower"] is BUILTIN["lower"]


def test_values_compare_by_their_json_text() -> None:
    assert [json_text(v) for v in (None, True, 1, Decimal("1.50"), "a", [1], {"a": None})] == [
        "null", "true", "1", "1.50", "a", "[1]", '{"a":null}',
    ]  # fmt: skip
