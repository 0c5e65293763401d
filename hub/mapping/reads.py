"""What a rule reads: its paths, and the lists inside it."""

from collections.abc import Iterator

from hub.mapping.paths import Path
from hub.mapping.spec import Amount, Each, From, Object, Refer, Rule, When


def paths_of(rule: Rule | None, *, lists: bool = True) -> Iterator[Path]:
    """Give the paths that a rule reads in its own scope; without `lists`, only those whose value is used itself."""
    if isinstance(rule, From):
        yield from rule.paths
    elif isinstance(rule, Refer):
        yield from rule.source.paths
    elif isinstance(rule, Amount):
        yield from rule.source.paths
        yield from paths_of(rule.currency)
    elif isinstance(rule, Each) and lists:
        yield rule.path
    elif isinstance(rule, When):
        for where, then in rule.cases:
            yield from (test.path for test in where)
            yield from paths_of(then, lists=lists)
        yield from paths_of(rule.otherwise, lists=lists)
    elif isinstance(rule, Object):
        for entry in rule.entries:
            yield from paths_of(entry.rule, lists=lists)


def inner_of(rule: Rule | None) -> Iterator[Each]:
    """Give the lists inside a rule, whose elements are scopes of their own."""
    if isinstance(rule, Each):
        yield rule
    elif isinstance(rule, When):
        for _, then in rule.cases:
            yield from inner_of(then)
        yield from inner_of(rule.otherwise)
    elif isinstance(rule, Object):
        for entry in rule.entries:
            yield from inner_of(entry.rule)
