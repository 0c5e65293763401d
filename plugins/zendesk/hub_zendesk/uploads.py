"""Files that go with a comment: each is uploaded first, then the comment names its token."""

from collections.abc import Mapping, Sequence
from typing import Any

from hub import File, HubError, NotSent, RateLimited, Temporary, Unknown, aside
from hub_zendesk.client import Client

TRIES = 2


def with_files(client: Client, wanted: Mapping[str, Any], files: Sequence[File]) -> dict[str, Any]:
    """
    Give an update whose comment names these files, uploading them.

    Raises NotSent where a file does not get through: then there is no comment either.
    """
    if not files:
        return dict(wanted)
    tokens = [_token(client, file) for file in files]
    return {**wanted, "comment": {**wanted["comment"], "uploads": tokens}}


def _token(client: Client, file: File) -> str:
    """Upload a file. An upload whose answer is lost is made again: the other one is gone after three days, unseen."""
    lost: HubError | None = None
    with aside() as leaves:
        if not leaves:
            return f"(the upload of {file.name})"
        for _ in range(TRIES):
            try:
                return client.upload(file.name, file.content_type, file.data)
            except RateLimited:
                raise
            except (Unknown, Temporary) as exc:
                lost = exc
    assert lost is not None
    raise NotSent(f"zendesk: a file could not be uploaded, so no comment was sent: {lost.message}") from lost
