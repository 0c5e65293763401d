"""Writes under an idempotency key, as Stripe keeps them: the first answer comes again."""

import hashlib
from collections.abc import Callable

from hub.sandbox import Request, Response, Sandbox
from hub_stripe.sandbox.state import Refusal

# Refusals of these codes come from validation, before anything ran: they are not kept for the key
# (https://docs.stripe.com/api/idempotent_requests).
_UNKEPT = frozenset(("parameter_unknown", "parameter_invalid_integer", "parameter_missing", "resource_missing"))


class Keyed(Sandbox):
    """Remembers what was answered to a key; `keys` holds the print of the parameters and the answer."""

    keys: dict[str, tuple[str, Response]]

    def _once(self, request: Request, run: Callable[[], Response]) -> Response:
        """Run a write once per idempotency key; the first answer comes again, other parameters are refused."""
        key = request.headers.get("idempotency-key")
        if key is None or self.faulty("ignore_keys", request):
            return self._try(run)
        known = self.keys.get(key)
        if known is None:
            response = self._try(run)
            if response.status not in (401, 429) and _code(response) not in _UNKEPT:
                self.keys[key] = (print_of(request), response)
            return response
        print_, response = known
        if print_ != print_of(request):
            words = "Keys for idempotent requests can only be used with the same parameters they were first used with."
            return Response({"error": {"message": words, "type": "idempotency_error"}}, 400)
        return Response(response.body, response.status, {**response.headers, "Idempotent-Replayed": "true"})

    def _try(self, run: Callable[[], Response]) -> Response:
        try:
            return run()
        except Refusal as refusal:
            return Response({"error": refusal.error}, refusal.status)


def print_of(request: Request) -> str:
    return hashlib.sha256(f"{request.method} {request.path} {sorted(request.form().items())}".encode()).hexdigest()


def _code(response: Response) -> str:
    body = response.body if isinstance(response.body, dict) else {}
    error = body.get("error")
    return str(error.get("code", "")) if isinstance(error, dict) else ""
