"""The OpenAPI document: made from the endpoints' declarations and the models.

Invariants:
- Every endpoint that needs a key says which scope; every problem that it may answer is listed with its
  status.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from api import ops_bodies
from api.bodies import ANSWERS, ProblemDocument
from api.keys import SCOPES
from api.letter_bodies import LETTER_ANSWERS
from api.rebuild_bodies import REBUILD_ANSWERS
from models.profile import Profile

REFERENCES = "#/components/schemas/{model}"
# What a profile has, whichever sections were asked for.
HEAD = ("schema_version", "customer_id", "state", "founder")

ABOUT = """One customer, one view. Look somebody up by anything they are known by, read the profile, write
events.

Every request needs `Authorization: Bearer …` with a key of `scv keys create`; errors are RFC 9457 problem
documents with a stable `code`. Without the scope `profile:read.pii` personal data is masked. `as_of` says how
fresh an answer is.

For the audit record a reader may say who asks and why: `X-Actor: E-7`, `X-Purpose: inbound_call`."""


def described(app: FastAPI) -> dict[str, Any]:
    """The document; made once."""
    if app.openapi_schema is None:
        app.openapi_schema = _made(app)
    return app.openapi_schema


def _made(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title="scv", version="1", description=ABOUT, routes=app.routes)
    components = document.setdefault("components", {})
    _, made = models_json_schema(
        [
            (model, "validation")
            for model in (
                *ANSWERS,
                *LETTER_ANSWERS,
                *ops_bodies.ANSWERS,
                *REBUILD_ANSWERS,
                ProblemDocument,
                Profile,
            )
        ],
        ref_template=REFERENCES,
    )
    schemas = {**components.get("schemas", {}), **made["$defs"]}
    schemas["Problem"] = schemas.pop("ProblemDocument")
    # Only some sections may be asked for.
    schemas["Profile"]["required"] = list(HEAD)
    for answer in ("LookupAnswer", "ProfileAnswer"):
        profile = {"$ref": REFERENCES.format(model="Profile")}
        nullable = {"anyOf": [profile, {"type": "null"}]}
        schemas[answer]["properties"]["profile"] = nullable if answer == "LookupAnswer" else profile
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["schemas"] = dict(sorted(schemas.items()))
    scopes = "; ".join(f"`{scope}`: {said}" for scope, said in SCOPES.items())
    components["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": f"A key of `scv keys create`. Scopes: {scopes}.",
        }
    }
    return document
