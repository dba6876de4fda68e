"""Who sits in front of a screen: signing in with an API key, and every page's door.

Invariants:
- The cookie holds the key itself, and the server keeps nothing: a key that is revoked opens nothing more,
  whichever server is asked. Scripts cannot read it, no other site can have it sent, it ends with the browser.
- The API does not know the cookie: it is good for pages, a bearer header for /v1.
- What a page changes comes from a page of this server, by `Sec-Fetch-Site` or `Origin`.
- No page shows more than the key may see; what it shows is audited under the agent's number.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, urlsplit

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api.pages.rendering import page
from api.problems import Problem
from api.profiles import ACTOR
from api.routing import BODY_BYTES_MAX, Caller, DirectRoute, caller_with, header_of, media_type_of, read_body

router = APIRouter(route_class=DirectRoute)

COOKIE = "scv_session"
# Between the key and the agent's number; no key holds it.
_BETWEEN = "~"
_ROOMS = ("/agent", "/ops")
_FORM = "application/x-www-form-urlencoded"
_FIELDS_MAX = 60
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,200}")

Handler = Callable[[Request, Caller], Awaitable[Response]]


def page_endpoint(
    router: APIRouter, method: str, path: str, *, scope: str, whole: bool = False
) -> Callable[[Handler], Handler]:
    """Declare an endpoint of a page: for a key of this scope, signed in; a POST only from a page of ours.

    A `whole` page is what a person opens: whoever is not signed in is asked to, and problems are pages too.
    Other endpoints answer to scripts, with problem documents.
    """

    def declare(handler: Handler) -> Handler:
        async def run(request: Request) -> Response:
            try:
                if method != "GET":
                    from_here(request)
                return await handler(request, signed_in(request, scope))
            except Problem as problem:
                if not whole:
                    raise
                return _instead(request, problem)

        run.__doc__ = handler.__doc__
        router.add_api_route(path, run, methods=[method], name=handler.__name__, include_in_schema=False)
        return handler

    return declare


def signed_in(request: Request, scope: str) -> Caller:
    """Who is signed in, allowed to and within the limit. Problem."""
    secret, _, actor = request.cookies.get(COOKIE, "").partition(_BETWEEN)
    caller = caller_with(request, secret, scope, "sign in at /sign-in")
    return caller._replace(actor=actor if ACTOR.fullmatch(actor) else None)


def from_here(request: Request) -> None:
    """Problem `forbidden` unless a page of this server asks."""
    # Browsers write it themselves, and it holds behind proxies that give the request another host.
    if header_of(request, "sec-fetch-site") == "same-origin":
        return
    origin = header_of(request, "origin")
    if origin is None or urlsplit(origin).netloc != header_of(request, "host"):
        raise Problem("forbidden", "this is for the pages of this server; programs use /v1")


async def read_form(request: Request, limit: int = BODY_BYTES_MAX) -> dict[str, str]:
    """The fields of a form, the last one of each name; empty ones are left out. Problem."""
    if media_type_of(request) != _FORM:
        raise Problem("unsupported_media_type", f"send {_FORM}")
    try:
        pairs = parse_qsl((await read_body(request, limit)).decode(), max_num_fields=_FIELDS_MAX)
    except ValueError:
        raise Problem("invalid_request", "the form must be UTF-8, with few fields") from None
    return {name: value.strip() for name, value in pairs if value.strip()}


def _instead(request: Request, problem: Problem) -> Response:
    """What a person gets to see instead of the page."""
    request.scope["scv.code"] = problem.code
    if problem.code == "unauthenticated":
        # Come from another site, a telephony system's perhaps, the browser keeps a strict cookie to itself.
        # Asked for again by a page of ours, it sends it.
        if header_of(request, "sec-fetch-site") == "cross-site":
            return page("arriving.html")
        return RedirectResponse(f"/sign-in?next={request.url.path}", 303)
    return page("problem.html", problem.status, problem=problem, request_id=request.scope["scv.request_id"])


def _room(asked: str) -> str:
    """Where to go on: a room of ours, never another site."""
    return asked if asked in _ROOMS else _ROOMS[0]


@router.get("/sign-in", include_in_schema=False)
async def show_sign_in(request: Request) -> Response:
    """The form."""
    return page("sign_in.html", next=_room(request.query_params.get("next", "")), wrong=None, actor="")


@router.post("/sign-in", include_in_schema=False)
async def sign_in(request: Request) -> Response:
    """Take the key into the cookie, if it is one, and go on."""
    from_here(request)
    form = await read_form(request)
    secret, actor, where = form.get("key", ""), form.get("actor", ""), _room(form.get("next", ""))
    wrong = None
    if actor and not ACTOR.fullmatch(actor):
        wrong = "Your number is made of letters, digits and . _ / : - as in E-7."
    elif not _SECRET.fullmatch(secret):
        wrong = "That is no API key. It begins with scv_; whoever runs scv creates one: scv keys create."
    else:
        try:
            caller_with(request, secret, None, "")
        except Problem as problem:
            if problem.code != "unauthenticated":
                wrong = problem.detail
            else:
                wrong = "This key is not known here, or was revoked. Ask whoever runs scv for another."
    if wrong is not None:
        return page("sign_in.html", 401, next=where, wrong=wrong, actor=actor)
    answer = RedirectResponse(where, 303)
    secure = request.url.scheme == "https" or header_of(request, "x-forwarded-proto") == "https"
    value = f"{secret}{_BETWEEN}{actor}" if actor else secret
    answer.set_cookie(COOKIE, value, httponly=True, samesite="strict", secure=secure, path="/")
    return answer


@router.post("/sign-out", include_in_schema=False)
async def sign_out(request: Request) -> Response:
    """Forget the key."""
    from_here(request)
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer
