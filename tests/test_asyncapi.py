"""The AsyncAPI document is valid, names every topic that others use, and is right about their records."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from eventlog.topics import CHANGES, link_log, topic_plan
from models.asyncapi import document, document_text
from models.catalogue import EVENT_TYPES
from models.profile import Profile
from models.schemas import snapshot_schema
from projections.snapshot import PublishedVersion, Snapshot, wire_snapshot

HERE = Path(__file__).parent
OFFICIAL = json.loads(gzip.decompress((HERE / "data" / "asyncapi-3.0.0.json.gz").read_bytes()))
# Between processes of scv; nobody else reads or writes them.
INTERNAL = {CHANGES, link_log("g1")}


def test_the_document_is_what_asyncapi_says_one_is() -> None:
    check = jsonschema.Draft7Validator(OFFICIAL)
    check.validate(document())
    broken = copy.deepcopy(document())
    broken["operations"]["send.customer.profiles"]["action"] = "shout"
    assert not check.is_valid(broken)


def test_the_file_reads_as_the_document_in_any_parser() -> None:
    assert yaml.load(document_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) == document()


def test_every_topic_that_others_use_is_a_channel() -> None:
    public = {topic.name for topic in topic_plan()} - INTERNAL
    channels = document()["channels"]
    assert set(channels) == public
    events = {name for channel in channels.values() for name in channel["messages"]}
    assert set(EVENT_TYPES) < events


def test_all_that_is_referred_to_is_in_the_document() -> None:
    whole = document()
    found = 0

    def walk(value: Any) -> None:
        nonlocal found
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                there: Any = whole
                for step in value["$ref"].removeprefix("#/").split("/"):
                    there = there[step]
                found += 1
            value = list(value.values())
        if isinstance(value, list):
            for one in value:
                walk(one)

    walk(whole)
    assert found > 2 * len(EVENT_TYPES)


def test_the_profile_of_the_document_is_the_contract() -> None:
    schemas = document()["components"]["schemas"]
    assert set(schemas["Profile"]["properties"]) == set(Profile.model_fields)


def snapshot(**more: Any) -> Snapshot:
    """The contract's example as a snapshot."""
    example = json.loads((HERE / "data" / "profile.json").read_text())
    names = ("schema_version", "customer_id", "state", "founder")
    sections = {name: json.dumps(value).encode() for name, value in example.items() if name not in names}
    version = PublishedVersion(1, 18231, 42)
    made = Snapshot(
        example["customer_id"], version, "live", example["founder"], sections, ("sales", "meta"), "events"
    )
    return made._replace(**more)


def test_the_contracts_example_makes_a_record_that_satisfies_its_schema() -> None:
    value, headers = wire_snapshot(snapshot())
    assert headers == [("content-type", b"application/cloudevents+json")]
    event = json.loads(value or b"")
    jsonschema.Draft202012Validator(snapshot_schema()).validate(event)
    assert event["data"] == json.loads((HERE / "data" / "profile.json").read_text())
    assert (event["id"], event["version"]) == (
        json.loads(wire_snapshot(snapshot())[0] or b"")["id"],
        "1.18231.42",
    )


@pytest.mark.parametrize("name", ["data", "dataref"])
def test_a_profile_that_is_too_large_for_kafka_is_named_instead_of_carried(name: str) -> None:
    traits = json.dumps([{"key": "x" * 899_000}] if name == "dataref" else []).encode()
    value, _ = wire_snapshot(snapshot(sections={**snapshot().sections, "traits": traits}))
    assert value is not None and len(value) < 1_000_000
    event = json.loads(value)
    assert {"data", "dataref"} & event.keys() == {name}
    jsonschema.Draft202012Validator(snapshot_schema()).validate(event)
    if name == "dataref":
        assert event["dataref"] == f"/v1/profiles/{event['subject']}"
