"""Who is who, by example: each rule of docs/decisions/0009 in a story short enough to be read.

Guarantees:
- Every story holds after each of its lines for the graph and for the naive reference alike.
- What is expected is written out: neither of the two is asked what is right.
"""

from __future__ import annotations

from models.bounds import IDENTIFIERS_MAX
from models.identifiers import customer_id
from models.rules import IdentifierRule, IdentityRules, SubjectRule
from projections.graph_changes import Group
from tests.graph_oracle_story import WEB, Story, plain_rules

# Joining


def test_what_is_stated_by_several_sources_makes_them_one_customer() -> None:
    story = Story().states("web:1", "email:ada", lane=WEB).states("crm:1", "email:ada", "phone:1")
    story.states("billing:1", "phone:1")
    assert story.customers() == {"crm:1": "billing:1 crm:1 web:1"}
    assert story.statuses("crm:1") == {}


def test_a_subject_that_was_named_as_an_identifier_is_the_same_node() -> None:
    story = Story().states("web:1", "crm:1", lane=WEB).states("crm:1", "email:ada")
    assert story.customers() == {"crm:1": "crm:1 web:1"}


def test_a_household_phone_joins_the_first_and_is_offered_to_the_second() -> None:
    story = Story().states("crm:1", "email:ada", "phone:home").states("crm:2", "email:bob", "phone:home")
    assert story.customers() == {"crm:1": "crm:1", "crm:2": "crm:2"}
    assert story.statuses("crm:2") == {"phone:home": "rejected"}
    assert (story.related("crm:1"), story.related("crm:2")) == ((("crm:2", "phone"),), (("crm:1", "phone"),))


def test_a_type_of_identifier_can_be_limited_like_customer_numbers() -> None:
    story = Story().states("crm:1", "card:1").states("crm:1", "card:2")
    assert story.statuses("crm:1") == {"card:2": "rejected"}


def test_the_stronger_type_takes_a_cookie_that_two_could_have() -> None:
    story = Story().states("crm:1", "phone:1").states("crm:2", "email:2")
    story.states("web:1", "phone:1", "email:2", lane=WEB)
    assert story.customers() == {"crm:1": "crm:1", "crm:2": "crm:2 web:1"}


def test_a_verified_edge_is_stronger_than_any_that_is_not() -> None:
    story = Story().states("crm:1", "phone:1", verified=True).states("crm:2", "email:2")
    story.states("web:1", "email:2", lane=WEB).states("web:1", "phone:1", lane=WEB, verified=True)
    assert story.customers() == {"crm:1": "crm:1 web:1", "crm:2": "crm:2"}


def test_a_persons_check_verifies_an_edge_but_makes_nobody_seen() -> None:
    story = Story().verify("crm:1", "email:ada")
    assert story.customers() == {}
    story.states("web:1", "email:ada", lane=WEB)
    assert story.customers() == {"web:1": "crm:1 web:1"}


def test_among_equals_the_one_seen_first_joins_and_a_late_earlier_fact_changes_that() -> None:
    story = Story().states("crm:1", "phone:1", at=10).states("crm:2", "phone:1", at=20)
    story.states("web:1", "phone:1", at=30, lane=WEB)
    assert story.customers() == {"crm:1": "crm:1 web:1", "crm:2": "crm:2"}
    story.states("crm:2", "phone:1", at=5, lane="late.events-0")
    assert story.customers() == {"crm:1": "crm:1", "crm:2": "crm:2 web:1"}


def test_what_is_stated_a_hundred_times_is_as_old_as_the_first_and_verified_if_one_was() -> None:
    story = Story().states("crm:1", "phone:1", at=50).states("web:1", "phone:1", "email:2", at=60, lane=WEB)
    for number in range(100):
        lane = f"lane.events-{number % 3}"
        story.states("crm:2", "email:2", at=20 + number * 37 % 101, lane=lane, verified=number == 50)
    assert story.customers() == {"crm:1": "crm:1", "crm:2": "crm:2 web:1"}
    for lane in ("lane.events-0", "lane.events-2", "lane.events-1"):
        story.erase("crm:2", lane=lane)
    assert story.customers() == {"crm:1": "crm:1 web:1"}


def test_employees_are_nobody() -> None:
    story = Story().states("employee:7", "email:desk").states("crm:1", "email:desk", "employee:7")
    story.link("crm:1", "employee:7")
    assert story.customers() == {"crm:1": "crm:1"}


def test_who_states_itself_is_there_and_states_nothing() -> None:
    assert Story().states("crm:1", "crm:1").customers() == {"crm:1": "crm:1"}


def test_a_name_of_an_unknown_source_is_a_subject_once_it_speaks() -> None:
    story = Story().states("crm:1", "pos:1")
    assert story.customers() == {"crm:1": "crm:1"}
    story.states("pos:1")
    assert story.customers() == {"crm:1": "crm:1 pos:1"}


def test_subjects_of_unknown_sources_are_limited_apart_from_identifiers_of_unknown_types() -> None:
    other = IdentifierRule(strength=40, max_per_customer=1)
    rules = IdentityRules(subjects={"crm": SubjectRule()}, identifiers={}, other_identifiers=other)
    story = Story(rules).states("crm:1", "pos:1", "pos:2", "pos:3").states("pos:1")
    assert story.customers() == {"crm:1": "crm:1 pos:1"}
    assert story.statuses("crm:1") == {"pos:3": "rejected"}


# Founders


def test_no_cookie_is_the_founder_where_there_is_a_person() -> None:
    story = Story().states("web:1", "email:ada", lane=WEB).states("crm:1", "email:ada")
    assert list(story.customers()) == ["crm:1"]


def test_the_earliest_person_is_the_founder_also_when_a_topic_lags() -> None:
    story = Story().states("crm:1", "email:ada", at=10).states("billing:1", "email:ada", at=20)
    assert list(story.customers()) == ["crm:1"]
    story.states("billing:1", at=3, lane="late.events-0")
    assert list(story.customers()) == ["billing:1"]
    assert story.change is not None
    assert [turn.kind for turn in story.change.turns] == ["refounded"]


def test_of_two_of_one_time_the_lesser_name_is_the_founder() -> None:
    story = Story().states("crm:1", "email:ada", at=5).states("billing:1", "email:ada", at=5)
    assert list(story.customers()) == ["billing:1"]


def test_a_subject_that_was_only_named_by_others_is_a_member_and_never_the_founder() -> None:
    story = Story().states("web:1", "crm:9", lane=WEB)
    assert story.customers() == {"web:1": "crm:9 web:1"}


def test_commands_make_nobody_a_founder() -> None:
    story = Story().link("crm:9", "web:1").states("web:1", lane=WEB)
    assert story.customers() == {"web:1": "crm:9 web:1"}


# Sharing


def test_a_phone_that_becomes_shared_takes_apart_what_it_had_merged() -> None:
    story = Story(plain_rules(shared_above=2)).states("crm:1", "phone:desk").states("billing:1", "phone:desk")
    assert story.customers() == {"crm:1": "billing:1 crm:1"}
    story.states("loyalty:1", "phone:desk")
    assert story.customers() == {"crm:1": "crm:1", "billing:1": "billing:1", "loyalty:1": "loyalty:1"}
    assert story.statuses("crm:1") == {"phone:desk": "shared"}
    assert story.change is not None
    assert story.change.stamped == {"crm:1", "billing:1", "loyalty:1"}
    assert [turn.kind for turn in story.change.turns] == ["split"]


def test_many_cookies_do_not_make_an_address_shared() -> None:
    story = Story(plain_rules(shared_above=1)).states("crm:1", "email:ada")
    for number in range(1, 6):
        story.states(f"web:{number}", "email:ada", lane=WEB)
    assert story.customers() == {"crm:1": "crm:1 web:1 web:2 web:3 web:4 web:5"}


def test_a_type_can_have_a_threshold_of_its_own() -> None:
    phone = IdentifierRule(strength=50, shared_above=1)
    rules = plain_rules().model_copy(update={"identifiers": {"phone": phone}})
    story = Story(rules).states("crm:1", "phone:1").states("billing:1", "phone:1")
    assert story.statuses("crm:1") == {"phone:1": "shared"}


def test_who_is_unlinked_no_longer_counts_and_the_others_come_together_again() -> None:
    story = Story().states("crm:1", "phone:1").states("billing:1", "phone:1").states("loyalty:1", "phone:1")
    assert len(story.customers()) == 3
    story.unlink("loyalty:1", "phone:1")
    assert story.customers() == {"crm:1": "billing:1 crm:1", "loyalty:1": "loyalty:1"}
    assert story.statuses("loyalty:1") == {"phone:1": "rejected"}


def test_what_is_unlinked_is_rejected_even_while_it_is_shared_by_others() -> None:
    story = Story(plain_rules(shared_above=1)).states("crm:1", "phone:1").states("billing:1", "phone:1")
    story.states("loyalty:1", "phone:1").unlink("loyalty:1", "phone:1")
    assert (story.statuses("crm:1"), story.statuses("loyalty:1")) == (
        {"phone:1": "shared"},
        {"phone:1": "rejected"},
    )


def test_a_persons_link_to_a_shared_identifier_holds_and_a_programs_does_not() -> None:
    story = Story(plain_rules(shared_above=1)).states("crm:1", "phone:1").states("billing:1", "phone:1")
    story.states("web:1", lane=WEB).link("web:1", "phone:1", by="matcher/splink")
    assert len(story.customers()) == 3
    story.link("web:1", "phone:1").link("crm:1", "phone:1")
    assert story.customers() == {"crm:1": "crm:1 web:1", "billing:1": "billing:1"}


def test_a_program_takes_no_second_path_through_what_is_shared() -> None:
    story = Story(plain_rules(shared_above=1)).link("crm:1", "phone:1", by="matcher/splink").states("crm:1")
    assert story.graph.entry_of("phone:1") == [(customer_id("crm:1"), "linking")]
    # The subject itself becomes a shared identifier.
    story.states("billing:1", "crm:1").states("loyalty:1", "crm:1")
    assert story.graph.entry_of("phone:1") == [(customer_id("crm:1"), "rejected")]


def test_what_is_shared_is_no_possible_match_either_even_where_a_person_linked_it() -> None:
    story = (
        Story().states("crm:1", "phone:desk").states("crm:2", "phone:desk").states("loyalty:1", "phone:desk")
    )
    story.link("crm:2", "phone:desk").link("crm:1", "phone:desk", by="matcher/splink")
    story.states("crm:1", "email:both").states("crm:2", "email:both")
    assert story.related("crm:1") == (("crm:2", "email"),)
    assert story.related("loyalty:1") == ()


# Components that are too large


def test_the_weakest_class_stops_linking_in_a_component_that_is_too_large() -> None:
    story = Story(plain_rules(shared_above=100, component_max=4))
    story.states("crm:1", "email:1", verified=True).states("billing:2", "email:2", verified=True)
    story.states("crm:1", "phone:all")
    # email:1, crm:1 and phone:all hang together; with billing:2 and its address they would be five.
    assert story.statuses("crm:1") == {}
    story.states("billing:2", "phone:all")
    assert story.customers() == {"crm:1": "crm:1", "billing:2": "billing:2"}
    assert story.statuses("crm:1") == {"phone:all": "rejected"}
    assert story.graph.entry_of("phone:all") == [
        (customer_id("billing:2"), "rejected"),
        (customer_id("crm:1"), "rejected"),
    ]


def test_nodes_that_fall_off_a_component_are_placed_anew() -> None:
    story = Story(plain_rules(component_max=3)).link("crm:3", "phone:1").states("billing:1", "web:1")
    assert story.customers() == {"billing:1": "billing:1 web:1"}
    story.verify("web:1", "phone:1")
    assert story.customers() == {"billing:1": "billing:1"}


def test_persons_may_link_more_than_any_component_holds() -> None:
    story = Story(plain_rules(component_max=2))
    for number in range(1, 6):
        story.states(f"crm:{number}")
    for number in range(1, 5):
        story.link(f"crm:{number}", f"crm:{number + 1}")
    assert story.customers() == {"crm:1": "crm:1 crm:2 crm:3 crm:4 crm:5"}


# Look-up


def test_a_lookup_names_the_linking_customer_first_and_then_the_others() -> None:
    story = Story().states("crm:2", "phone:home", at=1).states("crm:1", "phone:home", at=2)
    assert story.graph.entry_of("phone:home") == [
        (customer_id("crm:2"), "linking"),
        (customer_id("crm:1"), "rejected"),
    ]


def test_a_lookup_of_something_shared_names_as_many_as_make_it_so() -> None:
    story = Story(plain_rules(shared_above=2))
    for number in range(1, 6):
        story.states(f"crm:{number}", "phone:desk")
    shared = [(customer_id(f"crm:{number}"), "shared") for number in (1, 2, 3)]
    assert story.graph.entry_of("phone:desk") == shared


def test_a_lookup_finds_what_a_clerk_linked_by_hand() -> None:
    story = Story().states("crm:1").link("crm:1", "phone:1")
    assert story.graph.entry_of("phone:1") == [(customer_id("crm:1"), "linking")]


def test_a_lookup_of_what_was_unlinked_by_all_finds_nobody() -> None:
    story = Story().states("crm:1", "phone:1").unlink("crm:1", "phone:1")
    assert story.graph.entry_of("phone:1") == []


# What is told of a change


def test_a_fact_that_changes_nothing_stamps_nothing() -> None:
    story = Story().states("crm:1", "email:ada").states("web:1", "email:ada")
    story.states("crm:1", "email:ada", lane=WEB)
    assert story.change is None
    assert story.graph.nodes.get_many(["crm:1"])["crm:1"].stamp == 2


def test_a_subject_alone_is_what_readers_assume_and_is_not_stamped() -> None:
    story = Story().states("crm:1", "email:ada")
    assert story.change is None
    assert story.graph.nodes["crm:1"].stamp == 0
    assert [placed.members for placed in [story.graph.placement_of("crm:1")] if placed] == [("crm:1",)]
    # What is alone again has been something else, and says so.
    story.states("web:1", "email:ada").unlink("web:1", "email:ada")
    assert story.graph.nodes["crm:1"].stamp == story.graph.nodes["web:1"].stamp == 3


def test_what_no_lane_indexes_is_told_although_the_subject_is_alone() -> None:
    story = Story().states("crm:1", "email:ada").verify("crm:1", "email:bob")
    assert story.change is not None
    assert "email:bob" in story.change.reindex
    story = Story()
    for number in range(IDENTIFIERS_MAX):
        story.states("crm:1", f"cookie:{number}")
        assert story.change is None
    story.states("crm:1", "cookie:more")
    assert story.change is not None
    assert "cookie:more" in story.change.reindex


def test_a_merge_tells_who_was_who_and_for_what_reason() -> None:
    story = Story().states("crm:1", "email:ada").states("crm:2", "email:bob")
    story.link("crm:1", "crm:2", by="clerk", reason="same passport")
    assert story.change is not None
    (turn,) = story.change.turns
    assert turn.kind == "merged"
    assert set(turn.before) == {Group("crm:1", ("crm:1",)), Group("crm:2", ("crm:2",))}
    assert turn.after == (Group("crm:1", ("crm:1", "crm:2")),)
    (reason,) = [edge for edge in turn.edges if edge.strength == "person"]
    assert {reason.subject, reason.other} == {"crm:1", "crm:2"}
    assert (reason.status, reason.actor, reason.reason) == ("linking", "clerk", "same passport")


def test_who_becomes_a_subject_late_changes_the_lookup_of_those_it_is_linked_with() -> None:
    story = Story().link("crm:3", "pos:1", by="matcher/splink").states("crm:2", "pos:1")
    assert story.graph.entry_of("crm:3") == []
    story.states("pos:1", "card:2")
    assert story.graph.entry_of("crm:3") == [(customer_id("crm:2"), "rejected")]
    assert story.change is not None
    assert "crm:3" in story.change.reindex


def test_possible_matches_are_twenty_at_most() -> None:
    story = Story(plain_rules(shared_above=100))
    for number in range(10, 40):
        story.states(f"crm:{number}", "phone:desk")
    related = [(f"crm:{number}", "phone") for number in range(11, 31)]
    assert story.related("crm:10") == tuple(related)


def test_who_is_alone_since_others_are_too_many_is_no_commonplace() -> None:
    """Found by a seed of a campaign: the phone is too weak for a component that was cut off from a hub."""
    story = Story(plain_rules(component_max=3))
    story.states("crm:1", "email:ada").states("web:2", "email:ada").states("web:3", "email:ada")
    story.states("web:4", "email:ada", verified=True).states("web:4", "phone:1")
    placed = story.graph.placement_of("web:4")
    assert placed is not None
    assert placed.statuses == {"phone:1": "rejected"}


def test_an_entry_that_was_written_once_is_written_again_although_the_subject_is_alone() -> None:
    """Lanes do not write over what the graph has written: of those who were erased, something was."""
    story = Story().states("web:1", "email:ada").states("web:2", "email:ada").erase("web:1").erase("web:2")
    assert story.graph.entry_of("email:ada") == []
    story.states("web:3", "email:ada")
    assert story.change is not None
    assert "email:ada" in story.change.reindex
    # One account too many: nobody's member, so never stamped, but asked for by its name.
    story = Story().states("web:1", "billing:1").states("web:1", "billing:2")
    assert story.graph.entry_of("billing:2") == [(customer_id("web:1"), "rejected")]
    story.erase("web:1").states("billing:2")
    assert story.change is not None
    assert "billing:2" in story.change.reindex
