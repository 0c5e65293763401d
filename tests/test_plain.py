"""Validation errors in plain words: they name the field and what is allowed, in nobody's jargon."""

import re
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hub.actions import CATALOGUE
from hub.config import plain


class Part(BaseModel):
    """A nested table."""

    model_config = ConfigDict(extra="forbid")

    size: int = Field(1, gt=0, le=9)
    kind: Literal["round", "flat"] = "round"


class Whole(BaseModel):
    """Something with parts."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=5)
    parts: list[Part] = []
    best: Part | None = None
    share: float = 0.5
    fine: bool = True


def told(given: Any) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(given)
    return plain(caught.value.errors(), Whole)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("name", "missing")),
        ({"nam": "x"}, ("nam", 'no such field; did you mean "name"?')),
        ({"name": ""}, ("name", "must not be empty")),
        ({"name": "too long"}, ("name", "expected at most 5 characters")),
        ({"name": 5}, ("name", "expected text")),
        ({"name": "x", "fine": "perhaps"}, ("fine", "expected true or false")),
        ({"name": "x", "share": "half"}, ("share", "expected a number")),
        ({"name": "x", "parts": {}}, ("parts", "expected a list")),
        ({"name": "x", "parts": [{"size": 0}]}, ("parts.0.size", "expected more than 0")),
        ({"name": "x", "parts": [{"size": 10}]}, ("parts.0.size", "expected 9 or less")),
        ({"name": "x", "parts": [{"color": 1}]}, ("parts.0.color", "no such field; there are size, kind")),
        ({"name": "x", "best": {"kind": "odd"}}, ("best.kind", "expected round or flat")),
        ({"name": "x", "best": {"sise": 1}}, ("best.sise", 'no such field; did you mean "size"?')),
        ({"name": "x", "best": 3}, ("best", "expected an object")),
        (7, ("", "expected an object")),
    ],
)
def test_what_is_wrong_is_told_with_its_path_and_what_is_allowed(given: Any, expected: tuple[str, str]) -> None:
    assert told(given) == expected


@pytest.mark.parametrize("value", [None, 5, -1, 1.5, True, "", "x" * 40_000, [], [1], {}, {"x": 1}, "\ud800"])
def test_no_word_of_the_library_reaches_a_caller_of_an_action(value: Any) -> None:
    for action in CATALOGUE:
        for name, info in action.model_fields.items():
            try:
                action.model_validate({info.alias or name: value})
            except ValidationError as exc:
                path, said = plain(exc.errors(include_url=False), action)
                assert not re.search(r"Input|String|Field|pydantic|Extra|instance|[<>{}]", said), f"{path}: {said}"
