"""A look-up never guesses: by any name, by several at once, by an old id. From Python and in one call.

Guarantees:
- `both` asks in both ways, on a real store, and they say the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.lookup import CANDIDATES_MAX, NAMES_MAX, Answer, NotAName, lookup, spellings
from models.identifiers import customer_id
from models.rules import IdentityRules
from stores.embedded import EmbeddedStore
from stores.reading import HOPS_MAX, ProfileReader
from tests.lookup_world import LookupWorld
from tests.servers import empty_store

EMAIL, PHONE = "email:ada@example.com", "phone:+4930901820"
NOBODY = "cus_0000000000000000"


@pytest.fixture
def world(embedded_store: EmbeddedStore) -> Iterator[LookupWorld]:
    """An empty store, its workers and look-ups; an identifier of more than two people is shared."""
    made = LookupWorld(embedded_store.url, IdentityRules(shared_above=2))
    yield made
    made.close()


def order(world: LookupWorld, subject: str, number: int, *names: str) -> None:
    """An order of this subject, who states these identifiers."""
    world.tell(
        "sales.order_placed", subject, *names, order_id=f"O-{number}", amount_minor=990, currency="EUR"
    )


def view(world: LookupWorld, subject: str, *names: str) -> None:
    """A page seen by this subject, who states these identifiers."""
    world.tell("marketing.page_viewed", subject, *names, page="/")


def reasons(answer: Answer) -> dict[str, list[tuple[str, str | None, str]]]:
    """Per founder of a candidate: via, through and status of each reason."""
    return {
        one["founder"]: [(why["via"], why["through"], why["status"]) for why in one["reasons"]]
        for one in answer.candidates
    }


def test_one_customer_is_found_by_everything_that_leads_to_it(world: LookupWorld) -> None:
    order(world, "crm:1", 8, EMAIL, PHONE)
    view(world, "web:v-1", EMAIL)
    world.settle()
    for name in ("crm:1", "web:v-1", EMAIL, "email: ADA@Example.com", "phone:030/901820", "order:O-8"):
        answer = world.both(name)
        assert answer.match == "single", name
        assert answer.profile is not None and answer.profile["founder"] == "crm:1"
        assert [one["subject"] for one in answer.profile["identity"]["subjects"]] == ["crm:1", "web:v-1"]
    assert reasons(world.both("order:O-8")) == {"crm:1": [("order:O-8", "crm:1", "linking")]}
    assert world.both("crm:2", "order:O-9")[:3] == ("none", None, [])


def test_a_subject_is_found_before_the_graph_has_placed_it(world: LookupWorld) -> None:
    order(world, "crm:1", 8, EMAIL)
    view(world, "web:v-1", EMAIL)
    world.settle(placed=False)
    assert world.both("crm:1").match == world.both("order:O-8").match == "single"
    assert reasons(world.both(EMAIL)) == {
        "crm:1": [(EMAIL, None, "linking")],
        "web:v-1": [(EMAIL, None, "linking")],
    }
    world.settle()
    assert world.both(EMAIL).match == "single"


def test_an_identifier_that_links_one_and_is_rejected_for_another_is_ambiguous(world: LookupWorld) -> None:
    order(world, "crm:1", 8, PHONE)
    order(world, "crm:2", 9, PHONE)
    world.settle()
    answer = world.both(PHONE)
    assert (answer.match, answer.profile) == ("ambiguous", None)
    assert reasons(answer) == {"crm:1": [(PHONE, None, "linking")], "crm:2": [(PHONE, None, "rejected")]}
    # Linking comes first. What rejects an identifier says nothing against the subject itself.
    assert [one["founder"] for one in answer.candidates] == ["crm:1", "crm:2"]
    profile = world.both("crm:2").profile
    assert profile is not None
    assert [one["status"] for one in profile["identity"]["identifiers"]] == ["rejected"]
    assert profile["identity"]["related"] == [
        {"customer_id": customer_id("crm:1"), "relation": "possible_match", "via": "phone"}
    ]


def test_a_shared_identifier_names_all_who_state_it_and_one_more_than_may(world: LookupWorld) -> None:
    for number in range(1, 6):
        order(world, f"crm:{number}", number, PHONE)
    world.settle()
    answer = world.both(PHONE)
    assert answer.match == "ambiguous"
    assert reasons(answer) == {f"crm:{number}": [(PHONE, None, "shared")] for number in (1, 2, 3)}
    assert world.both("crm:5").match == "single"


def test_a_reference_that_two_customers_named_is_ambiguous_and_says_through_whom(world: LookupWorld) -> None:
    order(world, "crm:1", 8)
    order(world, "crm:2", 8)
    view(world, "web:v-1", "crm:2")
    order(world, "web:v-1", 8)
    world.settle()
    answer = world.both("order:O-8")
    assert answer.match == "ambiguous"
    assert reasons(answer) == {
        "crm:1": [("order:O-8", "crm:1", "linking")],
        "crm:2": [("order:O-8", "crm:2", "linking"), ("order:O-8", "web:v-1", "linking")],
    }


def test_a_reference_that_an_employee_named_leads_to_no_employee(world: LookupWorld) -> None:
    asked = {"score": 9, "team_id": "T-1", "references": ["order:O-8", "case:S-5"]}
    world.tell("service.employee_surveyed", "employee:E-7", **asked)
    order(world, "employee:E-7", 8)
    for placed in (False, True):
        world.settle(placed=placed)
        for name in ("order:O-8", "case:S-5", "employee:E-7"):
            assert world.both(name)[:3] == ("none", None, [])
    order(world, "crm:1", 8)
    world.settle()
    assert reasons(world.both("order:O-8")) == {"crm:1": [("order:O-8", "crm:1", "linking")]}
    assert world.both("case:S-5").match == "none"


def test_several_names_are_single_only_if_all_that_lead_anywhere_agree(world: LookupWorld) -> None:
    order(world, "crm:1", 8, PHONE, EMAIL)
    order(world, "crm:2", 9, PHONE, "email:bob@example.com")
    world.settle()
    agreed = world.both("crm:1", EMAIL, "order:O-8")
    assert agreed.match == "single"
    assert reasons(agreed) == {
        "crm:1": [
            ("crm:1", None, "linking"),
            (EMAIL, None, "linking"),
            ("order:O-8", "crm:1", "linking"),
        ]
    }
    with_unknown = world.both("email:eve@example.com", "crm:1", "order:O-77")
    assert with_unknown.match == "single"
    assert with_unknown.unknown == ["email:eve@example.com", "order:O-77"]
    assert world.both(EMAIL, "email:bob@example.com").match == "ambiguous"
    assert world.both("crm:1", "crm:1") == world.both("crm:1")
    none = world.both("crm:7", "order:O-77")
    assert (none.match, none.unknown) == ("none", ["crm:7", "order:O-77"])


def test_a_name_that_leads_to_two_agrees_with_nobody_but_the_likelier_comes_first(world: LookupWorld) -> None:
    order(world, "crm:1", 8, PHONE)
    order(world, "crm:2", 9, PHONE)
    world.settle()
    answer = world.both(PHONE, "crm:2")
    assert answer.match == "ambiguous"
    assert list(reasons(answer).items()) == [
        ("crm:2", [(PHONE, None, "rejected"), ("crm:2", None, "linking")]),
        ("crm:1", [(PHONE, None, "linking")]),
    ]


def test_an_old_id_leads_to_whoever_holds_its_founder_now(world: LookupWorld) -> None:
    order(world, "crm:1", 8, EMAIL)
    order(world, "shop:9", 9)
    world.settle()
    old, new = customer_id("shop:9"), customer_id("crm:1")
    assert world.both(old).match == "single"
    world.command("link", "crm:1", "shop:9")
    world.settle()
    answer = world.both(old)
    assert answer.match == "single" and answer.merged_into == {old: new}
    assert answer.profile is not None and answer.profile["customer_id"] == new
    assert reasons(answer) == {"crm:1": [(old, "shop:9", "linking")]}
    assert world.both(old, EMAIL, new).merged_into == {old: new}
    world.command("unlink", "crm:1", "shop:9")
    world.settle()
    answer = world.both(old)
    assert answer.match == "single" and answer.merged_into == {}
    assert answer.profile is not None and answer.profile["founder"] == "shop:9"
    assert world.both(old, new).match == "ambiguous"
    assert [(one["type"], one["data"]["rule"]) for one in world.merges()] == [
        ("customer.merged", "linked_by_person"),
        ("customer.split", "unlinked_by_person"),
    ]


def test_an_id_that_was_never_given_out_or_is_nobodys_any_more_leads_nowhere(world: LookupWorld) -> None:
    gone = world.write("crm:1", state="merged")
    world.enter("crm:1")
    alive = world.write("crm:2")
    assert world.both(NOBODY)[:1] == world.both(gone)[:1] == ("none",)
    answer = world.both(NOBODY, gone, alive, f"customer:{alive}")
    assert (answer.match, answer.unknown, answer.merged_into) == ("single", [NOBODY, gone], {})


def test_an_entry_that_still_names_a_merged_customer_leads_to_the_one_it_is_now(world: LookupWorld) -> None:
    world.write("crm:1", display_name="Ada Byron", last_contact_at="2026-03-01T10:00:00Z")
    world.write("crm:2", state="merged")
    world.enter("crm:2", ("crm:1", "linking"), ("crm:3", "rejected"))
    world.enter(PHONE, ("crm:2", "linking"))
    world.enter(EMAIL, ("crm:1", "linking"), ("crm:2", "rejected"))
    answer = world.both(PHONE)
    assert answer.match == "single"
    assert answer.candidates == [
        {
            "customer_id": customer_id("crm:1"),
            "display_name": "Ada Byron",
            "last_contact_at": "2026-03-01T10:00:00Z",
            "founder": "crm:1",
            "reasons": [{"via": PHONE, "through": None, "status": "linking"}],
        }
    ]
    assert reasons(world.both(EMAIL)) == {"crm:1": [(EMAIL, None, "linking"), (EMAIL, None, "rejected")]}


def test_tombstones_are_followed_for_a_few_steps_and_never_in_a_circle(world: LookupWorld) -> None:
    world.write("crm:0")
    for number in range(1, HOPS_MAX + 2):
        world.write(f"crm:{number}", state="merged")
        world.enter(f"crm:{number}", (f"crm:{number - 1}", "linking"))
    assert world.both(customer_id(f"crm:{HOPS_MAX}")).merged_into == {
        customer_id(f"crm:{HOPS_MAX}"): customer_id("crm:0")
    }
    assert world.both(customer_id(f"crm:{HOPS_MAX + 1}")).match == "none"
    for mine, other in (("shop:1", "shop:2"), ("shop:2", "shop:1")):
        world.write(mine, state="merged")
        world.enter(mine, (other, "linking"))
    assert world.both(customer_id("shop:1")).match == "none"


def test_a_customer_whose_profile_is_yet_to_come_is_not_shown_and_not_passed_over(world: LookupWorld) -> None:
    world.enter(PHONE, ("crm:1", "linking"), ("crm:2", "rejected"))
    world.enter("crm:1", ("crm:1", "linking"))
    assert world.both("crm:1")[:5] == ("none", None, [], {}, [])
    world.write("crm:2")
    answer = world.both(PHONE)
    assert answer.match == "ambiguous", "the one that is there must not pass for the only one"
    assert [one["founder"] for one in answer.candidates] == [None, "crm:2"]
    # Unmerged just now: the entry leads back to the id, the tombstone is still there.
    world.write("crm:1", state="merged")
    assert world.both("crm:1")[:1] == world.both(customer_id("crm:1"))[:1] == ("none",)
    world.write("crm:1", version="2.1")
    assert world.both("crm:1").match == world.both(customer_id("crm:1")).match == "single"


def test_a_customer_merged_between_the_two_reads_is_looked_up_again(world: LookupWorld) -> None:
    one, two = world.write("crm:1"), world.write("crm:2")
    world.enter(PHONE, ("crm:1", "linking"))
    reads: list[str] = []

    class Interrupted(ProfileReader):
        def view(self) -> Any:
            found: Any = super().view()
            profiles = found.profiles

            def read(customers: Any, sections: Any = None) -> Any:
                if sections is None and not reads:
                    reads.append(one)
                    world.write("crm:1", version="2.0", state="merged")
                    world.enter("crm:1", ("crm:2", "linking"), stamp=2)
                return profiles(customers, sections)

            found.profiles = read
            return found

    reader = Interrupted(world.url)
    answer = lookup(reader, PHONE, world.rules)
    reader.close()
    assert reads == [one]
    assert answer.match == "single" and answer.profile is not None
    assert answer.profile["customer_id"] == two


def test_answers_are_bounded(world: LookupWorld) -> None:
    for number in range(CANDIDATES_MAX + 5):
        world.write(f"crm:{number}")
        world.enter(f"crm:{number}", (f"crm:{number}", "linking"))
    world.store.note_subjects([], [("order:0", f"crm:{number}") for number in range(CANDIDATES_MAX + 5)])
    assert len(world.both("order:0").candidates) == CANDIDATES_MAX
    for number in range(150):
        world.enter(f"web:{number}", ("crm:1", "linking"))
    world.store.note_subjects([], [("case:1", f"web:{number}") for number in range(150)])
    answer = world.both("case:1")
    assert answer.match == "single"
    assert len(answer.candidates[0]["reasons"]) == CANDIDATES_MAX
    # The last of many subjects is asked, too: one of another customer must show.
    world.store.note_subjects([], [("case:1", "zzz:1")])
    world.enter("zzz:1", ("crm:2", "linking"))
    assert world.both("case:1").match == "ambiguous"


def test_what_is_no_name_is_refused(world: LookupWorld) -> None:
    for wrong in ("rubbish", "", ":x", "crm:", "cus_short"):
        with pytest.raises(NotAName, match="no customer id and no type:value"):
            world.look("crm:1", wrong)
    for names in ([], [f"crm:{number}" for number in range(NAMES_MAX + 1)]):
        with pytest.raises(NotAName, match=f"between 1 and {NAMES_MAX}"):
            world.look(*names)
    for arguments in ((), ("crm",), ("crm", "1", "phone"), ("crm", "1") * (NAMES_MAX + 1)):
        with pytest.raises(redis.ResponseError, match="scv_lookup wants"):
            world.client.execute_command("FCALL_RO", "scv_lookup", 1, "scv", *arguments)


def test_a_text_stands_for_its_form_and_for_what_is_written() -> None:
    rules = IdentityRules()
    assert spellings("phone:030 901820", rules) == ("phone:+4930901820", "phone:030 901820")
    assert spellings(" crm:4711", rules) == ("crm:4711",)
    assert spellings("order:null", rules) == ("order:null",)
    assert spellings(f"customer:{NOBODY}", rules) == spellings(NOBODY, rules) == (NOBODY,)


def test_nobody_is_known_before_the_first_worker_has_run(embedded_store: EmbeddedStore) -> None:
    empty_store(embedded_store.url)
    reader = ProfileReader(embedded_store.url)
    try:
        assert lookup(reader, "crm:1", IdentityRules()) == ("none", None, [], {}, ["crm:1"])
    finally:
        reader.close()


FOUNDERS = [f"crm:{number}" for number in range(5)]
NAMES = [*FOUNDERS, *(f"email:{number}@example.com" for number in range(3)), "order:1", "order:2"]
ENTRIES = st.dictionaries(
    st.sampled_from(NAMES),
    st.lists(
        st.tuples(st.sampled_from(FOUNDERS), st.sampled_from(["linking", "rejected", "shared"])),
        max_size=3,
        unique_by=lambda one: one[0],
    ),
)
STATES = st.dictionaries(st.sampled_from(FOUNDERS), st.sampled_from(["live", "merged"]))
SUBJECTS = st.dictionaries(st.sampled_from(["order:1", "order:2"]), st.sets(st.sampled_from(FOUNDERS)))
ASKED = st.lists(
    st.sampled_from([*NAMES, *(customer_id(one) for one in FOUNDERS), NOBODY]), min_size=1, max_size=4
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ENTRIES, STATES, SUBJECTS, st.lists(ASKED, min_size=1, max_size=4))
def test_both_ways_say_the_same_of_any_store(
    world: LookupWorld,
    entries: dict[str, list[tuple[str, str]]],
    states: dict[str, str],
    subjects: dict[str, set[str]],
    asked: list[list[str]],
) -> None:
    for key in world.client.keys("scv:g1:{*"):
        world.client.delete(key)
    for founder, state in states.items():
        world.write(founder, state=state)
    for name, customers in entries.items():
        world.enter(name, *customers)
    world.store.note_subjects([], [(name, one) for name, named in subjects.items() for one in named])
    for names in asked:
        answer = world.both(*names)
        assert (answer.match == "single") == (answer.profile is not None)
        assert answer.match != "single" or len(answer.candidates) == 1
        assert answer.match != "ambiguous" or len(answer.candidates) > 1
        assert all(one["reasons"] for one in answer.candidates)
