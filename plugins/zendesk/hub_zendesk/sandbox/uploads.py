"""The sandbox's uploads: files that wait for a comment to name them."""

import hashlib
from typing import Any

from hub.sandbox import Request, Response, Sandbox, route
from hub_zendesk.sandbox.paging import refusal
from hub_zendesk.sandbox.state import State


class Uploads(Sandbox):
    """Takes a file and gives a token; nothing that anybody sees has changed by then."""

    state: State

    @route("POST", r"/api/v2/uploads(\.json)?")
    def upload(self, request: Request) -> Any:
        name = request.arg("filename")
        if not name:
            return refusal(422, "RecordInvalid", "Record validation errors")
        if not request.body:
            return refusal(422, "AttachmentUnprocessable", "Attachment is empty")
        one = self.state.new_id()
        token = hashlib.blake2b(str(one).encode(), digest_size=16).hexdigest()
        kind = request.headers.get("content-type", "application/octet-stream")
        self.state.uploads[token] = attachment = {
            "id": one, "url": f"https://acme.zendesk.com/api/v2/attachments/{one}.json", "file_name": name,
            "content_url": f"https://acme.zendesk.com/attachments/token/{token}/?name={name}",
            "mapped_content_url": f"https://acme.zendesk.com/attachments/token/{token}/?name={name}",
            "content_type": kind, "size": len(request.body), "width": None, "height": None, "inline": False,
            "deleted": False, "thumbnails": [],
        }  # fmt: skip
        return Response({"upload": {"token": token, "attachment": attachment, "attachments": [attachment]}}, 201)
