"""What follows a run that was worked: read anew what it touched, and tell the caller where to find what it made."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import msgspec

from hub.connections import Connection, wall
from hub.connector import Outcome, Target
from hub.errors import HubError
from hub.perform.envelope import EffectSeen, On, Result

Done = Sequence[tuple[Connection, Outcome]]


@dataclass(frozen=True)
class Afterwards:
    """
    Reads back; `fetch`, `resolve`, `get` and `waiting` are the neighbours', bound to the store.

    What was touched is of several streams more often than not: `beside` reads the further ones at the same time.
    """

    fetch: Callable[[Connection, str, list[str]], object]
    resolve: Callable[[str, str], list[Target]]
    get: Callable[[str, str], bytes | None]
    beside: Executor
    waiting: Callable[[str, str, str], int | None] = lambda *_: None

    def complete(self, result: Result, done: Done, kinds: Callable[[str, str], str | None]) -> bool:
        """
        Fetch what was touched, and put into the answer the hub ids of what was made; say whether that changed it.

        `kinds` names the kind that a stream's records have in a connection. The effects are there whatever happens
        here, so a failure is only told.
        """
        missed = self._read_back(done)
        result.warnings += missed
        named = [self._named(effect, done, kinds) for effect in result.effects]
        changed = bool(missed) or named != result.effects
        result.effects = named
        if result.action == "agent.handoff" and result.status == "succeeded":
            result.answer = self._place(result)
            changed = changed or result.answer is not None
        return changed

    def _read_back(self, done: Done) -> list[str]:
        streams: dict[tuple[str, str], tuple[Connection, list[str]]] = {}
        for connection, outcome in done:
            for stream, remote_id in outcome.touched:
                streams.setdefault((connection.name, stream), (connection, []))[1].append(remote_id)
        wanted = [(connection, stream, ids) for (_, stream), (connection, ids) in streams.items()]
        others = [self.beside.submit(self._read_anew, *one) for one in wanted[1:]]
        missed = [self._read_anew(*one) for one in wanted[:1]]
        return [text for text in (*missed, *(other.result() for other in others)) if text is not None]

    def _read_anew(self, connection: Connection, stream: str, ids: list[str]) -> str | None:
        try:
            with wall(f"{connection.name}: reading {stream} anew"):
                self.fetch(connection, stream, ids)
        except HubError as exc:
            return f"done, but not read back yet: {exc.message}"
        return None

    def _named(self, effect: EffectSeen, done: Done, kinds: Callable[[str, str], str | None]) -> EffectSeen:
        """Give an effect with the id of the customer that it made: only reading it says whom it was joined with."""
        if effect.op != "create" or effect.id is not None:
            return effect
        for connection, outcome in done:
            for stream, remote_id in outcome.touched if connection.name == effect.connection else ():
                kind = kinds(connection.name, stream) if remote_id == effect.remote_id else None
                found = self.resolve(f"{connection.name}/{stream}/{remote_id}", kind) if kind else []
                if found:
                    return msgspec.structs.replace(effect, id=found[0].id)
        return effect

    def _place(self, result: Result) -> dict[str, Any] | None:
        """Say where the people who take over find the ticket, and how many others wait in their queue."""
        made = next((effect.id for effect in result.effects if effect.id and effect.id.startswith("tkt_")), None)
        on = result.target.id if result.target is not None and result.target.kind == "ticket" else made
        body = self.get("ticket", on) if on is not None else None
        if on is None or body is None:
            return None
        ticket: dict[str, Any] = msgspec.json.decode(body)
        result.target = On(kind="ticket", id=on)
        group = ticket.get("group_ref")
        queue = group.get("remote_id") if isinstance(group, dict) else group
        where = next((str(one["connection"]) for one in ticket.get("connections") or ()), None)
        ahead = self.waiting(where, str(queue), on) if where is not None and queue is not None else None
        found = {name: ticket.get(name) for name in ("number", "url")}
        return {"ticket": on, **found, "queue": queue, "waiting": ahead}
