"""`scv inspect` by several names, by old ids, and of customers that the graph has placed."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from models.identifiers import customer_id
from ops import cli
from ops.failures import Exit
from stores.embedded import EmbeddedStore
from tests.lookup_world import LookupWorld

EMAIL, PHONE = "email:ada@example.com", "phone:+4930901820"
ADA, BOB, OLD = customer_id("crm:1"), customer_id("crm:2"), customer_id("shop:9")


@pytest.fixture(scope="module")
def world(embedded_store: EmbeddedStore) -> Iterator[LookupWorld]:
    """Ada and Bob of one household, and an account that was linked to Ada's."""
    made = LookupWorld(embedded_store.url)
    made.tell("marketing.profile_updated", "crm:1", EMAIL, PHONE, given_name="Ada", family_name="[bold]Byron")
    made.tell("marketing.profile_updated", "crm:2", PHONE, given_name="Bob\x1b[2J")
    made.tell("sales.order_placed", "shop:9", order_id="O-9", amount_minor=990, currency="EUR")
    made.tell("marketing.page_viewed", "web:v-1", "email:info@example.com", page="/")
    for number in range(3, 9):
        made.tell("marketing.page_viewed", f"crm:{number}", "email:info@example.com", page="/")
    made.settle()
    made.command("link", "crm:1", "shop:9")
    made.settle()
    yield made
    made.close()


def inspect(world: LookupWorld, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr; lines as one text, since a table folds them."""
    code = cli.run(["inspect", *arguments, "--redis", world.url])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_several_names_that_agree_show_one_profile(
    world: LookupWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, _ = inspect(world, capsys, "crm:1", EMAIL, "order:O-9", "--json")
    answer = msgspec.json.decode(said)
    assert (code, answer["match"], answer["profile"]["customer_id"]) == (Exit.OK, "single", ADA)
    assert set(answer) == {"match", "profile", "candidates", "merged_into", "unknown"}
    assert [one["via"] for one in answer["candidates"][0]["reasons"]] == ["crm:1", EMAIL, "order:O-9"]
    code, said, _ = inspect(world, capsys, "crm:1", "order:O-77")
    assert code == Exit.OK
    assert "Nobody is known as 'order:O-77'; the answer rests on the other names." in said


def test_an_old_id_shows_the_customer_and_says_where_it_went(
    world: LookupWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, _ = inspect(world, capsys, OLD)
    assert code == Exit.OK
    assert f"{OLD} was merged: its founder belongs to {ADA} now." in said
    assert "crm:1, shop:9" in said, "the members"
    code, said, _ = inspect(world, capsys, OLD, "--sections", "sales", "--json")
    assert msgspec.json.decode(said)["merged_into"] == {OLD: ADA}


def test_candidates_are_a_table_with_the_reasons_of_each(
    world: LookupWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, _ = inspect(world, capsys, PHONE, "order:O-9")
    assert code == Exit.OK
    assert f"2 customers answer to {PHONE}, order:O-9" in said
    assert "[bold]Byron" in said
    why = " ".join(line.split("│")[5].strip() for line in said.splitlines() if "│" in line)
    assert why == f"{PHONE} (linking) order:O-9 through shop:9 (linking) {PHONE} (rejected)"
    assert said.index(ADA) < said.index(BOB), "the one that more names lead to comes first"
    assert "\x1b[2J" not in said
    assert max(len(line) for line in said.splitlines()) <= 100
    code, said, _ = inspect(world, capsys, "email:info@example.com")
    assert said.count("(shared)") == world.rules.shared_above + 1


def test_nobody_is_code_4_and_every_name_is_named(
    world: LookupWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, told = inspect(world, capsys, "crm:77", "order:O-77")
    assert (code, said) == (Exit.NOT_FOUND, "")
    assert "nobody is known as 'crm:77' or 'order:O-77' in generation g1" in told
    world.enter("zzz:1", ("zzz:1", "linking"), stamp=99)
    code, _, told = inspect(world, capsys, "zzz:1")
    assert code == Exit.NOT_FOUND
    assert "'zzz:1' is known in generation g1, but its profile is not written yet; ask again" in told
    code, _, told = inspect(world, capsys, "crm:1", "rubbish")
    assert code == Exit.USAGE and "'rubbish' is no customer id" in told


def test_the_portrait_says_what_an_identifier_is_worth_and_who_else_it_may_be(
    world: LookupWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    said = " ".join(inspect(world, capsys, "crm:2")[1].split())
    assert "+4930901820 · not verified · does not link: a rule or a decision is against it" in said
    assert f"maybe also {ADA} · by phone" in said
    said = " ".join(inspect(world, capsys, "crm:3")[1].split())
    assert "info@example.com · not verified · shared by many, links nobody" in said
