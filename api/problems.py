"""What goes wrong over HTTP, as RFC 9457 problem documents.

Invariants:
- Every code is in `CODES`, with its status and title; docs/http.md explains each. Codes never change.
- A problem names a place (JSON pointer or parameter) and says what to do; never a value that may be personal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"

# code: (status, title).
CODES: Mapping[str, tuple[int, str]] = {
    "not_http": (400, "This is no HTTP request"),
    "not_json": (400, "The body is not JSON"),
    "invalid_request": (422, "The request is not as it should be"),
    "invalid_event": (422, "No event was accepted"),
    "unauthenticated": (401, "No valid API key"),
    "forbidden": (403, "The API key lacks a scope"),
    "not_found": (404, "There is nothing here"),
    "unknown_customer": (404, "No customer has this id"),
    "unknown_dead_letter": (404, "There is no such dead letter"),
    "method_not_allowed": (405, "This method is not offered here"),
    "merged": (308, "The customer was merged into another"),
    "split": (409, "The customer's id stands for several by now"),
    "settled": (409, "The dead letter is settled already"),
    "promotion_refused": (409, "Readers go on seeing what they see"),
    "erased": (410, "The customer is gone"),
    "body_too_slow": (408, "The body did not come in time"),
    "body_too_large": (413, "The body is too large"),
    "head_too_large": (431, "The request's head is too large"),
    "unsupported_media_type": (415, "This content type is not read here"),
    "too_many_requests": (429, "Too many requests with this API key"),
    "too_many_streams": (429, "Too many open streams"),
    "too_many_waiting": (429, "Too many reads that wait"),
    "too_many_connections": (503, "Too many connections"),
    "projection_behind": (503, "The view has not caught up in time"),
    "store_unavailable": (503, "The store does not answer"),
    "log_unavailable": (503, "The event log did not acknowledge"),
    "audit_unavailable": (503, "What is read cannot be audited"),
    "keys_unreadable": (503, "The file of API keys cannot be read"),
    "not_ready": (503, "Not ready"),
    "nothing_by_then": (404, "Of that time there is nothing of the customer"),
    "replay_too_large": (422, "The replay takes more records than are read over HTTP"),
    "replay_unfit": (503, "The server has other settings than the view was built with"),
    "replay_busy": (503, "Too many replays at once"),
    "internal": (500, "Unexpected error"),
}

# When trying again makes sense, and the problem itself does not know better.
RETRY_SECONDS = {503: 2}


class Problem(Exception):
    """Ends a request: `code` from `CODES`, `detail` for a person, and members of its own."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        pointer: str | None = None,
        parameter: str | None = None,
        retry_seconds: int | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail
        self.status, self.title = CODES[code]
        self.retry_seconds = RETRY_SECONDS.get(self.status) if retry_seconds is None else retry_seconds
        self.headers = dict(headers or {})
        self.members = {
            **({} if pointer is None else {"pointer": pointer}),
            **({} if parameter is None else {"parameter": parameter}),
            **members,
        }

    def document(self, request_id: str) -> dict[str, Any]:
        """The problem as it is sent."""
        return {
            "type": f"urn:scv:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **self.members,
            "request_id": request_id,
        }

    def response(self, request_id: str) -> Response:
        """The answer."""
        headers = dict(self.headers)
        if self.retry_seconds is not None:
            headers["Retry-After"] = str(self.retry_seconds)
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="scv"'
        body = msgspec.json.encode(self.document(request_id))
        return Response(body, self.status, headers, MEDIA_TYPE)


def invalid(pointer: str, detail: str) -> Problem:
    """A field of the body that is not as it should be."""
    return Problem("invalid_request", detail, pointer=pointer)


def wrong_parameter(name: str, detail: str) -> Problem:
    """A parameter of the query or a header that is not as it should be."""
    return Problem("invalid_request", detail, parameter=name)


def first_fault(errors: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Pointer and sentence of pydantic's first error; its input, which may be personal, stays out."""
    first = errors[0]
    pointer = "".join("/" + str(step).replace("~", "~0").replace("/", "~1")[:80] for step in first["loc"])
    return pointer, str(first["msg"]).removeprefix("Value error, ")
