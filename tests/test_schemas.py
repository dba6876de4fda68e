"""The published schemas say what the models say, and the contract's example satisfies them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models import bounds
from models.catalogue import DOMAIN_TOPICS, EVENT_TYPES, schema_version, topic_of
from models.dead_letter import DeadLetter, Fault, Reason, wire_dead_letter
from models.profile import Profile
from models.record import Record
from models.schemas import dead_letter_schema, event_schema, event_schema_id, files, profile_schema
from ops import schemas as written
from tests.event_strategies import any_events, events
from tests.folding import fold_whole
from tests.histories import history

HERE = Path(__file__).parent
EXAMPLE = json.loads((HERE / "data" / "profile.json").read_text())


def validator(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_files_under_schemas_are_those_of_the_models() -> None:
    assert written.check(HERE.parent / "schemas") == [], "run `python -m ops.schemas`"


def test_the_text_of_a_schema_is_stable() -> None:
    assert list(files()) == sorted(files())
    assert files() == files()


def test_writing_repairs_what_checking_finds(tmp_path: Path) -> None:
    assert len(written.check(tmp_path)) == len(written.files())
    written.write(tmp_path)
    assert written.check(tmp_path) == []
    (tmp_path / "profile.json").write_text("{}")
    (tmp_path / "events" / "sales.quote_sent.1.json").unlink()
    (tmp_path / "events" / "sales.order_dreamt.1.json").write_text("{}")
    found = [
        "events/sales.order_dreamt.1.json: no model makes this schema",
        "events/sales.quote_sent.1.json: missing",
        "profile.json: differs from the models",
    ]
    assert written.check(tmp_path) == found
    assert written.write(tmp_path) == found
    assert written.check(tmp_path) == []


def test_every_event_type_has_a_file_and_an_id_that_name_its_version() -> None:
    paths = set(files())
    for wire_type, kind in EVENT_TYPES.items():
        assert f"events/{wire_type}.{kind.version}.json" in paths
        assert event_schema(wire_type)["$id"] == event_schema_id(wire_type)
        assert event_schema_id(wire_type).endswith(f"/{wire_type}/{kind.version}")
        assert schema_version(event_schema_id(wire_type), -1) == kind.version


@pytest.mark.parametrize("wire_type", sorted(EVENT_TYPES))
def test_valid_events_satisfy_their_schema(wire_type: str) -> None:
    check = validator(event_schema(wire_type))

    @settings(max_examples=8, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(events(wire_type))
    def satisfied(event: dict[str, Any]) -> None:
        check.validate(event)

    satisfied()


@pytest.mark.parametrize(
    "change",
    [{"subject": "4711"}, {"specversion": "0.3"}, {"id": ""}, {"type": "sales.order_dreamt"}, {"data": {}}],
)
def test_an_event_that_is_wrong_does_not_satisfy_its_schema(change: dict[str, Any]) -> None:
    event = {
        "specversion": "1.0", "id": "1", "source": "erp", "type": "sales.quote_sent", "subject": "crm:4711",
        "data": {"quote_id": "Q-1", "amount_minor": 100, "currency": "EUR"},
    }  # fmt: skip
    check = validator(event_schema("sales.quote_sent"))
    check.validate(event)
    assert not check.is_valid({**event, **change})


def test_the_contracts_example_satisfies_the_schema_and_round_trips_with_its_names_in_order() -> None:
    validator(profile_schema()).validate(EXAMPLE)
    again = Profile.model_validate(EXAMPLE).model_dump(mode="json", exclude_unset=True)
    assert json.dumps(again) == json.dumps(EXAMPLE)


def test_the_models_know_no_name_that_the_example_does_not_show() -> None:
    """The example shows every section whole, but for entries that it has none of."""
    unseen = set(_names(Profile.model_json_schema(), "$")) - set(_paths(EXAMPLE, "$"))
    in_empty_lists = (
        "$.sales.opportunities",
        "$.sales.baskets",
        "$.service.complaints",
        "$.service.social.unanswered",
        "$.billing.disputes",
    )
    assert {path for path in unseen if not path.startswith(in_empty_lists)} == set()


def test_every_field_is_always_written_but_the_amount_of_a_timeline_entry() -> None:
    for name, definition in {**profile_schema()["$defs"], "Profile": profile_schema()}.items():
        left_out = set(definition.get("properties", {})) - set(definition.get("required", []))
        assert left_out == ({"amount_minor", "currency"} if name == "TimelineEntry" else set())


def test_every_list_of_the_profile_has_a_bound_and_the_bounds_are_the_documented_ones() -> None:
    bound = dict(_bounds(profile_schema(), profile_schema(), "$"))
    assert None not in bound.values()
    assert bound["$.timeline"] == bounds.TIMELINE_MAX == 100
    fifty = (
        "$.identity.identifiers",
        "$.identity.subjects",
        "$.journey.touchpoints",
        "$.billing.open_invoices",
        "$.consent.permissions",
        "$.traits",
    )
    five = ("$.experience.comments", "$.identity.addresses", "$.sales.baskets", "$.identity.related")
    assert {bound[path] for path in fifty} == {50} and {bound[path] for path in five} == {5}
    inner = {"$.identity.identifiers.sources": bounds.SUBJECTS_MAX, "$.meta.truncated": bounds.LISTS_MAX}
    others = set(bound) - {"$.timeline", *fifty, *five, *inner}
    assert {bound[path] for path in others} == {bounds.LIST_MAX} == {20}
    assert {path: bound[path] for path in inner} == inner
    assert len(bound) <= bounds.LISTS_MAX, "meta.truncated must have room for every list"


@pytest.mark.parametrize(
    "path, wrong",
    [
        (("summary", "display_name"), "x" * 256),
        (("summary", "balance_minor"), 49.9),
        (("identity", "identifiers", 0, "status"), "maybe"),
        (("timeline", 0, "occurred_at"), "2026-03-01T10:42:07+01:00"),
        (("timeline", 1, "amount_minor"), None),
        (("customer_id",), "cus_7Q2M4X9K3BTD5HWU"),
        (("meta", "version"), "7"),
        (("traits",), [{}] * 51),
    ],
)
def test_a_profile_that_breaks_the_contract_is_refused_by_its_schema(
    path: tuple[Any, ...], wrong: Any
) -> None:
    document: Any = json.loads(json.dumps(EXAMPLE))
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = wrong
    assert not validator(profile_schema()).is_valid(document)
    if path != ("timeline", 1, "amount_minor"):
        with pytest.raises(ValidationError):
            Profile.model_validate(document)


@pytest.mark.parametrize("seed", range(5))
def test_every_profile_that_is_assembled_keeps_the_contract(seed: int) -> None:
    documents = fold_whole(history(seed)).documents()
    assert documents
    check = validator(profile_schema())
    for document in documents.values():
        check.validate(document)
        again = Profile.model_validate(document).model_dump(mode="json", exclude_unset=True)
        assert repr(again) == repr(document)


@settings(max_examples=30, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(any_events(), min_size=1, max_size=5), st.sampled_from([0, 1_772_361_728_000]))
def test_events_with_values_at_their_limits_make_a_profile_that_keeps_the_contract(
    told: list[dict[str, Any]], timestamp_ms: int
) -> None:
    lanes: dict[str, list[Record]] = {topic: [] for topic in DOMAIN_TOPICS}
    for event in told:
        if (lane := lanes.get(topic := topic_of(event["type"]))) is not None:
            value = msgspec.json.encode({**event, "subject": "crm:1"})
            lane.append(Record(topic, 0, len(lane), timestamp_ms, b"crm:1", value, []))
    for document in fold_whole([lane for lane in lanes.values() if lane]).documents().values():
        again = Profile.model_validate(document).model_dump(mode="json", exclude_unset=True)
        assert repr(again) == repr(document)


def test_a_dead_letter_satisfies_its_schema() -> None:
    check = validator(dead_letter_schema())
    for key, value, headers in [(None, None, ()), (b"\xff", b"{", (("ce_id", b"\x00"), ("empty", None)))]:
        letter = DeadLetter(
            Fault(Reason.NO_KEY, "", "no key"), "sales.events", 5, 1042, 1772361728000, key, value, headers
        )
        wire = msgspec.json.decode(wire_dead_letter(letter, "2026-03-01T10:42:08Z"))
        check.validate(wire)
        assert value is None or base64.b64decode(wire["data"]["value_base64"]) == value


def test_every_reason_is_in_the_schema() -> None:
    assert dead_letter_schema()["$defs"]["Reason"]["enum"] == [reason.value for reason in Reason]


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> list[dict[str, Any]]:
    """The schema itself, or what it refers to; each member of `anyOf`."""
    if "$ref" in schema:
        return _resolved(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    return (
        [one for member in schema["anyOf"] for one in _resolved(member, root)]
        if "anyOf" in schema
        else [schema]
    )


def _names(root: dict[str, Any], path: str, schema: dict[str, Any] | None = None) -> Iterator[str]:
    for one in _resolved(schema or root, root):
        if "items" in one:
            yield from _names(root, path, one["items"])
        for name, inner in one.get("properties", {}).items():
            yield f"{path}.{name}"
            yield from _names(root, f"{path}.{name}", inner)


def _paths(document: Any, path: str) -> Iterator[str]:
    if isinstance(document, list):
        for item in document:
            yield from _paths(item, path)
    if isinstance(document, dict):
        for name, inner in document.items():
            yield f"{path}.{name}"
            yield from _paths(inner, f"{path}.{name}")


def _bounds(schema: dict[str, Any], root: dict[str, Any], path: str) -> Iterator[tuple[str, int | None]]:
    for one in _resolved(schema, root):
        if one.get("type") == "array":
            yield path, one.get("maxItems")
            yield from _bounds(one["items"], root, path)
        for name, inner in one.get("properties", {}).items():
            yield from _bounds(inner, root, f"{path}.{name}")
