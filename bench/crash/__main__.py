"""
The crash campaign: worker processes are killed while they act, and afterwards the vendors' ledgers are counted.

`python bench/crash` runs the long form on SQLite and then on Postgres, `--short` the one that is part of `make test`,
which takes the stores one by one. Progress goes to stderr; the last line of stdout is one JSON object. Exits 1 where a
number that must hold does not.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from campaign import Campaign
from intents import SHORT, Size
from judge import judged, verdict
from stage import Stage, say
from stores import arguments, chosen, database

LONG = Size(refunds=2000, messages=500, orders=250, kills=210, customers=1500, settled=50, in_flight_s=6.0)


def main() -> int:
    """Run all parts on one store after the other, and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="the form that is part of make test: half of it per store")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--kills", type=int)
    arguments(parser)
    given = parser.parse_args()
    size = SHORT if given.short else LONG
    size = replace(size, kills=given.kills or size.kills)
    counted: dict[str, dict[str, Any]] = {}
    failed: list[str] = []
    for store in chosen(given):
        with database(store, given.url) as url, tempfile.TemporaryDirectory(prefix="deskhub-crash-") as folder:
            counted[store] = campaigns(Path(folder), size, url=url, seed=given.seed)
        failed += [f"{store}: {text}" for text in verdict(counted[store], size)]
    for text in failed:
        say(f"does not hold: {text}")
    print(json.dumps({"bench": "crash", "holds": not failed, "failed": failed, **counted}))
    return 1 if failed else 0


def campaigns(folder: Path, size: Size, *, url: str | None, seed: int) -> dict[str, Any]:
    """Run the three parts on one stage: the hub, the hub against a vendor that forgets keys, and no hub at all."""
    with Stage(folder, size, url=url) as stage:
        main_part = Campaign(stage, size, mode="hub", seed=seed)
        counted = {"campaign": judged(main_part, main_part.run())}
        forgetful = Campaign(stage, size.small(), mode="ignore_keys", seed=seed + 1)
        counted["ignore_keys"] = judged(forgetful, forgetful.run())
        control = Campaign(stage, size.small(), mode="control", seed=seed + 2)
        counted["control"] = judged(control, control.run())
    return counted


if __name__ == "__main__":
    sys.exit(main())
