"""Choose where an action goes: the records that a reference means, in the connections that can do it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from hub.actions import Action, AgentHandoff, CreditGrant, CreditTakeBack, CustomerCreate, OrderCancel, TicketCreate
from hub.config import did_you_mean
from hub.connections import Connection, Connections
from hub.connector import Target
from hub.errors import ConfigError, HubError, Invalid, MappingError, NotFound, Unsupported
from hub.ledger import Reckoned
from hub.perform.envelope import Skipped
from hub.perform.intake import references

Resolve = Callable[[str, str], list[Target]]
Chosen = Sequence[tuple[Connection, Target | None]]


@dataclass
class Notes:
    """What a caller should know of a plan beside what it does; `knows` names the runs it was reckoned with."""

    warnings: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    knows: Reckoned | None = None

    def skip(self, connection: str, action: str, reason: str) -> None:
        """Note that a system is left as it is, and why."""
        self.skipped.append(Skipped(connection=connection, action=action, reason=reason))
        self.warnings.append(f"{connection}: {reason}")


@dataclass(frozen=True)
class Choice:
    """Chooses among the configured connections; `resolve` finds the records of a reference."""

    connections: Connections
    resolve: Resolve

    def chosen(self, action: Action, notes: Notes) -> Chosen:
        """
        Say which records in which connections an action works on.

        Raises NotFound where there are none, Unsupported where nobody can, Invalid where several could and one must be
        named.
        """
        if isinstance(action, CustomerCreate):
            return [(self.connections.open(name), None) for name in self._where_to_make(action)]
        targets = self._targets(action)
        if isinstance(action, (TicketCreate, AgentHandoff)) and opens_ticket(action):
            return [self._where_to_open(action, targets)]
        if isinstance(action, (CreditGrant, CreditTakeBack)) and action.connection is not None:
            targets = [t for t in targets if t.connection == action.connection]
        able = [(self.connections.open(t.connection), t) for t in targets if self.can(t.connection, action)]
        if action.fans_out:
            return self._everywhere(action, able, targets, notes)
        if not able:
            raise self.cannot(action, sorted({t.connection for t in targets}))
        wanted = set(action.asks_specially())
        able = [(one, target) for one, target in able if wanted <= one.takes(action.name)] or able
        if len(able) > 1:
            names = ", ".join(sorted(place_of(target) for _, target in able))
            on = action.works_on()
            text = f"{action.name}: several systems hold it and can do this; say which: {names}"
            raise Invalid(text, code="ambiguous_target", field_path=f"input.{on.field if on else ''}")
        if isinstance(action, OrderCancel):
            self._elsewhere(action, able[0][1], notes)
        self.heeded(action, able[0][0])
        return list(able)

    def heeded(self, action: Action, connection: Connection) -> None:
        """Raise Unsupported where a connection would leave a special input unheeded, naming those that would not."""
        for name in action.asks_specially():
            if name in connection.takes(action.name):
                continue
            able = [other for other in self._able(action) if name in self.connections.open(other).takes(action.name)]
            can = f"what can: {', '.join(able)}" if able else "no connection can"
            text = f"{action.name}: {connection.name} cannot do {name}; {can}; {action.special[name]}"
            raise Unsupported(text, field_path=f"input.{name}", code="input_not_supported")

    def _elsewhere(self, action: Action, target: Target, notes: Notes) -> None:
        """Note which other systems hold what is cancelled in one."""
        others = {other.connection for other in self.resolve(target.id, target.kind)} - {target.connection}
        for name in sorted(others):
            notes.skip(name, action.name, f"holds the {target.kind}, too; left as it is")

    def _targets(self, action: Action) -> list[Target]:
        on = action.works_on()
        if on is None:
            return []
        reference = references(action)[on.field]
        found = self.resolve(reference, on.kind)
        if not found:
            self._known_connection(action, reference)
            raise unknown(action)
        if "/" not in reference:
            return found
        meant = (reference.partition("/")[0], reference.rpartition("/")[2])
        named = [t for t in found if (t.connection, t.remote_id) == meant]
        others = [t for t in found if t not in named]
        return named + others if action.fans_out or opens_ticket(action) else named or others

    def _known_connection(self, action: Action, reference: str) -> None:
        """Say so where a reference names a connection that is not configured."""
        name, slash, _ = reference.partition("/")
        if slash and name not in self.connections.names():
            text = f"{action.name}: there is no connection {name[:60]}{did_you_mean(name, self.connections.names())}"
            on = action.works_on()
            field = f"input.{on.field}" if on else "input"
            raise NotFound(text, code="unknown_connection", field_path=field)

    def can(self, connection: str, action: Action, name: str | None = None) -> bool:
        """Say whether a configured connection can do an action (or the one it `needs`)."""
        name = name or action.needs or action.name
        return connection in self.connections.names() and self.connections.open(connection).can(name) is not None

    def _able(self, action: Action, name: str | None = None) -> list[str]:
        """Name the connections that can do it; one that does not even open can do nothing."""
        able = []
        for connection in self.connections.names():
            with suppress(ConfigError, MappingError):
                able += [connection] if self.can(connection, action, name) else []
        return able

    def cannot(self, action: Action, where: Sequence[str], name: str | None = None) -> Unsupported:
        """Say that these connections cannot do it, and which can."""
        able = self._able(action, name)
        can = f"what can: {', '.join(able)}" if able else "no connection can"
        return Unsupported(f"{action.name}: {', '.join(where) or 'no connection'} cannot do that; {can}")

    def _everywhere(
        self,
        action: Action,
        able: list[tuple[Connection, Target]],
        targets: Sequence[Target],
        notes: Notes,
    ) -> Chosen:
        held = sorted({t.connection for t in targets})
        can = {connection.name for connection, _ in able}
        wanted: list[str] | None = getattr(action, "targets", None)
        for name in wanted or ():
            if name not in {*held, *map(place_of, targets)}:
                raise NotFound(f"{action.name}: {name} does not hold this customer", field_path="input.targets")
            if name.partition("/")[0] not in can:
                raise self.cannot(action, [name])
        if not able:
            raise self.cannot(action, held)
        for name in held if wanted is None else ():
            if name not in can:
                notes.skip(name, action.name, f"cannot do {action.name}; left as it is")
        return [(c, t) for c, t in able if wanted is None or {c.name, place_of(t)} & set(wanted)]

    def _where_to_open(
        self, action: TicketCreate | AgentHandoff, targets: Sequence[Target]
    ) -> tuple[Connection, Target | None]:
        name = TicketCreate.name
        able = [action.connection] if action.connection else self._able(action, name)
        held = {t.connection for t in targets}
        if action.connection is not None and not self.can(action.connection, action, name):
            raise self.cannot(action, [action.connection], name)
        here = [connection for connection in able if connection in held]
        if len(here) > 1:
            text = f"{action.name}: several connections can; name one of {', '.join(here)}"
            raise Invalid(text, code="ambiguous_target", field_path="input.connection")
        if not able:
            raise self.cannot(action, sorted(held), name)
        if not here:
            text = f"{action.name}: {', '.join(able)} does not know this customer"
            raise NotFound(text, code="customer_not_there", field_path="input.customer_ref")
        return self.connections.open(here[0]), next(t for t in targets if t.connection == here[0])

    def _where_to_make(self, action: CustomerCreate) -> list[str]:
        wanted = list(dict.fromkeys(action.connections or ()))
        for name in wanted:
            if name not in self.connections.names():
                text = f"{action.name}: there is no connection {name[:60]}"
                raise NotFound(text + did_you_mean(name, self.connections.names()), code="unknown_connection")
            if not self.can(name, action):
                raise self.cannot(action, [name])
        able = wanted or self._able(action)
        if not able:
            raise self.cannot(action, [])
        if not wanted and len(able) > 1:
            text = f"{action.name}: several connections can; name one or more of {', '.join(able)}"
            raise Invalid(text, code="ambiguous_target", field_path="input.connections")
        return able


def place_of(target: Target) -> str:
    """Name one record of one connection, as references do."""
    return f"{target.connection}/{target.stream}/{target.remote_id}"


def opens_ticket(action: Action) -> bool:
    """Say whether an action works on a customer by opening a ticket."""
    return isinstance(action, TicketCreate) or (isinstance(action, AgentHandoff) and action.customer_ref is not None)


def unknown(action: Action) -> HubError:
    """Say that there is nothing of what the action is to work on."""
    on = action.works_on()
    kind, field = (on.kind, on.field) if on else ("record", "")
    return NotFound(f"{action.name}: there is no such {kind}", field_path=f"input.{field}")
