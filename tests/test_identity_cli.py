"""The commands `scv identity …` on a whole installation: embedded servers and a worker process."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
import redis

from eventlog.processes import free_port
from eventlog.producing import LogProducer
from eventlog.reading import read_topic
from models.catalogue import COMMAND_TOPIC, DOMAIN_TOPICS, MERGES_TOPIC, link_topic
from models.identifiers import customer_id
from ops import cli
from ops.failures import LINE_MAX, Exit
from ops.identity_command import decide
from ops.identity_suggest_command import ACTOR
from ops.installation import Installation
from stores.candidates import CandidatePair
from tests.identity_cli_world import KEYS, PEOPLE, Said, event, merges, profile, settle

SAID_BY = ("--actor", "E-7", "--reason", "seen both passports")


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with Installation() as running:
        running.start_worker()
        with LogProducer(running.settings.kafka) as producer:
            for subject, value in PEOPLE.items():
                producer.produce("marketing.events", subject.encode(), value)
        settle(running)
        yield running


@pytest.fixture
def view(installation: Installation) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(installation.settings.redis) as client:
        yield client


@pytest.fixture
def scv(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    for name, address in installation.addresses.items():
        monkeypatch.setenv(name, address)

    def ran(*arguments: str) -> Said:
        code = cli.run(["identity", *arguments])
        said = capsys.readouterr()
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", said.out + said.err)
        return Said(code, said.out, said.err)

    return ran


def test_linked_people_are_one_and_unlinked_both_are_what_they_were(scv: Any, view: redis.Redis):
    before = {founder: profile(view, founder) for founder in ("crm:1", "shop:1")}
    assert all(b"identity" in one for one in before.values())
    said = scv("link", "crm:1", "shop:1", *SAID_BY, "--json")
    assert said.code == Exit.OK
    answer = said.answer
    assert (answer["topic"], answer["partition"], answer["shown"]) == (COMMAND_TOPIC, 0, True)
    assert answer["event"]["data"] == {
        "subject": "crm:1", "other": "shop:1", "actor": "E-7", "reason": "seen both passports"
    }  # fmt: skip
    assert answer["together"] is True
    [customer] = answer["standing"][0]["customers"]
    assert customer["members"] == ["crm:1", "shop:1"]
    survivor, gone = customer["founder"], ({"crm:1", "shop:1"} - {customer["founder"]}).pop()
    both = profile(view, survivor)
    assert b"Ada" in both[b"identity"] or b"Augusta" in both[b"identity"]
    assert b"one@example.com" in both[b"identity"]
    assert b"uno@example.com" in both[b"identity"]
    assert profile(view, gone) == {b"founder": gone.encode(), b"state": b"merged"}
    # The old id leads to the customer of now.
    assert scv("show", customer_id(gone), "--json").answer["graph"]["founder"] == survivor
    said = scv("unlink", "shop:1", "crm:1", *SAID_BY)
    assert said.code == Exit.OK
    assert "written: identity.unlink shop:1 – crm:1 by E-7, identity.commands[0]@" in said.out
    assert "belong to different customers now" in said.out
    for founder, was in before.items():
        assert profile(view, founder) == was


def test_the_record_lies_where_the_command_says(scv: Any, installation: Installation):
    answer = scv("link", "crm:1", "email: New@Example.com", *SAID_BY, "--wait", "0", "--json").answer
    [record] = [
        one
        for one in read_topic(installation.settings.kafka, COMMAND_TOPIC)
        if one.offset == answer["offset"]
    ]
    assert (record.key, msgspec.json.decode(record.value or b"")) == (b"crm:1", answer["event"])
    assert (answer["shown"], answer["together"], answer["standing"]) == (False, None, [])


def test_a_view_that_does_not_hear_in_time_is_code_6_and_the_command_is_written(
    scv: Any, installation: Installation
):
    end = installation.ends((COMMAND_TOPIC,))
    said = scv("link", "crm:1", "email:later@example.com", *SAID_BY, "--generation", "g9", "--wait", "0.1")
    assert said.code == Exit.PARTLY
    assert "written: identity.link" in said.out
    assert "generation g9 has not shown it in 0.1 s; is a worker running?" in said.err
    assert sum(installation.ends((COMMAND_TOPIC,)).values()) == sum(end.values()) + 1


def test_a_subject_that_nobody_has_seen_is_pointed_out(scv: Any):
    said = scv("link", "crm:6", "crm:typo", *SAID_BY)
    assert said.code == Exit.OK
    assert "No event has been about crm:typo yet" in said.out
    assert scv("unlink", "crm:6", "crm:typo", *SAID_BY).code == Exit.OK


def test_a_program_is_told_that_a_person_has_the_last_word(scv: Any):
    assert scv("unlink", "crm:6", "shop:6", *SAID_BY).code == Exit.OK
    said = scv("link", "crm:6", "shop:6", "--actor", ACTOR, "--reason", "p = 0.99")
    assert "crm:6 and shop:6 belong to different customers still" in said.out
    assert "A program's link obeys the rules and every word of a person." in said.out


@pytest.mark.parametrize(
    "subject, other, code, complaint",
    [
        ("4711", "crm:1", Exit.USAGE, "'4711' is no type:value"),
        ("crm:1 ", "crm:2", Exit.USAGE, "'crm:1 ' is no type:value"),
        ("crm:1", "crm:1", Exit.USAGE, "name two different ones"),
        ("crm:1", "cus_499N3X8XM5CNPS6H", Exit.USAGE, "is a customer; `scv identity show` says its subjects"),
        ("phone:+4930111", "crm:1", Exit.USAGE, "is an identifier, no subject"),
        ("crm:1", "phone:12", Exit.USAGE, "says nothing about a person"),
        ("crm:1", "email:noreply@example.com", Exit.USAGE, "says nothing about a person"),
        ("crm:\x1b[31m1", "crm:2", Exit.USAGE, "subject"),
        ("crm:\udcff", "crm:2", Exit.USAGE, "must be text in UTF-8"),
        ("employee:E-1", "crm:1", Exit.REFUSED, "employees never become customers"),
        ("crm:1", "employee:E-1", Exit.REFUSED, "employees never become customers"),
        ("crm:1", "order:O-9", Exit.REFUSED, "'order:O-9': order:… is a reference: what something is about"),
        ("invoice:I-8", "crm:1", Exit.REFUSED, "'invoice:I-8': invoice:… is a reference"),
        ("crm:1", "customer:cus_499N3X8XM5CNPS6H", Exit.REFUSED, "customer:… is kept for customer ids"),
    ],
)
def test_what_is_no_pair_is_one_line_and_nothing_is_written(
    subject: str, other: str, code: int, complaint: str, capsys: pytest.CaptureFixture[str]
):
    # No server runs at these addresses: none is asked.
    away = ["--kafka", f"127.0.0.1:{free_port()}", "--redis", f"redis://127.0.0.1:{free_port()}/0"]
    for verb in ("link", "unlink"):
        assert cli.run(["identity", verb, subject, other, *SAID_BY, *away]) == code
        said = capsys.readouterr().err
        assert complaint in said
        assert (said.count("\n"), "\x1b" in said, len(said) <= LINE_MAX + 20) == (1, False, True)


def test_actor_and_reason_have_their_limits(scv: Any):
    assert "actor: " in scv("link", "crm:1", "crm:2", "--actor", "", "--reason", "x").err
    assert "reason: " in scv("link", "crm:1", "crm:2", "--actor", "E-7", "--reason", "x" * 5_000).err
    assert scv("link", "crm:1", "crm:2", "--actor", "E-7").code == Exit.USAGE
    for name, actor, reason in (("actor", " ", "x"), ("reason", "E-7", ""), ("reason", "E-7", " \u2003")):
        said = scv("link", "crm:1", "crm:2", "--actor", actor, "--reason", reason)
        assert (said.code, said.err.count("\n"), f"{name}: " in said.err) == (Exit.USAGE, 1, True)
    said = scv("link", "crm:1", "crm:2", "--actor", "Matcher/", "--reason", "x")
    assert (said.code, "matcher/ is no actor; name the program" in said.err) == (Exit.USAGE, True)


def test_servers_that_are_away_are_code_7(scv: Any, tmp_path: Path):
    kafka, store = f"127.0.0.1:{free_port()}", f"redis://127.0.0.1:{free_port()}/0"
    (tmp_path / "rules.toml").write_text("")
    for arguments in (
        ("link", "crm:1", "crm:2", *SAID_BY, "--kafka", kafka),
        ("link", "crm:1", "crm:2", *SAID_BY, "--redis", store),
        ("show", "crm:1", "--redis", store),
        ("candidates", "--redis", store),
        ("dry-run", "--rules", str(tmp_path / "rules.toml"), "--redis", store),
        ("contamination", "--merge", "mrg_1", "--redis", store),
    ):
        said = scv(*arguments)
        assert (said.code, said.err.count("\n")) == (Exit.AWAY, 1)


def test_show_draws_one_customer_in_the_terminal_and_as_svg(scv: Any, tmp_path: Path):
    said = scv("show", "web:2", "--svg", str(tmp_path / "graph.svg"))
    assert said.code == Exit.OK
    for words in (
        "2 members",
        "crm:2  first seen",
        "founder",
        "web:2",
        "email:two@example.com  linking, stated",
    ):
        assert words in said.out
    assert "card:C-\ufffd[31m2" in said.out
    assert "phone:+49309009000  shared, stated, stated by 7 people" in said.out
    root = ElementTree.parse(tmp_path / "graph.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    graph = scv("show", "web:2", "--json").answer["graph"]
    assert graph["customer_id"] in root[0].text
    assert [one["subject"] for one in graph["members"]] == ["crm:2", "web:2"]


@pytest.mark.parametrize("name", ["crm:2", "email:TWO@example.com", "id"])
def test_a_customer_is_shown_by_any_of_its_names(name: str, scv: Any):
    name = customer_id("crm:2") if name == "id" else name
    assert scv("show", name, "--json").answer["graph"]["founder"] == "crm:2"


def test_an_identifier_of_several_is_never_picked_from(scv: Any):
    said = scv("show", "phone:030 9009000", "--json")
    answer = said.answer
    assert (said.code, answer["match"], answer["graph"]) == (Exit.OK, "ambiguous", None)
    assert {one["status"] for one in answer["candidates"]} == {"shared"}
    said = scv("show", "phone:030 9009000")
    assert "6 or more customers answer to phone:030 9009000" in said.out


def test_nobody_is_code_4(scv: Any):
    said = scv("show", "crm:nobody")
    assert (said.code, "nobody is known as 'crm:nobody' in generation g1" in said.err) == (
        Exit.NOT_FOUND,
        True,
    )
    assert scv("show", "cus_0000000000000000").code == Exit.NOT_FOUND
    assert scv("show", "crm:nobody", "--json").answer["match"] == "none"
    assert "no customer id and no type:value" in scv("show", "rubbish").err


def test_candidates_come_with_commands_and_go_when_a_person_has_judged(scv: Any, view: redis.Redis):
    suggested = CandidatePair(
        "crm:5", "shop:5", "crm:5", "shop:5", 12.5, 0.9998, ACTOR, "2026-03-01T10:00:00Z"
    )
    view.hset(KEYS.candidates, suggested.field, msgspec.json.encode(suggested))
    answer = scv("candidates", "--json").answer
    pairs = {tuple(one["founder"] for one in pair["customers"]): pair for pair in answer["candidates"]}
    assert next(iter(pairs)) == ("crm:5", "shop:5")
    assert pairs["crm:5", "shop:5"]["probability"] == 0.9998
    by_phone = pairs["crm:3", "crm:4"]
    assert (by_phone["via"], by_phone["strength"], by_phone["probability"]) == (["phone"], 50, None)
    assert [one["display_name"] for one in by_phone["customers"]] == ["Mary", "Marie"]
    assert (answer["oversized"], answer["complete"]) == ([], True)
    assert scv("candidates", "--limit", "1", "--json").answer["more"] is True
    said = scv("candidates").out
    line = by_phone["unlink"]
    assert line in said
    # As printed, but for who and why.
    scv_identity, *arguments = shlex.split(line.replace("YOU", "E-7").replace("…", "twins"))[1:]
    assert scv_identity == "identity"
    assert scv(*arguments).code == Exit.OK
    assert scv("link", "crm:5", "shop:5", *SAID_BY).code == Exit.OK
    left = scv("candidates", "--json").answer["candidates"]
    founders = {one["founder"] for pair in left for one in pair["customers"]}
    assert not founders & {"crm:3", "crm:4", "crm:5", "shop:5"}
    assert scv("unlink", "crm:5", "shop:5", *SAID_BY).code == Exit.OK


def test_a_dry_run_tells_differences_and_changes_nothing(
    scv: Any, installation: Installation, view: redis.Redis, tmp_path: Path
):
    def world() -> tuple[Any, Any]:
        settings = installation.settings
        topics = [*DOMAIN_TOPICS, COMMAND_TOPIC, link_topic("g1"), MERGES_TOPIC, "scv.changes"]
        links = {key: view.dump(key) for key in view.scan_iter("scv:g1:{links}:node:*")}
        return installation.ends(tuple(topics)), (settings.generation, links)

    rules = tmp_path / "new.toml"
    rules.write_text("shared_above = 20\n[subjects.crm]\nmax_per_customer = 9\n")
    before = world()
    said = scv("dry-run", "--rules", str(rules), "--json")
    assert said.code == Exit.DIFFERENCES
    answer = said.answer
    assert answer["customers_after"] < answer["customers_before"]
    assert (answer["merged"] >= 7, answer["split"], answer["exchanged"]) == (True, 0, 0)
    [worst] = [one for one in answer["worst"] if "crm:2" in one["after"][0]["members"]]
    assert worst["moved"] == 6
    assert {"subject": "crm:2", "other": "phone:+49309009000", "before": "shared", "after": "linking",
            "strength": "stated"} in worst["edges"]  # fmt: skip
    assert "would merge with others" in scv("dry-run", "--rules", str(rules), "--limit", "1").out
    rules.write_text("shared_above = 5")
    said = scv("dry-run", "--rules", str(rules))
    assert (said.code, "nothing would change" in said.out) == (Exit.OK, True)
    assert world() == before
    said = scv("dry-run", "--rules", str(rules), "--generation", "g9")
    assert (said.code, "no generation g9 there" in said.err) == (Exit.NOT_FOUND, True)
    rules.write_text("shared = 5")
    said = scv("dry-run", "--rules", str(rules))
    assert (said.code, "new.toml: shared: there is no such rule" in said.err) == (Exit.USAGE, True)


def test_after_a_wrong_merge_each_side_knows_what_the_other_saw(scv: Any, installation: Installation):
    assert scv("link", "crm:6", "billing:5", *SAID_BY).code == Exit.OK
    [merge] = [
        one["id"]
        for one in merges(installation)
        if {"crm:6", "billing:5"} <= {*one["data"]["after"][0]["members"]}
    ]
    open_yet = scv("contamination", "--merge", merge, "--json").answer
    assert (open_yet["until"], open_yet["merge"]["kind"]) == (None, "merged")
    with LogProducer(installation.settings.kafka) as producer:
        value = event("crm:6", ("email", "six@example.com"), given_name="Grace", family_name="Hopper")
        producer.produce("marketing.events", b"crm:6", value)
    settle(installation)
    assert scv("unlink", "crm:6", "billing:5", *SAID_BY).code == Exit.OK
    told = scv("contamination", "--merge", merge, "--json").answer
    assert told["until"]["rule"] == "unlinked_by_person"
    assert told["merge"]["edges"][0]["reason"] == "seen both passports"
    [span] = told["customers"]
    assert (span["since"], span["until"]) == (told["merge"]["position"], told["until"]["position"])
    # The merge itself, and the event that came while it held.
    published = told["published"]["notices"]
    assert told["published"]["at_least"] == len(published) >= 2
    assert {one["customer_id"] for one in published} == {span["customer_id"]}
    sides = {one["founder"]: one for one in told["sides"]}
    [grace] = [one for one in sides["billing:5"]["saw"] if one["subject"] == "crm:6"]
    assert (grace["display_name"], grace["identifiers"]) == ("Grace Hopper", ["email:six@example.com"])
    [lane] = grace["lanes"]
    assert (lane["records"], "identity" in lane["sections"]) == (2, True)
    assert [one["subject"] for one in sides["crm:6"]["saw"]] == ["billing:5"]
    said = scv("contamination", "--merge", merge)
    for words in ("It held until", "Published meanwhile, at least", "Grace Hopper; email:six@example.com"):
        assert words in said.out
    said = scv("contamination", "--merge", told["until"]["id"])
    assert (said.code, "name a merge" in said.err) == (Exit.USAGE, True)


def test_a_merge_that_is_none_is_code_4(scv: Any):
    said = scv("contamination", "--merge", "mrg_none")
    assert (said.code, "customer.merges has no 'mrg_none' of generation g1" in said.err) == (
        Exit.NOT_FOUND,
        True,
    )


def test_a_store_without_a_view_is_code_4(embedded_store: Any, capsys: pytest.CaptureFixture[str]):
    redis.Redis.from_url(embedded_store.url).flushall()
    for arguments in (["show", "crm:1"], ["candidates"], ["link", "crm:1", "crm:2", *SAID_BY]):
        assert cli.run(["identity", *arguments, "--redis", embedded_store.url]) == Exit.NOT_FOUND
        assert "no view there yet; the first `scv worker` makes it" in capsys.readouterr().err


def test_a_decision_names_pairs_as_the_graph_does(installation: Installation):
    rules = installation.settings.identity_rules
    decision = decide("link", "crm:1", "phone:030 901820", "E-7", "x", rules)
    assert decision.ends == ("crm:1", "phone:+4930901820")
    decision = decide("link", "crm:1", "crm:2", " Matcher/x", "x", rules)
    assert (decision.event["data"]["actor"], decision.fact.by_program) == ("matcher/x", True)
