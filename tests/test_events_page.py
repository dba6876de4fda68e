"""docs/events.md cannot lie: its examples are read, and every type, field, reason and limit stands there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from models import careful
from models.catalogue import EVENT_TYPES, TOPIC_OF_DOMAIN, UPCASTERS, domain_of
from models.dead_letter import Reason
from models.decoding import Event
from models.event import Envelope, EventData
from models.identifiers import BLOCKED_MAILBOXES, BLOCKED_VALUES
from models.marketing import Address
from models.sales import OrderLine
from models.schemas import event_schema_id

PAGE = (Path(__file__).parent.parent / "docs" / "events.md").read_text()
# Fields that only some events state as their own, though any may carry them.
COMMON = set(EventData.model_fields)


def row(wire_type: str) -> str:
    """The table row of a type, in the section of its topic."""
    section = re.search(
        rf"^## {TOPIC_OF_DOMAIN[domain_of(wire_type)]}$(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE
    )
    assert section
    found = [line for line in section[1].splitlines() if line.startswith(f"| `{wire_type}` |")]
    assert len(found) == 1, f"docs/events.md has no row for {wire_type}"
    return found[0]


@pytest.mark.parametrize("wire_type", sorted(EVENT_TYPES))
def test_the_row_of_a_type_names_its_fields_required_ones_first(wire_type: str) -> None:
    kind = EVENT_TYPES[wire_type]
    fields = row(wire_type).split("|")[2]
    required, _, optional = fields.partition("[")
    own = {name: info for name, info in kind.model_fields.items() if name not in COMMON or info.is_required()}
    assert set(re.findall(r"`(\w+)`", required)) == {name for name, info in own.items() if info.is_required()}
    assert set(re.findall(r"`(\w+)`", optional)) == {
        name for name, info in own.items() if not info.is_required()
    }


def test_the_page_names_no_type_that_there_is_not() -> None:
    named = set(re.findall(rf"^\| `((?:{'|'.join(TOPIC_OF_DOMAIN)})\.\w+)` \|", PAGE, re.MULTILINE))
    assert named == set(EVENT_TYPES) | {name for name, _ in UPCASTERS}


@pytest.mark.parametrize("shape", [Envelope, EventData, Address, OrderLine])
def test_every_field_of_envelope_and_inner_shapes_is_named(shape: type[Envelope | EventData]) -> None:
    for name in shape.model_fields:
        assert f"`{name}`" in PAGE


def test_every_reason_every_topic_every_blocked_value_and_every_version_step_is_named() -> None:
    table = PAGE[PAGE.index("| reason | the record |") :]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) and set(
        re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    ) == {str(reason) for reason in Reason}
    for text in (*TOPIC_OF_DOMAIN.values(), *BLOCKED_VALUES - {""}, *BLOCKED_MAILBOXES):
        assert f"`{text}`" in PAGE
    for wire_type, step in UPCASTERS:
        assert f"| `{wire_type}` | {step} → {step + 1} |" in PAGE
    assert event_schema_id("marketing.consent_changed") in PAGE


def test_the_structured_example_is_an_event() -> None:
    example = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert example
    key = json.loads(example[1])["subject"].encode()
    read = careful.read("sales.events", key, example[1].encode(), [], 10**18)
    assert isinstance(read, Event) and read.ignored_fields == 0


def test_the_binary_example_is_an_event() -> None:
    example = re.search(r"```\n(key:.*?)```", PAGE, re.DOTALL)
    assert example
    told = {name: text.strip() for name, _, text in (line.partition(":") for line in example[1].splitlines())}
    key, value = told.pop("key").encode(), told.pop("value").encode()
    headers = [(name, text.encode()) for name, text in told.items()]
    read = careful.read("billing.events", key, value, headers, 10**18)
    assert isinstance(read, Event) and read.ignored_fields == 0
