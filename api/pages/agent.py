"""/agent: who is calling, what it is probably about, and what to write down afterwards."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.pages.rendering import page
from api.pages.session import page_endpoint
from api.routing import Caller, DirectRoute

router = APIRouter(route_class=DirectRoute)


@page_endpoint(router, "GET", "/agent", scope="profile:read", whole=True)
async def agent_page(request: Request, caller: Caller) -> Response:
    """The page, with nobody on it yet."""
    return page("agent.html", caller=caller)
