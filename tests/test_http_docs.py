"""The page about HTTP and the OpenAPI document say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api import bodies, examples, ops_bodies, rebuild_bodies
from api.app import create_app
from api.keys import SCOPES
from api.problems import CODES, Problem
from api.reference import page
from api.services import Plan
from models.rules import IdentityRules

PAGE = (Path(__file__).parent.parent / "docs" / "http.md").read_text()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    plan = Plan(
        "127.0.0.1:1", "redis://127.0.0.1:1/0", Path("none.json"), IdentityRules(), 1.0, (), "c-1", ""
    )
    return create_app(plan).openapi()


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_the_page_has_every_problem_with_its_status_and_no_other() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", PAGE, re.MULTILINE))
    assert told == {code: str(status) for code, (status, _) in CODES.items()}


def test_every_problem_is_answered_by_some_endpoint(document: dict[str, Any]) -> None:
    described = "".join(
        answer["description"]
        for operation in operations(document).values()
        for answer in operation["responses"].values()
    )
    # These have no endpoint: they are about paths and methods that are none, and what is no request yet.
    assert {code for code in CODES if f"`{code}`" not in described} == {
        "not_found",
        "method_not_allowed",
        "not_http",
        "head_too_large",
        "too_many_connections",
    }


def test_the_page_has_every_scope_and_every_endpoint(document: dict[str, Any]) -> None:
    table = PAGE.partition("| scope | allows |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([a-z:.]+)` \|", table, re.MULTILINE) == [*SCOPES]
    named = PAGE.replace("{id}", "{customer_id}")
    for operation in operations(document):
        path = operation.split()[1]
        assert path in named or path.rpartition("/")[2] in named, operation


def test_every_operation_has_a_summary_a_description_an_example_and_its_problems(
    document: dict[str, Any],
) -> None:
    for name, operation in operations(document).items():
        assert operation["summary"] and operation["description"], name
        for status, answer in operation["responses"].items():
            for content in answer.get("content", {}).values():
                assert "example" in content or "schema" in content, (name, status)
        if "requestBody" in operation:
            assert all("example" in content for content in operation["requestBody"]["content"].values())


def test_examples_are_what_the_models_say() -> None:
    for model, example in (
        (bodies.LookupRequest, examples.LOOKUP_REQUEST),
        (bodies.LookupAnswer, examples.LOOKUP),
        (bodies.ProfileAnswer, examples.PROFILE),
        (bodies.TimelineAnswer, examples.TIMELINE_PAGE),
        (bodies.IdentifiersAnswer, examples.IDENTIFIERS),
        (bodies.ConsentsAnswer, examples.CONSENTS),
        (bodies.MergesAnswer, examples.MERGES),
        (bodies.ExplainAnswer, examples.EXPLAIN),
        (bodies.RevealRequest, examples.REVEAL_REQUEST),
        (bodies.RevealAnswer, examples.REVEAL),
        (bodies.EventsAnswer, examples.EVENTS),
        (bodies.PairRequest, examples.PAIR),
        (bodies.CommandAnswer, examples.COMMAND),
        (ops_bodies.OpsState, examples.OPS_STATE),
        (rebuild_bodies.RebuildState, rebuild_bodies.REBUILD),
        (rebuild_bodies.PromoteRequest, rebuild_bodies.PROMOTE),
        (rebuild_bodies.RollbackRequest, rebuild_bodies.ROLLBACK),
        (rebuild_bodies.PromotedAnswer, rebuild_bodies.PROMOTED),
        (rebuild_bodies.PromotedAnswer, rebuild_bodies.ROLLED_BACK),
    ):
        model.model_validate(example)
    bodies.ProblemDocument.model_validate(Problem("forbidden", "x", scope="ops").document("r"))


def test_the_page_to_read_has_every_operation_and_loads_nothing_from_elsewhere(
    document: dict[str, Any],
) -> None:
    shown = page(document)
    for operation in operations(document):
        method, path = operation.split()
        assert f"<b>{method}</b> <code>{path}</code>" in shown
    assert "<script" not in shown and not re.search(
        r"""(src|href)=["'](?!/openapi.json|/asyncapi.yaml)""", shown
    )
    assert "https://" not in shown


def test_references_of_the_document_lead_somewhere(document: dict[str, Any]) -> None:
    named = set(re.findall(r"#/components/schemas/([\w.-]+)", str(document)))
    assert named <= document["components"]["schemas"].keys()
    assert {"Problem", "Profile", "LookupAnswer"} <= named


def test_serving_imports_neither_faust_nor_the_worker() -> None:
    code = "import sys, api.app, api.server; print(*{'faust', 'mode', 'streams'} & sys.modules.keys())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
