"""
The crash campaign: worker processes are killed while they act, and afterwards the vendors' ledgers are counted.

`python bench/crash` runs the long form, `--short` the one that is part of `make test`. Progress goes to stderr; the
last line of stdout is one JSON object. Exits 1 where a number that must hold does not.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from campaign import Campaign
from intents import SHORT, Size
from judge import judged, verdict
from stage import Stage, say

LONG = Size(refunds=2000, messages=500, orders=250, kills=210, customers=1500)


def main() -> int:
    """Run all three parts on one stage and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="the form that is part of make test")
    parser.add_argument("--url", help="a database of its own to use, postgresql://…; default: SQLite in a new folder")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--kills", type=int)
    given = parser.parse_args()
    size = SHORT if given.short else LONG
    size = replace(size, kills=given.kills or size.kills)
    with (
        tempfile.TemporaryDirectory(prefix="deskhub-crash-") as folder,
        Stage(Path(folder), size.customers, url=given.url) as stage,
    ):
        main_part = Campaign(stage, size, mode="hub", seed=given.seed)
        counted = {"campaign": judged(main_part, main_part.run())}
        forgetful = Campaign(stage, size.small(), mode="ignore_keys", seed=given.seed + 1)
        counted["ignore_keys"] = judged(forgetful, forgetful.run())
        control = Campaign(stage, size.small(), mode="control", seed=given.seed + 2)
        counted["control"] = judged(control, control.run())
    failed = verdict(counted, size)
    for text in failed:
        say(f"does not hold: {text}")
    print(json.dumps({"bench": "crash", "store": given.url.partition(":")[0] if given.url else "sqlite",
                      "holds": not failed, "failed": failed, **counted}))  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
