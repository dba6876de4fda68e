"""The profile: the contract that other systems read, as docs/profile.md explains it field by field.

Invariants:
- Every field is always written; what is not known is null, what there is none of is an empty list. The only
  exceptions are said to be left out: an entry's amount in `timeline`, names without a value in `provenance`.
- The order of fields is the order in which they are written.
- Every list has its bound from `models.bounds`. Instants are text: RFC 3339 in UTC with `Z`.
- A reader ignores fields it does not know: adding one breaks nobody.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from models.bounds import (
    ADDRESSES_MAX,
    IDENTIFIERS_MAX,
    LIST_MAX,
    LISTS_MAX,
    PERMISSIONS_MAX,
    RELATED_MAX,
    SUBJECTS_MAX,
    SUMMARY_TEXT_MAX,
    TIMELINE_MAX,
    TRAITS_MAX,
)
from models.event import Shape
from models.fields import ID_MAX, Birthdate, Channel, Currency, Id, Name, SubjectName, TraitValue
from models.profile_reserved import Experience, Journey, Value
from models.profile_sections import Amount, Billing, Marketing, Moment, Sales, Service, Total
from models.titles import TITLE_MAX

CustomerId = Annotated[str, Field(pattern=r"^cus_[0-9A-HJKMNP-TV-Z]{16}$")]
Short = Annotated[str, Field(max_length=SUMMARY_TEXT_MAX)]
Normal = Annotated[str, Field(min_length=1, max_length=2 * ID_MAX)]
"""A normalised identifier. In lower case `İ` takes two characters: it may outgrow what was stated."""


def _never_null(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class Summary(Shape):
    """Flat, for tools that map attributes: what an agent sees first."""

    display_name: Short | None
    tier: Short | None
    locale: Short | None
    zoneinfo: Short | None
    callback_phone: Short | None
    preferred_channel: Channel | None
    prefers_human: bool | None
    do_not_contact: bool
    contact_reason: Short | None
    contact_reason_text: Short | None
    top_alert: Short | None
    open_case_count: Total
    last_contact_at: Moment | None
    last_contact_channel: Channel | None
    last_employee_id: Short | None
    last_nps: Annotated[int, Field(ge=0, le=10)] | None
    balance_minor: Amount | None
    balance_currency: Currency | None
    lifetime_value_minor: Amount | None
    lifetime_value_currency: Currency | None


class Provenance(Shape):
    """Which event a value came from, and by which rule it was chosen."""

    source: Id
    event_id: Id
    occurred_at: Moment
    rule: Name


Attributed = Literal[
    "given_name", "family_name", "birthdate", "email", "phone_number", "tier", "locale", "zoneinfo"
]


class ProfileAddress(Shape):
    """A postal address."""

    use: Literal["billing", "shipping", "home", "work", "other"]
    street_address: Name | None
    postal_code: Name | None
    locality: Name | None
    country: Name | None


class Member(Shape):
    """A subject that belongs to the customer, and when it was first and last heard of (log time)."""

    subject: SubjectName
    first_seen_at: Moment
    last_seen_at: Moment


class ProfileIdentifier(Shape):
    """Something the customer is known by. `shared` and `rejected` ones link nobody."""

    type: Name
    value: Normal
    status: Literal["linking", "rejected", "shared"]
    verified_at: Moment | None
    sources: Annotated[list[SubjectName], Field(max_length=SUBJECTS_MAX)]
    first_seen_at: Moment


class Related(Shape):
    """Another customer, and how the two are related."""

    customer_id: CustomerId
    relation: Name
    via: Name


class Identity(Shape):
    """Who the customer is, and by which names other systems know them."""

    given_name: Name | None
    family_name: Name | None
    birthdate: Birthdate | None
    email: Normal | None
    phone_number: Normal | None
    provenance: dict[Attributed, Provenance]
    addresses: Annotated[list[ProfileAddress], Field(max_length=ADDRESSES_MAX)]
    subjects: Annotated[list[Member], Field(max_length=SUBJECTS_MAX)]
    identifiers: Annotated[list[ProfileIdentifier], Field(max_length=IDENTIFIERS_MAX)]
    related: Annotated[list[Related], Field(max_length=RELATED_MAX)]


class Permission(Shape):
    """The latest word on one purpose and channel."""

    purpose: Name
    channel: Channel
    granted: bool
    since: Moment
    legal_basis: Name
    event_id: Id


class Preferences(Shape):
    """How the customer wants to be treated; null where nothing was stated."""

    contact_channel: Channel | None
    contact_hours: Name | None
    prefers_human: bool | None


class StatedValue(Shape):
    """Something that matters to the customer."""

    value: Name
    event_id: Id


class Consent(Shape):
    """What the customer has permitted, and how they want to be treated."""

    permissions: Annotated[list[Permission], Field(max_length=PERMISSIONS_MAX)]
    preferences: Preferences
    stated_values: Annotated[list[StatedValue], Field(max_length=LIST_MAX)]


class Trait(Shape):
    """The latest value of something that nobody has modelled."""

    key: Name
    value: TraitValue
    source: Id
    occurred_at: Moment


class TimelineEntry(Shape):
    """One event, in a line."""

    event_id: Id
    type: Name
    occurred_at: Moment
    channel: Channel | None
    subject: SubjectName
    title: Annotated[str, Field(max_length=TITLE_MAX)]
    amount_minor: Amount | SkipJsonSchema[None] = Field(
        None,
        description="Left out, with the currency, where the event states none.",
        json_schema_extra=_never_null,
    )
    currency: Currency | SkipJsonSchema[None] = Field(None, json_schema_extra=_never_null)


class Signal(Shape):
    """Something that somebody should do something about; one that rises later than now has not risen yet."""

    signal_id: Id
    rule: Name
    severity: Name
    status: Name
    raised_at: Moment
    due_at: Moment | None
    event_id: Id | None
    suggested_step: Name | None


class Meta(Shape):
    """Bookkeeping: how this profile came about. All else is a function of the facts and the configuration."""

    generation: Annotated[str, Field(pattern=r"^g[1-9][0-9]{0,8}$")]
    config: Name
    version: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+$")]
    last_event_at: Moment
    last_log_at: Moment
    clamped_times: Total
    ignored_fields: Total
    truncated: Annotated[list[Name], Field(max_length=LISTS_MAX)]


class Profile(Shape):
    """One customer, one view."""

    schema_version: Literal[1]
    customer_id: CustomerId
    state: Literal["live"]
    founder: SubjectName
    summary: Summary
    identity: Identity
    consent: Consent
    marketing: Marketing
    sales: Sales
    service: Service
    billing: Billing
    experience: Experience | None
    journey: Journey | None
    value: Value | None
    traits: Annotated[list[Trait], Field(max_length=TRAITS_MAX)]
    timeline: Annotated[list[TimelineEntry], Field(max_length=TIMELINE_MAX)]
    signals: Annotated[list[Signal], Field(max_length=LIST_MAX)]
    meta: Meta
