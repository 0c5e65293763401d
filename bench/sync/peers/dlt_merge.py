"""
dlt: its rest_api source, merged by id into SQLite (delete-insert) or Postgres (upsert), 14 members as columns.

`python dlt_merge.py DATABASE URL`
"""

import os
import sys
from typing import Any

os.environ |= {
    "DLT_TELEMETRY": "0",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "DLT_DATA_DIR": os.path.abspath("dlt"),
}
import dlt
from dlt.sources.rest_api import rest_api_source
from meter import EXPORT, PRAGMAS, Meter
from raw import COLUMNS


def columns(ticket: dict[str, Any]) -> dict[str, Any]:
    """Keep what the others keep."""
    row = {name: ticket.get(name) for name in COLUMNS}
    return row | {"channel": ticket["via"]["channel"], "tags": " ".join(ticket["tags"])}


def source(url: str, strategy: str) -> Any:
    """Describe the export; SQLite's destination knows no upsert."""
    return rest_api_source({
        "client": {"base_url": url},
        "resources": [{
            "name": "tickets",
            "primary_key": "id",
            "write_disposition": {"disposition": "merge", "strategy": strategy},
            "endpoint": {
                "path": EXPORT.lstrip("/"),
                "data_selector": "tickets",
                "paginator": {"type": "json_link", "next_url_path": "after_url"},
            },
            "processing_steps": [{"map": columns}],
        }],
    })  # fmt: skip


def sqlite(path: str) -> Any:
    """Give the destination, with the pragmas of the others."""
    from sqlalchemy import create_engine, event

    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _set(connection: Any, _: Any) -> None:
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    return dlt.destinations.sqlalchemy(engine)


def main() -> None:
    database, url = sys.argv[1], sys.argv[2]
    if database.startswith("postgresql://"):
        destination, strategy = dlt.destinations.postgres(database), "upsert"
    else:
        destination, strategy = sqlite(os.path.abspath(database)), "delete-insert"
    meter = Meter()
    pipeline = dlt.pipeline("bench", destination=destination, dataset_name="peer", pipelines_dir=os.path.abspath("dlt"))
    pipeline.run(source(url, strategy))
    meter.told(pipeline.last_trace.last_normalize_info.row_counts["tickets"])


if __name__ == "__main__":
    main()
