"""The sandbox's incremental exports: by cursor, and by time."""

from hub.sandbox import Request, Response, Sandbox, route
from hub_zendesk.sandbox import shapes
from hub_zendesk.sandbox.paging import Record, by_cursor, by_time
from hub_zendesk.sandbox.state import State


class Exports(Sandbox):
    """Tells what changed since a cursor or a second; see ZendeskSandbox for its settings."""

    export_size = 1000
    strict_times = False
    cut_seconds = False
    state: State

    @route("GET", r"/api/v2/incremental/(?P<sort>tickets|users)/cursor(\.json)?")
    def cursor_export(self, request: Request) -> Response:
        rows = self.state.users if request.args["sort"] == "users" else self.state.tickets
        told = [row for row in rows.values() if self._settled(row["updated_at"])]
        if request.args["sort"] == "tickets":
            told = [{**row, "generated_timestamp": shapes.epoch(row["updated_at"])} for row in told]
            told = self.measured(request, told)
        return by_cursor(request, request.args["sort"], told, self.export_size)

    def measured(self, request: Request, tickets: list[Record]) -> list[Record]:
        """Put metric sets into tickets where they are asked for."""
        if "metric_sets" not in request.arg("include").split(","):
            return tickets
        comments = self.state.comments
        return [{**row, "metric_set": shapes.metric_set(row, comments.get(row["id"], {}).values())} for row in tickets]

    @route("GET", r"/api/v2/incremental/organizations(\.json)?")
    def organizations_export(self, request: Request) -> Response:
        rows = [(shapes.epoch(o["updated_at"]), o) for o in self.state.organizations.values()]
        return self._by_time(request, "organizations", rows)

    @route("GET", r"/api/v2/incremental/ticket_events(\.json)?")
    def events_export(self, request: Request) -> Response:
        with_comments = "comment_events" in request.arg("include").split(",")
        rows: list[tuple[int, Record]] = []
        for one, audits in self.state.audits.items():
            for audit in audits:
                event = shapes.ticket_event(audit, self.state.comments[one])
                if not with_comments:
                    event["child_events"] = [c for c in event["child_events"] if c["event_type"] != "Comment"]
                rows.append((event["timestamp"], event))
        return self._by_time(request, "ticket_events", rows)

    def _by_time(self, request: Request, name: str, rows: list[tuple[int, Record]]) -> Response:
        now = int(self.state.now.timestamp()) if self.strict_times else None
        told = [row for row in rows if now is None or row[0] <= now - 60]
        return by_time(request, name, told, self.export_size, now, cut=self.cut_seconds)

    def _settled(self, updated_at: str) -> bool:
        return not self.strict_times or shapes.epoch(updated_at) <= self.state.now.timestamp() - 60
