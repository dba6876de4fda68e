"""Templates, and the headers that every page of HTML leaves with.

Invariants:
- What a template is given is text unless the template itself says otherwise: everything is escaped.
- A name that a template was not given is an error, not an empty place.
- The policy allows what this server serves, and nothing inline; no page can be put into a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from api.pages.statics import static
from models.moments import due, moment
from models.money import money_text
from models.titles import words

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # An address holds a customer's id.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

templates = Environment(
    loader=FileSystemLoader(Path(__file__).resolve().parent.parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.globals["static"] = static
templates.filters.update(moment=moment, due=due, words=words)
templates.globals["money"] = money_text


def page(
    template: str, status: int = 200, headers: Mapping[str, str] | None = None, **given: Any
) -> HTMLResponse:
    """A template as an answer: a whole page, or the piece of one that a script asked for."""
    text = templates.get_template(template).render(**given)
    return HTMLResponse(text, status, {**_HEADERS, **(headers or {})})
