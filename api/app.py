"""The HTTP API as an ASGI application.

Invariants:
- Whatever goes wrong leaves as a problem document with a request id; a stack trace never does.
- Logs name routes, statuses, keys and request ids: no path, query, body or header of a request.
- Nothing connects when this is imported or an application is made; it does when it starts.
- Endpoints whose path has no parameter are asked ahead of the framework's layers, and answer as through
  them: those layers took a sixth of a look-up's time.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import getrandbits

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from api import explaining, health, letters, ops_state, profiles, rebuild, reference, streaming, writing
from api.document import described
from api.pages import agent, ops, session, statics
from api.pages import generations as generations_page
from api.pages import letters as letters_page
from api.problems import CODES, Problem
from api.routing import DirectRoute
from api.services import Plan, Services
from eventlog.errors import LogError
from stores.store import StoreAway

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

# For an answer that the end of the server does not wait for, to a client that may read nothing.
LAST_WORD_SECONDS = 1.0

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_log = logging.getLogger("scv.http")

# What becomes of an error that endpoints raise.
Handler = Callable[[Request, Exception], Awaitable[Response]]


def create_app(plan: Plan) -> FastAPI:
    """The application, to be served by any ASGI server; it opens its services when that starts it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = Services(plan)
        await services.open()
        app.state.services = services
        try:
            yield
        finally:
            await services.close()

    app = _Api(
        title="scv",
        version="1",
        lifespan=lifespan,
        redirect_slashes=False,
        # It would tell paths and queries to whatever an installation has for OpenTelemetry.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        # Those of the framework load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    # The routes themselves: an included router would be gone through again with each request.
    rooms = (
        profiles, explaining, writing, letters, streaming, ops_state, rebuild, health, reference,
        session, statics, agent, ops, letters_page, generations_page,
    )  # fmt: skip
    for room in rooms:
        app.router.routes.extend(room.router.routes)
    app.router.routes.extend(health.operator_router.routes)
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.openapi = lambda: described(app)  # type: ignore[method-assign]
    app.know_direct()
    return app


async def _problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    request.scope["scv.code"] = problem.code
    return problem.response(request.scope["scv.request_id"])


async def _http_exception(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "invalid_request")
    allowed = getattr(error, "headers", None) or {}
    detail = "see /docs for what is offered" if code in ("not_found", "method_not_allowed") else "see /docs"
    return await _problem(request, Problem(code, detail, headers=allowed))


async def _validation(request: Request, _: Exception) -> Response:
    return await _problem(request, Problem("invalid_request", "see /docs"))


async def _store_away(request: Request, _: Exception) -> Response:
    return await _problem(
        request, Problem("store_unavailable", "the profile store does not answer; try again soon")
    )


async def _log_away(request: Request, _: Exception) -> Response:
    return await _problem(
        request, Problem("log_unavailable", "the event log does not answer; try again soon")
    )


async def _unexpected(request: Request, error: Exception) -> Response:
    request_id = request.scope["scv.request_id"]
    _log.error("unexpected %s at %s, request %s", type(error).__name__, _place(error), request_id)
    return await _problem(request, Problem("internal", "report this with the request_id"))


_HANDLERS: dict[type[Exception], Handler] = {
    Exception: _unexpected,
    Problem: _problem,
    HTTPException: _http_exception,
    RequestValidationError: _validation,
    StoreAway: _store_away,
    LogError: _log_away,
}


class _Api(FastAPI):
    """Around every request: its id, its line in the log, and an answer for what nobody expected."""

    def know_direct(self) -> None:
        """Look for the routes that can be asked directly, once all are there."""
        self._direct = {
            (method, route.path): route
            for route in self.router.routes
            if isinstance(route, DirectRoute) and "{" not in route.path
            for method in route.methods
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or tell services to start and to end."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        text = given.decode("ascii", "replace")
        request_id = text if REQUEST_ID.fullmatch(text) else f"{getrandbits(128):032x}"
        scope["scv.request_id"] = request_id
        began, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.setdefault("headers", [])
                headers.append((b"x-request-id", request_id.encode()))
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
            await send(message)

        route = self._direct.get((scope["method"], scope["path"]))
        try:
            if route is None:
                await super().__call__(scope, receive, sending)
            else:
                scope["app"], scope["route"], scope["path_params"] = self, route, {}
                await route.app(scope, receive, sending)
        except asyncio.CancelledError:
            # The server ends, and waits no longer: uvicorn would answer with a text, and log a stack trace.
            if status == 0:
                ending = Problem("not_ready", "the server ends; ask another one, or again in a moment")
                response = await _problem(Request(scope, receive), ending)
                with suppress(TimeoutError, asyncio.CancelledError):
                    async with asyncio.timeout(LAST_WORD_SECONDS):
                        await response(scope, receive, sending)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a problem document
            # The framework's layers have answered what nobody expected, and raise it all the same.
            if scope.get("scv.code") != "internal":
                handler = next(_HANDLERS[kind] for kind in type(error).__mro__ if kind in _HANDLERS)
                response = await handler(Request(scope, receive), error)
                if status == 0:
                    await response(scope, receive, sending)
        finally:
            self._note(scope, status, request_id, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, request_id: str, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path_format", "-")
        code = scope.get("scv.code", "-")
        assert code == "-" or code in CODES
        services: Services = self.state.services
        services.metrics.note(method, route, status, code, seconds)
        _log.info(
            "%s %s %d %s %.1f ms key %s request %s",
            method, route, status, code, seconds * 1_000, scope.get("scv.key", "-"), request_id,
        )  # fmt: skip


def _place(error: BaseException) -> str:
    """Where it was raised: a file's name and a line. The text of an error may hold what a customer wrote."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "-"
