"""What a value should have been, in plain words: validation errors as people and agents read them."""

import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

_WORDS = {
    "missing": "missing",
    "string_type": "expected text",
    "string_sub_type": "expected text",
    "string_unicode": "expected text",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_parsing_size": "expected a smaller whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "decimal_type": "expected a number",
    "decimal_parsing": "expected a number",
    "finite_number": "expected a number that is not infinite",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "set_type": "expected a list",
    "frozen_set_type": "expected a list",
    "dict_type": "expected an object",
    "model_type": "expected an object",
    "model_attributes_type": "expected an object",
    "mapping_type": "expected an object",
    "date_type": 'expected a date such as "2026-01-31"',
    "date_parsing": 'expected a date such as "2026-01-31"',
    "date_from_datetime_parsing": 'expected a date such as "2026-01-31"',
    "datetime_type": 'expected a time such as "2026-01-31T08:00:00Z"',
    "datetime_parsing": 'expected a time such as "2026-01-31T08:00:00Z"',
    "datetime_from_date_parsing": 'expected a time such as "2026-01-31T08:00:00Z"',
    "path_type": "expected a path",
    "url_parsing": "expected a URL",
    "url_type": "expected a URL",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected {ge} or more",
    "less_than": "expected less than {lt}",
    "less_than_equal": "expected {le} or less",
    "string_too_short": "expected at least {min_length} characters",
    "string_too_long": "expected at most {max_length} characters",
    "too_short": "expected at least {min_length} of them",
    "too_long": "expected at most {max_length} of them",
    "enum": "expected {expected}",
    "literal_error": "expected {expected}",
}
_FORMS = {
    r"^[A-Z]{2}$": "expected two capital letters, such as DE",
    r"^[A-Z]{3}$": "expected three capital letters, such as EUR",
    r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$": "expected a language such as de or de-AT",
}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Give `; did you mean "x"?`, or the list of what is known where nothing is near."""
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, 1, 0.6)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; known: {', '.join(names)}" if names else ""


def plain(errors: Sequence[Mapping[str, Any]], model: Any = None) -> tuple[str, str]:
    """
    Give the dotted path and the plain words of what pydantic found; `model` is what was validated.

    An unknown name comes before a missing one: it is often the missing one, misspelt. The words name what is allowed,
    never what was given.
    """
    error = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    steps = [step for step in error["loc"] if not str(step).startswith("function-")]
    path = ".".join(str(step) for step in steps)
    if error["type"] == "extra_forbidden":
        return path, f"no such field{_there(steps, model)}"
    return path, _said(error)


def _said(error: Mapping[str, Any]) -> str:
    kind, given = error["type"], error.get("ctx") or {}
    if kind in ("value_error", "assertion_error"):
        return str(error["msg"]).partition(", ")[2]
    if kind == "string_pattern_mismatch":
        return _FORMS.get(given["pattern"], f"expected text of the form {given['pattern']}")
    if kind in ("string_too_short", "too_short") and given["min_length"] == 1:
        return "must not be empty"
    text = _WORDS.get(kind)
    return "is not of the kind that is expected here" if text is None else text.format(**given).replace("'", "")


def _there(steps: Sequence[Any], model: Any) -> str:
    for step in steps[:-1]:
        model = _inside(model, step)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return ""
    names = [info.alias or name for name, info in model.model_fields.items()]
    near = did_you_mean(str(steps[-1]), names)
    return near if "did you mean" in near else f"; there are {', '.join(names)}" if names else ""


def _inside(model: Any, step: Any) -> Any:
    """Give the model that a step of a path leads to, or None."""
    if isinstance(step, int):
        return model
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return None
    for name, info in model.model_fields.items():
        if step in (name, info.alias):
            found = (arg for arg in bare(info.annotation) if isinstance(arg, type) and issubclass(arg, BaseModel))
            return next(found, None)
    return None


def bare(annotation: Any) -> tuple[Any, ...]:
    """Give the types of an annotation, without Annotated, unions and lists around them."""
    if get_origin(annotation) is Annotated:
        return bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType, list):
        return tuple(inner for arg in get_args(annotation) for inner in bare(arg))
    return (annotation,)
