"""The identity rules: what holds without a file, what a file changes, and what a wrong one says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.identifiers import BLOCKED_VALUES, normalise
from models.rule_mistakes import MISTAKES_TOLD
from models.rules import (
    BLOCKED_MAX,
    Blocked,
    IdentifierRule,
    IdentityRules,
    RulesError,
    SubjectRule,
    read_rules,
)

DEFAULTS = IdentityRules()
MANY = [str(number) for number in range(BLOCKED_MAX + 1)]
PAGE = Path(__file__).parent.parent / "docs" / "identity.md"


def rules_of(text: str, tmp_path: Path) -> IdentityRules:
    """The rules of a file that holds this text."""
    path = tmp_path / "rules.toml"
    path.write_text(text)
    return read_rules(path)


def test_without_a_file_the_defaults_hold() -> None:
    assert read_rules(None) == DEFAULTS
    assert (DEFAULTS.region, DEFAULTS.shared_above, DEFAULTS.component_max) == ("DE", 5, 1_000)
    assert DEFAULTS.subject("crm") == SubjectRule(strength=90)
    assert DEFAULTS.identifier("phone") == IdentifierRule(strength=50, form="phone")
    for namespace in ("crm", "billing", "shop", "sales", "support", "service", "loyalty"):
        assert DEFAULTS.counts(namespace) and 70 <= DEFAULTS.subject(namespace).strength <= 90
    for namespace in ("web", "app", "device", "cookie"):
        assert not DEFAULTS.counts(namespace) and DEFAULTS.subject(namespace).max_per_customer is None
        assert 20 <= DEFAULTS.subject(namespace).strength <= 30


def test_a_namespace_that_nobody_declared_is_a_person_of_middling_strength() -> None:
    assert DEFAULTS.subject("erp") == SubjectRule(strength=50, person=True, max_per_customer=1)
    assert DEFAULTS.counts("erp") and not DEFAULTS.declares("erp") and DEFAULTS.declares("crm")
    assert DEFAULTS.identifier("passport") == IdentifierRule(strength=40)


def test_an_identifier_that_is_a_subject_has_the_strength_of_its_namespace() -> None:
    assert DEFAULTS.identifier("crm") == IdentifierRule(strength=90, max_per_customer=1)
    assert DEFAULTS.identifier("web").max_per_customer is None


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert rules_of("", tmp_path) == DEFAULTS
    assert rules_of("# nothing yet\n[subjects]\n[blocked]\n", tmp_path).shape == DEFAULTS.shape


def test_a_file_replaces_only_the_keys_it_names(tmp_path: Path) -> None:
    rules = rules_of(
        """
        shared_above = 3
        [subjects.crm]
        region = "AT"
        [subjects.erp]
        strength = 88
        [identifiers.email]
        strength = 60
        [other_subjects]
        person = false
        """,
        tmp_path,
    )
    assert (rules.shared_above, rules.region) == (3, "DE")
    assert rules.subject("crm") == SubjectRule(strength=90, region="AT")
    assert rules.subject("erp") == SubjectRule(strength=88) and rules.declares("erp")
    assert rules.subject("shop") == DEFAULTS.subject("shop")
    assert rules.identifier("email") == IdentifierRule(strength=60, form="email")
    assert rules.subject("else") == SubjectRule(strength=50, person=False, max_per_customer=None)


def test_zero_per_customer_means_no_limit(tmp_path: Path) -> None:
    rules = rules_of("[subjects.shop]\nmax_per_customer = 0", tmp_path)
    assert rules.subject("shop").max_per_customer is None and rules.subject("shop").person
    assert not rules.counts("shop")


def test_without_a_limit_of_its_own_a_person_has_one_and_anything_else_any_number(tmp_path: Path) -> None:
    rules = rules_of("[subjects.crm]\nperson = false\n[subjects.web]\nperson = true", tmp_path)
    assert rules.subject("crm").max_per_customer is None
    assert rules.subject("web").max_per_customer == 1 and rules.counts("web")


def test_a_kind_may_have_its_own_threshold_of_sharing(tmp_path: Path) -> None:
    rules = rules_of("shared_above = 4\n[identifiers.phone]\nshared_above = 2", tmp_path)
    assert (rules.shared_limit("phone"), rules.shared_limit("email"), rules.shared_limit("new")) == (2, 4, 4)


def test_a_name_under_the_other_heading_is_what_the_file_says(tmp_path: Path) -> None:
    rules = rules_of("[identifiers.loyalty]\nstrength = 65\n[subjects.email]\nperson = false", tmp_path)
    assert not rules.declares("loyalty") and rules.identifier("loyalty").strength == 65
    assert rules.declares("email") and rules.identifier("email").form == "text"


def test_phones_are_read_in_the_region_of_their_source(tmp_path: Path) -> None:
    rules = rules_of('region = "GB"\n[subjects.crm]\nregion = "US"', tmp_path)
    assert rules.normalise("phone", "212 555 0100", "crm") == "+12125550100"
    assert rules.normalise("phone", "020 7946 0958", "shop") == "+442079460958"
    assert rules.normalise("phone", "020 7946 0958") == "+442079460958"
    assert rules.normalise("phone", "+49 30 901820", "crm") == "+4930901820"
    assert (rules.region_of("crm"), rules.region_of("nobody")) == ("US", "GB")


def test_what_a_file_blocks_comes_on_top_of_what_is_always_blocked(tmp_path: Path) -> None:
    rules = rules_of(
        """
        [blocked]
        values = ["Walk-In", "+49 30 90-18-20"]
        mailboxes = ["Kasse@"]
        allowed = ["123456"]
        """,
        tmp_path,
    )
    for value in ("walk-in", " WALK-IN ", "null", "unknown"):
        assert rules.normalise("loyalty_card", value) is None
    assert rules.normalise("phone", "030 / 90 18 20") is None, "blocked in the form it has"
    assert rules.normalise("email", "kasse@shop.example") is None
    assert rules.normalise("email", "noreply@shop.example") is None
    assert rules.normalise("customer_number", "123456") == "123456"
    assert DEFAULTS.normalise("customer_number", "123456") is None


@pytest.mark.parametrize(
    "form, value, normal",
    [
        ("text", " A b ", "A b"),
        ("lower", "A b", "a b"),
        ("upper", "l-77", "L-77"),
        ("digits", "12-34 5", "12345"),
        ("digits", "none here", None),
        ("digits", "00-00-00", None),
        ("email", "Ada@Example.com", "ada@example.com"),
        ("phone", "030 901820", "+4930901820"),
    ],
)
def test_a_kind_has_the_form_that_its_rule_names(
    form: str, value: str, normal: str | None, tmp_path: Path
) -> None:
    rules = rules_of(f'[identifiers.card]\nform = "{form}"', tmp_path)
    assert rules.normalise("card", value) == normal
    assert rules.parse(f"card:{value}") == (None if normal is None else ("card", normal))


@settings(max_examples=500, derandomize=True, deadline=None)
@given(st.sampled_from([*DEFAULTS.identifiers, *DEFAULTS.subjects, "other"]), st.text(max_size=30))
def test_normalising_twice_changes_nothing(kind: str, value: str) -> None:
    once = DEFAULTS.normalise(kind, value)
    assert once is None or (once and DEFAULTS.normalise(kind, once) == once)
    if kind in ("email", "phone", "cookie"):
        assert once == normalise(kind, value), "the defaults are what identifiers.normalise says"


@pytest.mark.parametrize("kind", ["crm", "email", "customer_number"])
def test_the_defaults_block_what_stands_for_nothing(kind: str) -> None:
    assert all(DEFAULTS.normalise(kind, value) is None for value in BLOCKED_VALUES)


def test_an_employee_is_no_identifier() -> None:
    assert DEFAULTS.normalise("employee", "E-7") is None
    assert DEFAULTS.parse("employee:E-7") is None


def test_rules_that_say_the_same_have_the_same_shape(tmp_path: Path) -> None:
    one = rules_of("[subjects.a]\nstrength = 7\n[subjects.b]\n[blocked]\nvalues = ['x', 'Y']", tmp_path)
    other = rules_of(
        "[blocked]\nvalues = ['y', ' X']\n[subjects.b]\nstrength = 50\n[subjects.a]\nstrength = 7", tmp_path
    )
    assert one == other and hash(one) == hash(other) and one.shape == other.shape
    assert re.fullmatch(r"[0-9a-f]{16}", one.shape)


@pytest.mark.parametrize(
    "text",
    [
        "region = 'US'",
        "shared_above = 6",
        "component_max = 999",
        "subjects.crm.strength = 89",
        "subjects.crm.person = false",
        "subjects.crm.max_per_customer = 2",
        "subjects.crm.region = 'DE'",
        "subjects.new.strength = 50",
        "identifiers.email.strength = 71",
        "identifiers.email.max_per_customer = 3",
        "identifiers.email.shared_above = 5",
        "identifiers.person_key.form = 'upper'",
        "other_subjects.strength = 49",
        "other_identifiers.form = 'lower'",
        "blocked.values = ['walk-in']",
        "blocked.mailboxes = ['kasse@']",
        "blocked.allowed = ['test']",
    ],
)
def test_every_rule_is_in_the_shape(text: str, tmp_path: Path) -> None:
    assert rules_of(text, tmp_path).shape != DEFAULTS.shape


def test_rules_cannot_be_changed_once_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        DEFAULTS.region = "US"  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        DEFAULTS.subject("crm").strength = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "text, told",
    [
        ("regoin = 'DE'", "regoin: there is no such rule; did you mean region?"),
        ("colour = 1", "colour: there is no such rule; there are: region, shared_above, component_max,"),
        ("region = 'XX'", "region: 'XX' has no numbering plan; give a country in two capitals"),
        ("region = 'de'", "region: 'de' has no numbering plan"),
        ("region = 49", "region: 49 is not a text"),
        ("shared_above = 0", "shared_above: 0 is out of range; give at least 1"),
        ("shared_above = 101", "shared_above: 101 is out of range; give at most 100"),
        ("shared_above = true", "shared_above: True is not a whole number"),
        ("component_max = 1", "component_max: 1 is out of range; give at least 2"),
        ("component_max = 1e3", "component_max: 1000.0 is not a whole number"),
        ("subjects = 'crm'", "[subjects]: 'crm' is no table; write it as [subjects]"),
        ("subjects.crm = 90", "[subjects.crm]: 90 is no table; write it as [subjects.crm]"),
        ("[subjects.CRM]", "[subjects.CRM]: is no namespace; write a to z first"),
        ("[subjects.crm]\nstrenght = 9", "[subjects.crm] strenght: there is no such rule; did you mean"),
        ("[subjects.crm]\nstrength = '9'", "[subjects.crm] strength: '9' is not a whole number"),
        ("[subjects.crm]\nstrength = 101", "[subjects.crm] strength: 101 is out of range; give at most 100"),
        ("[subjects.crm]\nperson = 'no'", "[subjects.crm] person: 'no' is not true or false"),
        ("[subjects.crm]\nmax_per_customer = -1", "[subjects.crm] max_per_customer: -1 is out of range"),
        ("[subjects.crm]\nmax_per_customer = false", "[subjects.crm] max_per_customer: False is not a whole"),
        ("[subjects.crm]\nregion = 'EU'", "[subjects.crm] region: 'EU' has no numbering plan"),
        ("[subjects.employee]", "[subjects.employee]: employees never become customers; take this table out"),
        ("[identifiers.employee]", "[identifiers.employee]: employees never become customers"),
        ("[subjects.customer]", "[subjects.customer]: look-ups read customer:… as a customer id; take this"),
        ("[identifiers.customer]", "[identifiers.customer]: look-ups read customer:… as a customer id"),
        ("[identifiers.order]", "[identifiers.order]: references say what something is about, not who"),
        ("[identifiers.case]", "[identifiers.case]: references say what something is about"),
        ("[subjects.invoice]", "[subjects.invoice]: references say what something is about"),
        ("[subjects.a]\n[identifiers.a]", "[subjects.a]: is under [identifiers] too; what writes events"),
        ("[identifiers.email]\nperson = true", "[identifiers.email] person: there is no such rule; there"),
        ("[identifiers.email]\nform = 'mail'", "[identifiers.email] form: 'mail' is no form; give one"),
        ("[identifiers.email]\nshared_above = 0", "[identifiers.email] shared_above: 0 is out of range"),
        ("[other_subjects]\nstrength = 0", "[other_subjects] strength: 0 is out of range; give at least 1"),
        ("blocked = ['x']", "blocked: ['x'] is no table; write it as [blocked]"),
        ("[blocked]\nvalues = 'x'", "[blocked] values: 'x' is no list; write it as ['x']"),
        ("[blocked]\nvalues = [0]", "[blocked] values: 0 is not a text"),
        ("[blocked]\nvalues = ['']", "[blocked] values: an empty text is blocked anyway; take it out"),
        ("[blocked]\nmailboxes = ['kasse']", "[blocked] mailboxes: 'kasse' is no mailbox; write it as"),
        (f"[blocked]\nvalues = {MANY}", "[blocked] values: more than 1000 with those of scv"),
        ("".join(f"[subjects.s{n}]\n" for n in range(200)), "[subjects]: more than 200"),
        ("region = ", "not TOML: "),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_line_with_the_key_what_is_wrong_and_what_to_do(
    text: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(RulesError) as wrong:
        rules_of(text, tmp_path)
    line = str(wrong.value)
    assert line.startswith(f"{tmp_path / 'rules.toml'}: ") and told in line and "\n" not in line


def test_all_mistakes_of_a_file_are_told_a_line_each(tmp_path: Path) -> None:
    wrong = """
        regoin = "AT"
        shared_above = 0
        [subjects.crm]
        strength = 101
        [subjects.employee]
        [subjects.phone]
        [identifiers.phone]
        form = "mail"
        [subjects.tax]
        [identifiers.tax]
        [blocked]
        mailboxes = ["kasse", "filiale"]
    """
    with pytest.raises(RulesError) as refused:
        rules_of(wrong, tmp_path)
    first, *others = str(refused.value).split("\n")
    assert first == f"{tmp_path / 'rules.toml'}: 9 mistakes"
    assert sorted(line.split(":")[0] for line in others) == sorted(
        ["regoin", "shared_above", "[subjects.crm] strength", "[subjects.employee]", "[subjects.phone]",
         "[identifiers.phone] form", "[subjects.tax]", "[blocked] mailboxes", "[blocked] mailboxes"]
    )  # fmt: skip


def test_of_a_great_many_mistakes_the_first_are_told_and_the_others_counted(tmp_path: Path) -> None:
    with pytest.raises(RulesError) as refused:
        rules_of("".join(f"[subjects.s{number}]\nstrength = 0\n" for number in range(60)), tmp_path)
    lines = str(refused.value).split("\n")
    assert (lines[0], lines[-1]) == (f"{tmp_path / 'rules.toml'}: 60 mistakes", "… and 10 more")
    assert len(lines) == 1 + MISTAKES_TOLD + 1


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"no such file; name a TOML file in SCV_RULES"):
        read_rules(tmp_path / "rules.toml")
    with pytest.raises(RulesError, match=r"directory; name a TOML file that can be read"):
        read_rules(tmp_path)
    (tmp_path / "latin.toml").write_bytes("# Müller".encode("latin-1"))
    with pytest.raises(RulesError, match=r"is no text in UTF-8; save it as such"):
        read_rules(tmp_path / "latin.toml")


def test_models_made_in_code_obey_the_same_limits() -> None:
    with pytest.raises(ValueError, match="out of range|less than or equal"):
        SubjectRule(strength=101)
    with pytest.raises(ValueError, match="mailboxes"):
        Blocked(mailboxes=("kasse",))
