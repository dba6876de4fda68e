"""One thing has one name: normalising, blocked values, customer ids."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.identifiers import (
    BLOCKED_MAILBOXES,
    BLOCKED_VALUES,
    customer_id,
    is_employee,
    namespace_of,
    normalise,
    parse_identifier,
)

KINDS = st.sampled_from(["email", "phone", "loyalty", "cookie", "crm"])
REGIONS = st.sampled_from(["DE", "US", "GB", "IT", "AR", "MX", "BR", "FR", "JP"])
NUMBERS = st.text("0123456789+-()/ .xext", max_size=20) | st.integers(1, 10**14).map(lambda n: f"+{n}")
VALUES = st.text(max_size=30) | NUMBERS | st.emails() | st.emails().map(lambda email: f" {email.upper()}\t")


@settings(max_examples=1_500, derandomize=True, deadline=None)
@given(KINDS, VALUES, REGIONS, REGIONS)
def test_normalising_twice_changes_nothing(kind: str, value: str, region: str, other_region: str) -> None:
    once = normalise(kind, value, region)
    if once is not None:
        assert once and once == once.strip()
        # A number in E.164 carries its own country: the region no longer matters.
        assert normalise(kind, once, other_region) == once
        assert parse_identifier(f"{kind}:{once}", region) == (kind, once)


@pytest.mark.parametrize(
    "kind, value, normal",
    [
        ("email", "  Ada@Example.COM\n", "ada@example.com"),
        ("email", '"a@b"@example.com', '"a@b"@example.com'),
        ("email", "ada.example.com", None),
        ("email", "@example.com", None),
        ("email", "ada@", None),
        ("phone", "+49 30 / 90 18 20", "+4930901820"),
        ("phone", "030 901820", "+4930901820"),
        ("phone", "(0)30-901820", "+4930901820"),
        ("phone", "0049 30 901820", "+4930901820"),
        ("phone", "+1 (212) 555-0100", "+12125550100"),
        ("phone", "1", None),
        ("phone", "call me", None),
        ("phone", "9" * 300, None),
        ("loyalty", " L-77 ", "L-77"),
        ("crm", "4711", "4711"),
        ("cookie", "Case Matters", "Case Matters"),
        ("employee", "E-7", None),
    ],
)
def test_an_identifier_has_one_form(kind: str, value: str, normal: str | None) -> None:
    assert normalise(kind, value) == normal


def test_a_phone_without_a_plus_is_read_in_its_sources_region() -> None:
    assert normalise("phone", "212 555 0100", "US") == "+12125550100"
    assert normalise("phone", "030 901820", "DE") == normalise("phone", "+4930901820", "US")


@pytest.mark.parametrize("value", sorted(BLOCKED_VALUES))
@pytest.mark.parametrize("kind", ["email", "phone", "loyalty"])
def test_a_value_that_stands_for_nothing_is_no_identifier(kind: str, value: str) -> None:
    for written in (value, value.upper(), f" {value}\t", value.title()):
        assert normalise(kind, written) is None


@pytest.mark.parametrize("mailbox", BLOCKED_MAILBOXES)
def test_a_mailbox_that_nobody_reads_is_no_identifier(mailbox: str) -> None:
    assert normalise("email", f" {mailbox.upper()}example.com") is None
    assert normalise("email", f"ada.{mailbox}example.com") is not None


@pytest.mark.parametrize(
    "text", ["", "phone", ":", "Phone:+4930901820", "phone:", "phone:null", "9:1", "x" * 33 + ":1"]
)
def test_what_is_no_identifier_parses_to_none(text: str) -> None:
    assert parse_identifier(text) is None


def test_an_identifier_parses_into_its_type_and_its_normal_value() -> None:
    assert parse_identifier(" phone:+49 30 901820 ") == ("phone", "+4930901820")
    assert parse_identifier("crm:a:b") == ("crm", "a:b")


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.text(min_size=1, max_size=40))
def test_a_customer_id_is_80_bits_of_the_founders_hash_in_crockfords_base_32(founder: str) -> None:
    made = customer_id(founder)
    assert re.fullmatch(r"cus_[0-9A-HJKMNP-TV-Z]{16}", made)
    number = 0
    for character in made[4:]:
        number = number * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(character)
    assert number == int(hashlib.sha256(founder.encode()).hexdigest()[:20], 16)


def test_customer_ids_stay_what_they_are() -> None:
    """Ids are given out to other systems: the function may never change."""
    assert customer_id("crm:4711") == "cus_499N3X8XM5CNPS6H"
    assert customer_id("web:visitor-77") == "cus_RAQ8Z7X78K42GM40"


def test_employees_are_told_by_their_namespace() -> None:
    assert (
        is_employee("employee:E-7") and not is_employee("employees:E-7") and not is_employee("crm:employee:1")
    )
    assert (namespace_of("crm:4711"), namespace_of("crm:a:b")) == ("crm", "crm")
