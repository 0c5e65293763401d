"""Converters of the default mapping: the page that people open for a record, the domain of a website."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from hub_salesforce.client import ID

_HOST = re.compile(r"([a-z0-9-]{1,63}\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


def salesforce_page(values: Sequence[Any]) -> str | None:
    """Give the path of a record's page in Lightning, below the org's own address, which no record names."""
    name, one = values
    if not isinstance(name, str) or not name.isidentifier() or not isinstance(one, str) or not ID.fullmatch(one):
        return None
    return f"/lightning/r/{name}/{one}/view"


def salesforce_domain(website: Any) -> str | None:
    """Give the domain of a website as people type it, without www; null where there is none to be found."""
    text = website.strip().lower() if isinstance(website, str) else ""
    try:
        host = urlsplit(text if "://" in text else f"//{text}").hostname or ""
    except ValueError:
        return None
    host = host.removeprefix("www.").rstrip(".")
    return host if len(host) <= 253 and _HOST.fullmatch(host) else None


salesforce_page.takes = "many"  # type: ignore[attr-defined]
