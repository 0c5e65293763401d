"""The tree of remedies."""

from pathlib import Path

import hub
from hub import errors
from hub.errors import HubError, RateLimited


def tree(cls=HubError):
    yield cls
    for sub in cls.__subclasses__():
        if sub.__module__ == "hub.errors":
            yield from tree(sub)


def test_every_error_stands_in_the_tree_of_the_docstring():
    for cls in tree():
        assert cls.__name__ in errors.__doc__


def test_every_error_has_a_code_of_its_own():
    codes = [cls.code for cls in tree()]
    assert len(set(codes)) == len(codes)


def test_only_waiting_makes_an_error_retryable():
    assert {cls.__name__ for cls in tree() if cls.retryable} == {"Temporary", "RateLimited", "NotSent"}


def test_an_error_says_what_an_agent_needs():
    error = RateLimited("zendesk: the limit export is used up", retry_after_s=1.5, next_actions=["agent.handoff"])
    assert error.as_dict() == {
        "code": "rate_limited",
        "retryable": True,
        "retry_after_ms": 1500,
        "reason": None,
        "human_message": "zendesk: the limit export is used up",
        "next_actions": ["agent.handoff"],
        "field_path": None,
    }


def test_the_public_names_are_complete_and_lazy():
    text = Path(hub.__file__).read_text()
    for name in hub.__all__:
        assert getattr(hub, name) is not None
        assert f"import {name} as {name}" in text
    assert sorted(hub.__all__) == dir(hub)
