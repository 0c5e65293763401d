"""Apply the mapping of the hub in this folder to its kept raw records; print what that took as JSON."""

import json
import resource
import time

from hub.app import App, memory
from hub.remap import apply


def main() -> None:
    """Do what `hub map apply` does."""
    with App.open("config.toml") as app, memory.settled():
        store, connection = app.store, app.connections.open("zendesk")
        began, cpu = time.perf_counter(), time.process_time()
        report = apply(store, connection, streams=["tickets"])["tickets"]
        seconds, used = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    records = report["same"] + report["changed"]
    print(json.dumps({"records": records, "seconds": seconds, "cpu": used, "rss_mb": peak, **report}))


if __name__ == "__main__":
    main()
