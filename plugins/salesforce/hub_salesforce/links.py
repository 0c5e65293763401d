"""Converters of the default mapping: a record's page, a website's domain, and what an id's first three letters say."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from hub_salesforce.client import ID

_HOST = re.compile(r"([a-z0-9-]{1,63}\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?")

_USER, _GROUP = "005", "00G"  # the key prefixes of User, and of Group, whose records queues are


def salesforce_page(values: Sequence[Any]) -> str | None:
    """Give the path of a record's page in Lightning, below the org's own address, which no record names."""
    name, one = values
    if not isinstance(name, str) or not name.isidentifier() or not isinstance(one, str) or not ID.fullmatch(one):
        return None
    return f"/lightning/r/{name}/{one}/view"


def salesforce_user(owner: Any) -> str | None:
    """Give the id of an owner that is a user; null for a queue, which owns records too."""
    return owner if isinstance(owner, str) and owner and not owner.startswith(_GROUP) else None


def salesforce_queue(owner: Any) -> str | None:
    """Give the id of an owner that is a queue; null for a user."""
    return owner if isinstance(owner, str) and owner and not owner.startswith(_USER) else None


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
