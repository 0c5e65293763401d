"""
airbyte-cdk: a declarative source that emits record messages as JSON lines; nothing is stored.

`python airbyte.py URL`
"""

import logging
import sys
from typing import Any

from airbyte_cdk.models import (
    AirbyteMessageSerializer,
    ConfiguredAirbyteCatalog,
    ConfiguredAirbyteStream,
    DestinationSyncMode,
    SyncMode,
    Type,
)
from airbyte_cdk.models import AirbyteStream as Named
from airbyte_cdk.sources.declarative.concurrent_declarative_source import ConcurrentDeclarativeSource
from meter import EXPORT, Meter
from orjson import dumps


def manifest(url: str) -> dict[str, Any]:
    """Describe the export."""
    requester = {"type": "HttpRequester", "url_base": url, "path": EXPORT, "http_method": "GET"}
    paginator = {
        "type": "DefaultPaginator",
        "page_token_option": {"type": "RequestPath"},
        "pagination_strategy": {
            "type": "CursorPagination",
            "cursor_value": f"{{{{ '{url}' ~ response['after_url'] }}}}",
            "stop_condition": "{{ response['after_url'] is none }}",
        },
    }
    stream = {
        "type": "DeclarativeStream",
        "name": "tickets",
        "primary_key": "id",
        "retriever": {
            "type": "SimpleRetriever",
            "requester": requester,
            "paginator": paginator,
            "record_selector": {
                "type": "RecordSelector",
                "extractor": {"type": "DpathExtractor", "field_path": ["tickets"]},
            },
        },
        "schema_loader": {"type": "InlineSchemaLoader", "schema": {"type": "object", "additionalProperties": True}},
    }
    check = {"type": "CheckStream", "stream_names": ["tickets"]}
    return {"version": "7.0.0", "type": "DeclarativeSource", "check": check, "streams": [stream]}


def main() -> None:
    logging.disable(logging.WARNING)
    named = Named(name="tickets", json_schema={}, supported_sync_modes=[SyncMode.full_refresh])
    catalog = ConfiguredAirbyteCatalog(
        streams=[ConfiguredAirbyteStream(named, SyncMode.full_refresh, DestinationSyncMode.overwrite)]
    )
    meter = Meter()
    source = ConcurrentDeclarativeSource(source_config=manifest(sys.argv[1]), config={}, catalog=catalog, state=[])
    count = 0
    with open("airbyte.jsonl", "wb") as out:
        for message in source.read(logging.getLogger("airbyte"), {}, catalog, []):
            out.write(dumps(AirbyteMessageSerializer.dump(message)) + b"\n")
            count += message.type is Type.RECORD
    meter.told(count)


if __name__ == "__main__":
    main()
