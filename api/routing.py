"""How an endpoint is declared: its scope, what it reads and answers, which problems it knows.

Invariants:
- Every endpoint under /v1 has a scope; a request is authenticated, then limited, before anything of it is
  read.
- The OpenAPI document says what the code does: both are made from the one declaration.
- A body is read up to the endpoint's limit and not further.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
import pydantic
from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.keys import ApiKey, KeysUnreadable
from api.problems import CODES, MEDIA_TYPE, Problem, first_fault, invalid
from api.services import Services
from models.event import Shape

# A look-up of 20 names is 2 kB.
BODY_BYTES_MAX = 64 * 1024
# The slowest line carries that much in this time; a client that only holds a connection is let go.
BODY_SECONDS = 10.0
# What everybody under /v1 may meet.
ALWAYS = (
    "unauthenticated",
    "forbidden",
    "too_many_requests",
    "keys_unreadable",
    "store_unavailable",
    "not_ready",
    "internal",
)
PROBLEM_SCHEMA = "#/components/schemas/Problem"

Model = TypeVar("Model", bound=Shape)


class Caller(NamedTuple):
    """Who asks: the key, the request; `actor` whoever sits in front of a page, by number."""

    key: ApiKey
    services: Services
    request_id: str
    actor: str | None = None

    @property
    def personal(self) -> bool:
        """Whether personal data is shown as it is."""
        return self.key.allows("profile:read.pii")

    def require(self, scope: str) -> None:
        """Problem `forbidden` without this scope."""
        if not self.key.allows(scope):
            raise Problem("forbidden", f"this needs a key with the scope {scope}", scope=scope)


Handler = Callable[[Request, Caller], Awaitable[Response]]


class DirectRoute(APIRoute):
    """A route whose handler takes the request and gives the response.

    Nothing of it is injected, validated or serialised by the framework, so nothing of that is paid for.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.app = self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler itself."""
        return self.endpoint


class Answers(NamedTuple):
    """What an endpoint answers when it works: status, a sentence, a model or schema, an example."""

    status: int
    description: str
    schema: Mapping[str, Any] | type[pydantic.BaseModel]
    example: Any
    media_type: str = "application/json"
    headers: Mapping[str, str] = {}


class Takes(NamedTuple):
    """What an endpoint reads: models by content type, with an example of each."""

    content: Mapping[str, tuple[Mapping[str, Any], Any]]


def header_of(request: Request, name: str) -> str | None:
    """A header of the request, by its name in lower case; None without it. They are made a table once."""
    table = request.scope.get("scv.headers")
    if table is None:
        table = request.scope["scv.headers"] = dict(request.scope["headers"])
    found = table.get(name.encode())
    return None if found is None else found.decode("latin-1")


def caller_of(request: Request, scope: str) -> Caller:
    """Who asks, allowed to and within the limit. Problem."""
    kind, _, secret = (header_of(request, "authorization") or "").partition(" ")
    return caller_with(
        request,
        secret.strip() if kind.lower() == "bearer" else "",
        scope,
        "send `Authorization: Bearer …` with a key of `scv keys create`",
    )


def caller_with(request: Request, secret: str, scope: str | None, how: str) -> Caller:
    """Who asks with this key, allowed to and within the limit. Problem; `how` says how to send a key."""
    services: Services = request.app.state.services
    try:
        key = services.keys.find(secret) if secret else None
    except KeysUnreadable:
        raise Problem("keys_unreadable", "the server's file of API keys must be mended") from None
    if key is None:
        raise Problem("unauthenticated", how)
    request.scope["scv.key"] = key.id
    services.requests.take(key.id)
    caller = Caller(key, services, request.scope["scv.request_id"])
    if scope is not None:
        caller.require(scope)
    return caller


def endpoint(
    router: APIRouter,
    method: str,
    path: str,
    *,
    scope: str,
    summary: str,
    answers: Sequence[Answers],
    problems: Sequence[str] = (),
    takes: Takes | None = None,
    parameters: Sequence[Mapping[str, Any]] = (),
    tag: str,
    name: str | None = None,
) -> Callable[[Handler], Handler]:
    """Declare an endpoint; its docstring is the description in the OpenAPI document."""

    def declare(handler: Handler) -> Handler:
        async def run(request: Request) -> Response:
            return await handler(request, caller_of(request, scope))

        run.__doc__ = handler.__doc__
        router.add_api_route(
            path,
            run,
            methods=[method],
            name=name or handler.__name__,
            operation_id=name or handler.__name__,
            summary=summary,
            tags=[tag],
            response_model=None,
            status_code=answers[0].status,
            responses=_responses(answers, (*ALWAYS, *problems)),
            openapi_extra={
                "security": [{"key": []}],
                "x-scope": scope,
                **({"parameters": list(parameters)} if parameters else {}),
                **({} if takes is None else {"requestBody": _body(takes)}),
            },
        )
        return handler

    return declare


def _body(takes: Takes) -> dict[str, Any]:
    content = {
        media_type: {"schema": schema, "example": example}
        for media_type, (schema, example) in takes.content.items()
    }
    return {"required": True, "content": content}


def _responses(answers: Sequence[Answers], problems: Sequence[str]) -> dict[int | str, dict[str, Any]]:
    found: dict[int | str, dict[str, Any]] = {}
    for one in answers:
        schema = one.schema if isinstance(one.schema, Mapping) else {"$ref": _reference(one.schema)}
        found[one.status] = {"description": one.description}
        if one.schema:
            found[one.status]["content"] = {one.media_type: {"schema": schema, "example": one.example}}
        if one.headers:
            found[one.status]["headers"] = {
                name: {"description": said, "schema": {"type": "string"}}
                for name, said in one.headers.items()
            }
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(problems):
        by_status.setdefault(CODES[code][0], []).append(code)
    for status, codes in by_status.items():
        described = "; ".join(f"`{code}`: {CODES[code][1]}" for code in codes)
        example = Problem(codes[0], "What happened here, and what to do.").document("8f14e45f")
        found[status] = {
            "description": described,
            "content": {MEDIA_TYPE: {"schema": {"$ref": PROBLEM_SCHEMA}, "example": example}},
        }
    return found


def _reference(model: type[pydantic.BaseModel]) -> str:
    return f"#/components/schemas/{model.__name__}"


async def read_body(request: Request, limit: int = BODY_BYTES_MAX) -> bytes:
    """The body, at most `limit` bytes. Problem `body_too_large`, `body_too_slow`."""
    stated = header_of(request, "content-length") or "0"
    if stated.isascii() and stated.isdecimal() and int(stated) > limit:
        raise _too_large(limit)
    body, more = bytearray(), True
    try:
        with request.app.state.services.deadlines.within(BODY_SECONDS):
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise Problem("not_json", "the body ended too early")
                body += message.get("body", b"")
                if len(body) > limit:
                    raise _too_large(limit)
                more = message.get("more_body", False)
    except TimeoutError:
        raise Problem(
            "body_too_slow", f"send it within {BODY_SECONDS:g} s", headers={"Connection": "close"}
        ) from None
    return bytes(body)


def _too_large(limit: int) -> Problem:
    return Problem("body_too_large", f"at most {limit} bytes are read here", headers={"Connection": "close"})


def media_type_of(request: Request) -> str:
    """The content type, without its parameters."""
    return (header_of(request, "content-type") or "").partition(";")[0].strip().lower()


async def read_model(request: Request, model: type[Model], limit: int = BODY_BYTES_MAX) -> Model:
    """The body as this model. Problem."""
    if media_type_of(request) not in ("application/json", ""):
        raise Problem("unsupported_media_type", "send application/json")
    body = await read_body(request, limit)
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem("not_json", "the body must be JSON, in UTF-8") from None
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise invalid(*first_fault(found)) from None
