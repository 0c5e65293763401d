"""A converter of the default mapping: from an address of the API to the page that people open."""

import re

_API = re.compile(r"(https://[^/?#]+)/api/v2/(tickets|users|organizations)/(\d+)(?:\.json)?")


def zendesk_agent_url(url: str) -> str:
    """Give the page of a ticket, user or organization in the agent's workspace; any other address as it is."""
    found = _API.fullmatch(url) if isinstance(url, str) else None
    return f"{found[1]}/agent/{found[2]}/{found[3]}" if found else url
