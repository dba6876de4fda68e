"""The identity rules: which names belong to persons, how strongly each links, and what links nobody.

Invariants:
- One TOML file says what differs from the defaults: a namespace named there replaces only the keys it names.
- A wrong file is one line: the file, the key, what is wrong, what to do; of several mistakes each has one.
- Rules cannot be changed once read; rules that say the same have the same `shape`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
import pydantic
from phonenumbers import SUPPORTED_REGIONS
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from models.identifiers import (
    BLOCKED_MAILBOXES,
    BLOCKED_VALUES,
    CUSTOMER_NAMESPACE,
    EMPLOYEE_NAMESPACE,
    NEVER_LINKING,
    REFERENCE_TYPES,
    normal_form,
    split_name,
)
from models.rule_mistakes import PAGE, told, twice

# One entry a source system or kind of number: a company with more of them has a file nobody can check.
NAMESPACES_MAX = 200
BLOCKED_MAX = 1_000
MAILBOXES_MAX = 100
# Beyond it a limit per customer means nothing: it is the size of a whole component.
PER_CUSTOMER_MAX = 1_000
# Values that are not normalised again at every event; 64 Ki of them are about 20 MB.
NORMALISED_KEPT = 65_536

_RESERVED = {
    **dict.fromkeys(REFERENCE_TYPES, "references say what something is about, not who somebody is"),
    EMPLOYEE_NAMESPACE: "employees never become customers",
    CUSTOMER_NAMESPACE: "look-ups read customer:… as a customer id",
}


def _known_region(region: str) -> str:
    if region not in SUPPORTED_REGIONS:
        raise ValueError(
            f"{region!r} has no numbering plan; give a country in two capitals (ISO 3166), as DE"
        )
    return region


def _not_reserved(namespace: str) -> str:
    if namespace in _RESERVED:
        raise ValueError(f"{_RESERVED[namespace]}; take this table out")
    return namespace


def _folded(values: Any) -> Any:
    """Spellings that mean the same, once each and in one order."""
    if not isinstance(values, list | tuple | set | frozenset):
        return values
    texts = [value.strip().casefold() if isinstance(value, str) else value for value in values]
    return tuple(sorted(set(texts))) if all(isinstance(text, str) for text in texts) else tuple(texts)


Strength = Annotated[int, Field(ge=1, le=100)]
SharedAbove = Annotated[int, Field(ge=1, le=100)]
PerCustomer = Annotated[int, Field(ge=1, le=PER_CUSTOMER_MAX)]
Region = Annotated[str, AfterValidator(_known_region)]
Namespace = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,31}$"), AfterValidator(_not_reserved)]
BlockedValue = Annotated[str, Field(min_length=1, max_length=200)]
Mailbox = Annotated[str, Field(pattern=r"^[^\s@]{1,64}@$")]
Form = Literal["text", "lower", "upper", "digits", "email", "phone"]


class RulesError(ValueError):
    """The rules cannot be used; each of `lines` says what is wrong and what to do, the first one where."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class _Table(BaseModel):
    """A table of the file: no text is read as a number, no key is left unread."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _say_no_limit(cls, table: Any) -> Any:
        """TOML has no null: `max_per_customer = 0` is how a file says that there is no limit."""
        if not isinstance(table, Mapping) or "max_per_customer" not in table:
            return table
        limit = table["max_per_customer"]
        return {**table, "max_per_customer": None} if limit == 0 and type(limit) is int else table


class SubjectRule(_Table):
    """A source's namespace. `region`: the numbering plan of its phones, where it is not that of all."""

    strength: Strength = 50
    person: bool = True
    max_per_customer: PerCustomer | None = 1
    region: Region | None = None

    @model_validator(mode="before")
    @classmethod
    def _limit_persons_only(cls, table: Any) -> Any:
        """Where no limit is given, a person has one customer number and any number of cookies."""
        if isinstance(table, Mapping) and table.get("person") is False:
            return {"max_per_customer": None, **table}
        return table


class IdentifierRule(_Table):
    """A kind of identifier. `shared_above`: its own threshold, where it is not that of all."""

    strength: Strength = 50
    max_per_customer: PerCustomer | None = None
    shared_above: SharedAbove | None = None
    form: Form = "text"


class Blocked(_Table):
    """What stands for nobody: whole values of any kind, and mailboxes (`noreply@`); both in any case.

    `allowed` are values that scv would block by itself and that are real here, as a customer number 123456.
    """

    values: Annotated[tuple[BlockedValue, ...], BeforeValidator(_folded), Field(max_length=BLOCKED_MAX)] = ()
    mailboxes: Annotated[tuple[Mailbox, ...], BeforeValidator(_folded), Field(max_length=MAILBOXES_MAX)] = ()
    allowed: Annotated[tuple[BlockedValue, ...], BeforeValidator(_folded), Field(max_length=BLOCKED_MAX)] = ()


# As a file would say it. Numbers that somebody checked come first, those of a browser last.
_SUBJECTS: dict[str, dict[str, Any]] = {
    "crm": {"strength": 90},
    "billing": {"strength": 85},
    "sales": {"strength": 80},
    "shop": {"strength": 80},
    "service": {"strength": 75},
    "support": {"strength": 75},
    "loyalty": {"strength": 70},
    "app": {"strength": 30, "person": False},
    "web": {"strength": 25, "person": False},
    "device": {"strength": 25, "person": False},
    "cookie": {"strength": 20, "person": False},
}
_IDENTIFIERS: dict[str, dict[str, Any]] = {
    "customer_number": {"strength": 90, "form": "upper"},
    "loyalty_card": {"strength": 80, "form": "upper"},
    "email": {"strength": 70, "form": "email"},
    "phone": {"strength": 50, "form": "phone"},
    # Name, birth date and postcode, normalised and hashed by the source: twins and namesakes exist.
    "person_key": {"strength": 40, "form": "lower"},
    "advertising_id": {"strength": 25, "form": "lower"},
    "browser_id": {"strength": 20},
    "push_token": {"strength": 20},
}
_OTHER_SUBJECTS: dict[str, Any] = {"strength": 50}
_OTHER_IDENTIFIERS: dict[str, Any] = {"strength": 40}


def _blocked() -> Blocked:
    return Blocked(values=tuple(BLOCKED_VALUES - {""}), mailboxes=BLOCKED_MAILBOXES)


class IdentityRules(_Table):
    """All rules of who is who; without arguments the defaults. `docs/identity.md` explains each."""

    region: Region = "DE"
    shared_above: SharedAbove = 5
    component_max: Annotated[int, Field(ge=2, le=10_000)] = 1_000
    subjects: Annotated[dict[Namespace, SubjectRule], Field(max_length=NAMESPACES_MAX)] = Field(
        default_factory=lambda: {name: SubjectRule(**table) for name, table in _SUBJECTS.items()}
    )
    identifiers: Annotated[dict[Namespace, IdentifierRule], Field(max_length=NAMESPACES_MAX)] = Field(
        default_factory=lambda: {name: IdentifierRule(**table) for name, table in _IDENTIFIERS.items()}
    )
    other_subjects: SubjectRule = SubjectRule(**_OTHER_SUBJECTS)
    other_identifiers: IdentifierRule = IdentifierRule(**_OTHER_IDENTIFIERS)
    blocked: Blocked = Field(default_factory=_blocked)

    @model_validator(mode="after")
    def _one_meaning_each(self) -> Self:
        if both := twice(self.subjects, self.identifiers):
            raise ValueError(both[0])
        return self

    def subject(self, namespace: str) -> SubjectRule:
        """The rule of a subject's namespace; `other_subjects` when it is not declared."""
        return self.subjects.get(namespace, self.other_subjects)

    def identifier(self, kind: str) -> IdentifierRule:
        """The rule of a kind of identifier; for a declared subject namespace that subject's figures."""
        return self._identifier_rules.get(kind, self.other_identifiers)

    def declares(self, namespace: str) -> bool:
        """Whether an identifier of this type is the node of a subject."""
        return namespace in self.subjects

    def region_of(self, namespace: str) -> str:
        """The numbering plan (ISO 3166) of the phones that this source states without a `+`."""
        return self.subject(namespace).region or self.region

    def counts(self, namespace: str) -> bool:
        """Whether subjects of it are counted as persons who share an identifier."""
        rule = self.subject(namespace)
        return rule.person and rule.max_per_customer == 1

    def shared_limit(self, kind: str) -> int:
        """How many counted subjects may state one identifier of this kind before it is shared."""
        return self.identifier(kind).shared_above or self.shared_above

    def normalise(self, kind: str, value: str, source_namespace: str | None = None) -> str | None:
        """The value in its one form, read in this source's region; None when it says nothing of a person."""
        region = self.region if source_namespace is None else self.region_of(source_namespace)
        return self._normal(kind, value, region)

    def parse(self, text: str) -> tuple[str, str] | None:
        """`phone:030 901820` as `("phone", "+4930901820")`; None when it is no identifier."""
        named = split_name(text)
        value = None if named is None else self.normalise(*named)
        return None if named is None or value is None else (named[0], value)

    @cached_property
    def shape(self) -> str:
        """Hash of all of it, 16 hexadecimal digits: other rules build another generation."""
        return sha256(msgspec.json.encode(self.model_dump(), order="deterministic")).hexdigest()[:16]

    @cached_property
    def _identifier_rules(self) -> dict[str, IdentifierRule]:
        nodes = {
            name: IdentifierRule(strength=rule.strength, max_per_customer=rule.max_per_customer)
            for name, rule in self.subjects.items()
        }
        return {**self.identifiers, **nodes}

    @cached_property
    def _normal(self) -> Callable[[str, str, str], str | None]:
        values = frozenset(self.blocked.values) - frozenset(self.blocked.allowed)
        # A phone with its + may be written with blanks in the file, and means all its spellings.
        phones = (
            normal_form("phone", value, self.region, frozenset(), ()) for value in values if value[0] == "+"
        )
        values |= {phone for phone in phones if phone is not None}
        mailboxes = self.blocked.mailboxes

        @lru_cache(maxsize=NORMALISED_KEPT)
        def normal(kind: str, value: str, region: str) -> str | None:
            if kind in NEVER_LINKING:
                return None
            return normal_form(self.identifier(kind).form, value, region, values, mailboxes)

        return normal

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdentityRules) and self.shape == other.shape

    def __hash__(self) -> int:
        return hash(self.shape)


_KEYS = {
    "": list(IdentityRules.model_fields),
    "subjects": list(SubjectRule.model_fields),
    "other_subjects": list(SubjectRule.model_fields),
    "identifiers": list(IdentifierRule.model_fields),
    "other_identifiers": list(IdentifierRule.model_fields),
    "blocked": list(Blocked.model_fields),
}


def read_rules(path: Path | None) -> IdentityRules:
    """The rules of a TOML file over the defaults, the defaults alone for None. RulesError: all mistakes."""
    if path is None:
        return IdentityRules()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RulesError(
            f"{path}: no such file; name a TOML file in SCV_RULES, or unset it for the defaults"
        ) from None
    except OSError as error:
        raise RulesError(f"{path}: {error.strerror}; name a TOML file that can be read") from None
    except UnicodeDecodeError:
        raise RulesError(f"{path}: is no text in UTF-8; save it as such") from None
    except tomllib.TOMLDecodeError as error:
        raise RulesError(f"{path}: not TOML: {error}; {PAGE}") from None
    whole = _over_defaults(document)
    try:
        return IdentityRules.model_validate(whole)
    except pydantic.ValidationError as error:
        raise RulesError(*told(path, error, whole, _KEYS)) from None


def _over_defaults(document: dict[str, Any]) -> dict[str, Any]:
    """The whole document that a file stands for: what it does not name is as in the defaults.

    What is no table stays as it is: the model says so. A namespace that the file has under the other heading
    is no longer under its default one.
    """
    merged = dict(document)
    subjects, identifiers = document.get("subjects", {}), document.get("identifiers", {})
    if isinstance(subjects, dict) and isinstance(identifiers, dict):
        merged["subjects"] = _tables(_SUBJECTS, subjects, identifiers)
        merged["identifiers"] = _tables(_IDENTIFIERS, identifiers, subjects)
    for key, default in (("other_subjects", _OTHER_SUBJECTS), ("other_identifiers", _OTHER_IDENTIFIERS)):
        if isinstance(table := document.get(key, {}), dict):
            merged[key] = {**default, **table}
    if isinstance(blocked := document.get("blocked", {}), dict):
        whole = {**blocked}
        for key, ours in _blocked().model_dump(exclude={"allowed"}).items():
            if isinstance(own := blocked.get(key, []), list):
                whole[key] = [*ours, *own]
        merged["blocked"] = whole
    return merged


def _tables(
    defaults: dict[str, dict[str, Any]], named: dict[str, Any], elsewhere: dict[str, Any]
) -> dict[str, Any]:
    kept = {name: table for name, table in defaults.items() if name not in elsewhere}
    own = {
        name: {**defaults.get(name, {}), **table} if isinstance(table, dict) else table
        for name, table in named.items()
    }
    return {**kept, **own}
