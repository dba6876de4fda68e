"""/static: style sheets, scripts and fonts, out of the package.

Invariants:
- Only files that are there when the process starts are served: a path chooses among names, it opens nothing.
- An address holds the content's hash: what is cached under it never changes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.problems import Problem
from api.routing import DirectRoute, header_of

router = APIRouter(route_class=DirectRoute)

FOLDER = Path(__file__).resolve().parent.parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
_FOREVER = "public, max-age=31536000, immutable"
# An address without its hash, as style sheets name fonts: the tag tells whether it is another file by now.
_ASK_AGAIN = "public, max-age=3600"


class _File(NamedTuple):
    content: bytes
    media_type: str
    tag: str


def _read() -> dict[str, _File]:
    files = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            tag = hashlib.blake2b(content, digest_size=8).hexdigest()
            files[path.relative_to(FOLDER).as_posix()] = _File(content, _TYPES[path.suffix], tag)
    return files


_FILES = _read()


def static(name: str) -> str:
    """The address of a file, for templates: `static("scv.css")`. KeyError for a file that is not there."""
    return f"/static/{name}?v={_FILES[name].tag}"


@router.get("/static/{name:path}", include_in_schema=False)
async def static_file(request: Request) -> Response:
    """The file."""
    found = _FILES.get(request.path_params["name"])
    if found is None:
        raise Problem("not_found", "see /docs for what is offered")
    known = request.query_params.get("v") == found.tag
    headers = {
        "ETag": f'"{found.tag}"',
        "Cache-Control": _FOREVER if known else _ASK_AGAIN,
        "X-Content-Type-Options": "nosniff",
    }
    if header_of(request, "if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)
