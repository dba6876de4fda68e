"""What persons and programs decide of who is who, and what erasures leave, in stories short enough to read.

Guarantees:
- Every story holds after each of its lines for the graph and for the naive reference alike.
- What is expected is written out: neither of the two is asked what is right.
"""

from __future__ import annotations

from itertools import permutations

from models.link import LinkFact
from projections.graph import Graph
from projections.graph_nodes import MemoryNodes
from tests.graph_oracle_story import CRM, WEB, Story, plain_rules

# Persons' and programs' commands


def test_a_persons_link_holds_against_the_limit_and_the_set_still_takes_in_cookies() -> None:
    story = Story().states("crm:1", "email:ada").states("crm:2", "email:bob").link("crm:1", "crm:2")
    assert story.customers() == {"crm:1": "crm:1 crm:2"}
    story.states("web:1", "email:bob", lane=WEB)
    assert story.customers() == {"crm:1": "crm:1 crm:2 web:1"}
    story.states("crm:3", "email:bob")
    assert story.customers() == {"crm:1": "crm:1 crm:2 web:1", "crm:3": "crm:3"}


def test_of_a_persons_commands_on_a_pair_the_latest_wins_in_either_order_of_its_names() -> None:
    story = Story().states("crm:1").states("crm:2").link("crm:1", "crm:2").unlink("crm:2", "crm:1")
    assert story.customers() == {"crm:1": "crm:1", "crm:2": "crm:2"}
    story.link("crm:1", "crm:2")
    assert story.customers() == {"crm:1": "crm:1 crm:2"}


def test_the_latest_command_is_the_one_of_the_greatest_offset_not_the_one_heard_last() -> None:
    commands = [
        LinkFact("crm:1", "identity.commands-0", 7, 1, "crm:2", command="link", actor="clerk"),
        LinkFact("crm:2", "identity.commands-0", 9, 0, "crm:1", command="unlink", actor="clerk"),
    ]
    told = [LinkFact(f"crm:{number}", CRM, number, number) for number in (1, 2)]
    for facts in permutations([*told, *commands]):
        graph = Graph(plain_rules(), MemoryNodes())
        for position, fact in enumerate(facts, 1):
            graph.apply(fact, position)
        placed = graph.placement_of("crm:2")
        assert placed is not None and placed.members == ("crm:2",)


def test_an_unlink_of_two_subjects_stands_whatever_is_stated_later() -> None:
    story = Story().states("crm:1", "email:ada").states("billing:1", "email:ada")
    story.unlink("crm:1", "billing:1")
    assert len(story.customers()) == 2
    story.states("crm:1", "phone:1", verified=True).states("billing:1", "phone:1", verified=True)
    story.states("billing:1", "crm:1", verified=True)
    assert len(story.customers()) == 2
    assert story.related("billing:1") == (("crm:1", "email"), ("crm:1", "phone"))


def test_an_unlink_keeps_sets_apart_that_hold_the_two() -> None:
    story = Story().states("crm:1", "email:ada").states("web:1", "email:ada", lane=WEB)
    story.states("billing:1", "phone:1").states("web:2", "phone:1", lane=WEB).unlink("crm:1", "billing:1")
    story.states("web:1", "phone:1", lane=WEB)
    assert story.customers() == {"crm:1": "crm:1 web:1", "billing:1": "billing:1 web:2"}


def test_a_later_link_beats_an_earlier_unlink_and_an_earlier_one_does_not() -> None:
    apart = Story().states("crm:1").states("billing:1").states("web:1", lane=WEB)
    apart.unlink("crm:1", "billing:1").link("crm:1", "web:1").link("web:1", "billing:1")
    assert apart.customers() == {"crm:1": "billing:1 crm:1 web:1"}
    apart.unlink("crm:1", "billing:1")
    # Of the two links the latest is taken first, so the cookie stays with billing.
    assert apart.customers() == {"crm:1": "crm:1", "billing:1": "billing:1 web:1"}
    assert apart.related("crm:1") == (("billing:1", "person"),)


def test_a_link_and_its_unlink_give_back_both_customers() -> None:
    story = Story().states("crm:1", "email:ada").states("crm:2", "email:bob").states("web:1", "email:bob")
    before = [story.graph.placement_of(name) for name in ("crm:1", "crm:2", "web:1")]
    story.link("crm:1", "web:1")
    assert story.customers() == {"crm:1": "crm:1 web:1", "crm:2": "crm:2"}
    story.unlink("crm:1", "web:1")
    assert [story.graph.placement_of(name) for name in ("crm:1", "crm:2", "web:1")] == before


def test_a_program_obeys_the_limit_and_its_rejected_link_is_offered() -> None:
    story = Story().states("crm:1").states("crm:2").link("crm:1", "crm:2", by="matcher/splink")
    assert story.customers() == {"crm:1": "crm:1", "crm:2": "crm:2"}
    assert story.related("crm:2") == (("crm:1", "matcher"),)


def test_a_program_cannot_beat_a_persons_unlink_nor_take_back_a_persons_link() -> None:
    story = Story().states("crm:1").states("billing:1").unlink("crm:1", "billing:1")
    story.link("crm:1", "billing:1", by="matcher/splink")
    assert len(story.customers()) == 2
    story.link("crm:1", "billing:1").unlink("crm:1", "billing:1", by="matcher/splink")
    assert story.customers() == {"crm:1": "billing:1 crm:1"}


def test_a_program_takes_back_its_own_link_and_nothing_that_was_stated() -> None:
    story = Story().states("crm:1").states("billing:1").link("crm:1", "billing:1", by="matcher/splink")
    assert story.customers() == {"crm:1": "billing:1 crm:1"}
    story.unlink("billing:1", "crm:1", by="matcher/other")
    assert len(story.customers()) == 2
    story.states("billing:1", "crm:1")
    assert story.customers() == {"crm:1": "billing:1 crm:1"}


# Erasures


def test_an_erased_subject_leaves_its_customer_and_comes_back_anew() -> None:
    story = Story().states("crm:1", "email:ada").states("billing:1", "email:ada", lane="billing.events-0")
    story.erase("crm:1")
    assert story.customers() == {"billing:1": "billing:1"}
    story.states("crm:1", "email:new")
    # Its log time is remembered, for its age decides who founds; what it had stated is not.
    assert story.customers() == {"billing:1": "billing:1", "crm:1": "crm:1"}
    story.states("crm:1", "email:ada")
    assert story.customers() == {"crm:1": "billing:1 crm:1"}


def test_an_erasure_voids_one_lane_only() -> None:
    story = Story().states("crm:1", "email:ada").states("crm:1", "email:ada", lane=WEB).erase("crm:1")
    story.states("web:1", "email:ada", lane=WEB)
    assert story.customers() == {"crm:1": "crm:1 web:1"}


def test_an_erased_person_goes_on_making_a_phone_shared_and_counts_once_when_back() -> None:
    story = Story(plain_rules(shared_above=2)).states("crm:1", "phone:1").states("billing:1", "phone:1")
    story.states("loyalty:1", "phone:1").erase("loyalty:1")
    assert story.customers() == {"crm:1": "crm:1", "billing:1": "billing:1"}
    wide = Story(plain_rules(shared_above=3)).states("crm:1", "phone:1").states("billing:1", "phone:1")
    wide.states("loyalty:1", "phone:1").erase("loyalty:1").states("loyalty:1", "phone:1")
    assert wide.customers() == {"crm:1": "billing:1 crm:1 loyalty:1"}


def test_an_erasure_read_early_voids_what_is_read_late() -> None:
    facts = [
        LinkFact("crm:1", CRM, 3, 3, "phone:1"),
        LinkFact("crm:1", CRM, 4, 4, "email:ada"),
        LinkFact("crm:1", CRM, 5, 5, command="erased"),
        LinkFact("billing:1", CRM, 6, 6, "phone:1"),
        LinkFact("web:1", WEB, 7, 7, "email:ada"),
    ]
    for order in permutations(facts):
        graph = Graph(plain_rules(shared_above=1), MemoryNodes())
        for position, fact in enumerate(order, 1):
            graph.apply(fact, position)
        placed = [graph.placement_of(name) for name in ("crm:1", "billing:1", "web:1")]
        assert placed[0] is None
        assert [(one.members, one.statuses) for one in placed if one] == [
            (("billing:1",), {"phone:1": "shared"}),
            (("web:1",), {}),
        ]


def test_an_erased_person_who_was_unlinked_does_not_make_a_phone_shared() -> None:
    story = Story(plain_rules(shared_above=2)).states("crm:1", "phone:1").states("billing:1", "phone:1")
    story.unlink("loyalty:1", "phone:1").states("loyalty:1", "phone:1").erase("loyalty:1")
    assert story.customers() == {"crm:1": "billing:1 crm:1"}
