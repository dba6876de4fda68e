"""Masking: every text of a profile is masked or known to be harmless, whatever a source wrote there."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api import masking
from api.masking import mask_email, mask_given_name, mask_name, mask_phone, mask_subject, masked, scrubbed
from api.merges import shown_turn
from models.profile import Profile

EXAMPLE = json.loads((Path(__file__).parent.parent / "schemas" / "profile.json").read_text())

# What a reader without `profile:read.pii` sees as it is: codes, ids, instants, words of a closed list.
SHOWN = re.compile(
    r"schema_version|customer_id|state"
    r"|summary/(tier|locale|zoneinfo|preferred_channel|contact_reason|contact_reason_text|top_alert"
    r"|last_contact_at|last_contact_channel|last_employee_id|balance_currency|lifetime_value_currency)"
    r"|identity/(provenance/\w+/(source|event_id|occurred_at|rule)|addresses/(use|country)"
    r"|subjects/(first|last)_seen_at|identifiers/(type|status|verified_at|first_seen_at)"
    r"|related/(customer_id|relation|via))"
    r"|consent/(permissions/\w+|preferences/contact_channel|stated_values/event_id)"
    r"|marketing/.*|sales/.*|billing/.*|journey/.*|value/.*|signals/.*|meta/.*"
    r"|service/(last_contact|cases|complaints|social/unanswered)/\w+"
    r"|service/promises/open/(promise_id|due_at|status)"
    r"|experience/((nps|csat|ces)/\w+|comments/(kind|occurred_at|event_id)|follow_ups/open/\w+)"
    r"|traits/(key|source|occurred_at)|timeline/(event_id|type|occurred_at|channel|currency)"
)
# What is masked by its form, whichever words stand in it.
BY_FORM = {
    "founder": "phone:needle12345",
    "identity/subjects/subject": "phone:needle12345",
    "identity/identifiers/sources": "phone:needle12345",
    "timeline/subject": "phone:needle12345",
    "timeline/title": "Promised: needle",
}


def leaves(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Every place of a profile where a text may stand, as a path of names."""
    if "$ref" in schema:
        schema = EXAMPLE["$defs"][schema["$ref"].rpartition("/")[2]]
    for kind in schema.get("anyOf", ()):
        yield from leaves(kind, path)
    if schema.get("type") == "string" or "enum" in schema or "const" in schema:
        yield path
    if schema.get("type") == "array":
        yield from leaves(schema["items"], path)
    for name, inner in schema.get("properties", {}).items():
        yield from leaves(inner, f"{path}/{name}" if path else name)
    if isinstance(inner := schema.get("additionalProperties"), dict):
        yield from leaves(inner, f"{path}/any")


def filled(schema: dict[str, Any], path: str, words: str, at: str = "") -> Any:
    """A profile, or a part of one, in which these words stand at one place, and nothing of note elsewhere."""
    if "$ref" in schema:
        schema = EXAMPLE["$defs"][schema["$ref"].rpartition("/")[2]]
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    if kinds:
        texts = [kind for kind in kinds if at == path and "string" in str(kind)] or kinds
        return filled(texts[0], path, words, at)
    if schema.get("type") == "array":
        return [filled(schema["items"], path, words, at)]
    if "properties" in schema:
        named = {name: f"{at}/{name}" if at else name for name in schema["properties"]}
        return {name: filled(schema["properties"][name], path, words, where) for name, where in named.items()}
    if isinstance(inner := schema.get("additionalProperties"), dict):
        return {"any": filled(inner, path, words, f"{at}/any")}
    if at == path:
        return words
    if at == "timeline/type":
        return "service.promise_made"
    return {"string": "x:y", "integer": 1, "number": 0.5, "boolean": True}.get(schema.get("type", ""), "x:y")


def shown(document: dict[str, Any]) -> str:
    """The whole profile as a masked reader gets it."""
    pieces = {
        name: json.loads(masked(name, msgspec.json.encode(section)))
        for name, section in document.items()
        if isinstance(section, (dict, list))
    }
    return json.dumps({**pieces, "founder": mask_subject(document["founder"])}, ensure_ascii=False)


def test_the_walk_sees_a_whole_profile() -> None:
    paths = set(leaves(EXAMPLE))
    assert len(paths) > 120
    assert {"summary/display_name", "identity/identifiers/sources", "traits/value", "timeline/title"} <= paths
    document = filled(EXAMPLE, "identity/addresses/locality", "needle")
    assert document.keys() == Profile.model_fields.keys() and "needle" in json.dumps(document)


@pytest.mark.parametrize("path", sorted(set(leaves(EXAMPLE))))
def test_every_text_of_a_profile_is_masked_or_known_to_be_harmless(path: str) -> None:
    words = BY_FORM.get(path, "needle")
    document = filled(EXAMPLE, path, words)
    assert words in json.dumps(document, ensure_ascii=False), "the needle is in the profile"
    if SHOWN.fullmatch(path):
        return
    assert "needle" not in shown(document), path


@pytest.mark.parametrize("path", sorted(set(leaves(EXAMPLE))))
def test_addresses_and_numbers_are_masked_wherever_a_source_wrote_them(path: str) -> None:
    for words, needle in (("ask needle@example.com, please", "needle"), ("call +49 30 901820", "901820")):
        document = filled(EXAMPLE, path, words)
        if path.split("/", maxsplit=1)[0] in ("schema_version", "customer_id", "state", "founder"):
            continue
        assert needle not in shown(document), path


WORDS = (
    "needle", "email:ada", "phone:12345678", "web:v@x.y", "web:v%40x", "sms:+49 30 901820", "see /a?b=c",
    "Promised: a", 'a"text":b\\', None,
)  # fmt: skip


@pytest.mark.parametrize("section", masking.SIGNS)
def test_what_is_not_read_has_nothing_that_reading_would_have_masked(section: str) -> None:
    bare = filled(EXAMPLE, "nowhere", "")[section]
    paths = sorted({path for path in leaves(EXAMPLE) if path.partition("/")[0] == section})
    for path, words in itertools.product(paths, WORDS):
        value = filled(EXAMPLE, path, words)[section]
        if section == "timeline":
            types = [*masking._TITLE_CUTS, "other"] if words is not None else []
            values = [[*bare, value[0] | {"type": wire_type}, *bare] for wire_type in types]
        else:
            values = [[*bare, *value] if isinstance(value, list) else value]
        if isinstance(value, dict):
            values += [value | {name: []} for name in value if isinstance(value[name], list)]
        for stored in map(msgspec.json.encode, values):
            plainly = scrubbed(masking._masked(masking._STEPS[section], stored))
            assert masked(section, stored) == plainly, (path, words)


def test_a_masked_profile_is_a_profile_still() -> None:
    whole = json.loads((Path(__file__).parent / "data" / "profile.json").read_text())
    Profile.model_validate(whole)
    again = {
        name: json.loads(masked(name, msgspec.json.encode(section)))
        if isinstance(section, (dict, list))
        else section
        for name, section in whole.items()
    }
    Profile.model_validate(again)
    for name, section in again.items():
        if isinstance(section, list):
            assert len(section) == len(whole[name])
    for word in (
        "Ada",
        "Byron",
        "1985",
        "901820",
        "ada@",
        "Linden",
        "10117",
        'Berlin"',
        "climate",
        "Call back",
        "Paid",
    ):
        assert word not in json.dumps(again, ensure_ascii=False).replace("Europe/Berlin", ""), word


def test_what_is_null_or_empty_stays_so() -> None:
    stored = msgspec.json.encode({"given_name": None, "email": None, "addresses": [], "identifiers": []})
    assert masked("identity", stored) == stored
    assert masked("traits", b'[{"key":"k","value":null}]') == b'[{"key":"k","value":null}]'
    assert masked("experience", b"null") == b"null"


@pytest.mark.parametrize(
    "text, said",
    [
        (b'{"a":"x needle@a.b y"}', b'{"a":"x \xe2\x80\xa6@\xe2\x80\xa6 y"}'),
        (
            b'{"url":"https://crm/?q=needle%40x&p=+49 (30) 90-18.20"}',
            '{"url":"https:…@…"}'.encode(),
        ),
        (b'["u/needle%40a.b","%2B49%2030%20901820"]', '["…@…","…"]'.encode()),
        ('["+49 (0) 30 / 901 820","+49\xa030\u2011901820"]'.encode(), '["…","…"]'.encode()),
        ('["Answered: needle@exa…"]'.encode(), '["Answered: …@…"]'.encode()),
        ('["n…@…"]'.encode(), '["n…@…"]'.encode()),
        (
            b'["2026-03-01T10:42:07Z","0000123456789","1+2"]',
            b'["2026-03-01T10:42:07Z","0000123456789","1+2"]',
        ),
        (b'["a\\"needle@b.c\\\\"]', '["a\\"…@…\\\\"]'.encode()),
        (b'["a\\nneedle@b.c\\tb"]', '["a\\n…@…\\tb"]'.encode()),
        (b'["\\u0007needle%40b.c","\\u0007@b.c"]', '["\\u0007…@…","\\u0007@b.c"]'.encode()),
        (b'["a\\\\needle@b.c","\\n\\nneedle@b"]', '["a\\\\…@…","\\n\\n…@…"]'.encode()),
    ],
)
def test_addresses_and_numbers_are_found_in_any_text(text: bytes, said: bytes) -> None:
    assert scrubbed(text) == said
    json.loads(said)


@pytest.mark.parametrize("path", sorted(set(leaves(EXAMPLE))))
def test_an_address_on_a_line_of_its_own_is_masked_and_the_json_stays_whole(path: str) -> None:
    for before in ("a\n", "\n\n", "\t", "a\x07", "\\", 'say "', "\\n", "\x1f1"):
        document = filled(EXAMPLE, path, f"{before}needle@example.com\nsoon")
        if path.split("/", maxsplit=1)[0] not in ("schema_version", "customer_id", "state", "founder"):
            assert "needle" not in shown(document), (path, before)


# An address that is masked, or nearly so: what stands before it, what of it is shown, and what follows.
NEARLY = [
    "".join(pieces)
    for pieces in itertools.product(
        ['"', "", " ", '":"', "@", "x@y ", "%40"],
        ["", "a", "ü", "ab", "…"],
        ["…@…", "…@", "@…", ""],
        ['"', '","', "", " ", "b", "@", "%40x"],
    )
]


@pytest.mark.parametrize("beside", ["", '"a…@…"', "b@c", '"n…@…","m'])
def test_a_text_that_is_left_alone_as_masked_already_is_one_that_masking_leaves_alone(beside: str) -> None:
    for text in (one for nearly in NEARLY for one in (beside + nearly, nearly + beside)):
        if masking._masked_already(text.encode()):
            assert masking._EMAIL.sub(masking._without_email, text.encode()) == text.encode()


def test_what_masking_made_is_known_as_masked_already() -> None:
    assert masking._masked_already('{"email":"a…@…","value":"…@…","x":1}'.encode())
    assert masking._masked_already(b'{"x":1}')
    assert not masking._masked_already('["ab…@…"]'.encode())


def test_each_kind_is_masked_in_its_own_way() -> None:
    assert mask_name("Ada King  Byron") == "A… K… B…" and mask_name(" ") == "…"
    assert mask_email("ada@example.com") == "a…@…"
    assert mask_phone("+4930901820") == "…820" and mask_phone("12345") == "…"
    assert mask_subject("crm:4711") == "crm:4711" and mask_subject("web:v@x.y") == "web:v…@…"
    assert (
        mask_subject("phone:+4930901820") == "phone:…820" and mask_subject("sms:+49 30 901820") == "sms:…20"
    )
    assert mask_given_name("order:O-8") == "order:O-8" and mask_given_name("cus_X") == "cus_X"
    assert mask_given_name("loyalty_card:998877") == "loyalty_card:…77"


def test_titles_keep_what_happened_and_lose_what_was_said() -> None:
    for wire_type, title, said in (
        ("service.promise_made", "Promised: call at 5", "Promised: …"),
        ("service.survey_answered", "Answered CSAT with 2: it hurt", "Answered CSAT with 2: …"),
        ("service.survey_answered", "Answered CSAT with 2", "Answered CSAT with 2"),
        ("marketing.life_event_noted", "Life event: divorce", "Life event: …"),
        ("marketing.page_viewed", "Viewed /search?q=ada", "Viewed /search?…"),
        ("billing.payment_failed", "Payment failed: card expired", "Payment failed: card expired"),
    ):
        entry = {"event_id": "e", "type": wire_type, "subject": "crm:1", "title": title}
        assert json.loads(masked("timeline", msgspec.json.encode([entry])))[0]["title"] == said


def test_a_promise_that_somebody_probably_calls_about_is_not_told() -> None:
    section = {"contact_reason": "promise_open", "contact_reason_text": "Promise PR-2: bring Ada's pills"}
    assert (
        json.loads(masked("summary", msgspec.json.encode(section)))["contact_reason_text"]
        == "Promise PR-2: …"
    )
    other = {"contact_reason": "payment_failed", "contact_reason_text": "Invoice I-88: card expired"}
    assert json.loads(masked("summary", msgspec.json.encode(other))) == other


def test_whoever_merged_customers_is_not_told_by_their_address() -> None:
    edge = {"subject": "crm:1", "other": "crm:2", "reason": "asked", "actor": "ada@firm.example"}
    turn = {"id": "mrg_1", "time": "t", "data": {"before": [], "after": [], "edges": [edge]}}
    assert shown_turn(turn, personal=True)["edges"] == [edge]
    [shown] = shown_turn(turn, personal=False)["edges"]
    assert shown["actor"] == "…@…"
