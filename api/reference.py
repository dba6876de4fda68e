"""/docs: the OpenAPI document as a page to read; /asyncapi.yaml: the topics that others subscribe to.

Invariants:
- One page, no script, nothing loaded from elsewhere: it works without a network, and tells nobody of it.
- Everything on it comes out of the document; there is nothing to keep up with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import HTMLResponse, Response

from models.asyncapi import document_text

router = APIRouter()

# What the page may load and do: its own style, and nothing else.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
pre, code { font: 13px/1.5 ui-monospace, monospace; }
pre { background: var(--soft); padding: .75rem; overflow-x: auto; border-radius: 6px; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: .5rem .75rem; }
summary { cursor: pointer; }
summary b { display: inline-block; min-width: 3.5rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; }
td, th { padding: .3rem .6rem .3rem 0; border-top: 1px solid var(--line); }
"""


@router.get("/docs", include_in_schema=False)
async def reference(request: Request) -> HTMLResponse:
    """The page."""
    app: FastAPI = request.app
    return HTMLResponse(page(app.openapi()), headers={"Content-Security-Policy": POLICY})


@router.get("/asyncapi.yaml", include_in_schema=False)
async def topics() -> Response:
    """The AsyncAPI document."""
    return Response(document_text(), media_type="application/yaml")


def page(document: Mapping[str, Any]) -> str:
    """The whole page."""
    about = "".join(f"<p>{_words(part)}</p>" for part in document["info"]["description"].split("\n\n"))
    operations = "".join(
        _operation(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>scv over HTTP</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>scv over HTTP</h1>{about}"
        '<p>For programs: <a href="/openapi.json">openapi.json</a>, OpenAPI 3.1; '
        '<a href="/asyncapi.yaml">asyncapi.yaml</a>, AsyncAPI 3, of what is published to Kafka.</p>'
        f"{operations}</main></body></html>"
    )


def _words(text: str) -> str:
    """Text with what stands between back-ticks as code."""
    pieces = escape(" ".join(text.split())).split("`")
    return "".join(f"<code>{piece}</code>" if at % 2 else piece for at, piece in enumerate(pieces))


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    scope = operation.get("x-scope")
    needs = f"Scope <code>{escape(scope)}</code>." if scope else "Open to all."
    told = "".join(f"<p>{_words(part)}</p>" for part in operation.get("description", "").split("\n\n"))
    return (
        f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code> — "
        f"{_words(operation['summary'])}</summary>{told}<p>{needs}</p>"
        f"{_parameters(operation)}{''.join(_bodies(operation))}{_answers(operation)}</details>"
    )


def _parameters(operation: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(one['name'])}</code></td><td>{escape(one['in'])}</td>"
        f"<td>{_words(one.get('description', ''))}</td></tr>"
        for one in operation.get("parameters", ())
    )
    return f"<table><tr><th>Parameter</th><th>in</th><th></th></tr>{rows}</table>" if rows else ""


def _bodies(operation: Mapping[str, Any]) -> Iterator[str]:
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body, <code>{escape(media_type)}</code>:</p>{_example(content)}"


def _answers(operation: Mapping[str, Any]) -> str:
    rows = []
    for status, answer in sorted(operation["responses"].items(), key=lambda one: str(one[0])):
        shown = "".join(map(_example, answer.get("content", {}).values())) if str(status) < "300" else ""
        rows.append(f"<tr><td>{escape(str(status))}</td><td>{_words(answer['description'])}{shown}</td></tr>")
    return f"<table><tr><th>Answer</th><th></th></tr>{''.join(rows)}</table>"


def _example(content: Mapping[str, Any]) -> str:
    example = content.get("example")
    if example is None:
        return ""
    text = example if isinstance(example, str) else json.dumps(example, indent=1, ensure_ascii=False)
    return f"<pre>{escape(text)}</pre>"
