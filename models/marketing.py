"""The events of `marketing.events`: what we said to the customer, and what the customer did in public."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models.event import LIST_MAX, EventData, Shape
from models.fields import (
    Birthdate,
    Channel,
    Id,
    Name,
    Sentiment,
    SubjectName,
    Text,
    Url,
)


class PageViewed(EventData, wire_type="marketing.page_viewed", shown_as="Viewed {page}"):
    """The customer looked at a page or a screen."""

    page: Annotated[str, Field(min_length=1, max_length=2_000)]
    campaign_id: Id | None = None


class CampaignSent(EventData, wire_type="marketing.campaign_sent", shown_as="Campaign {campaign_id} sent"):
    """We sent a campaign's message."""

    campaign_id: Id


class CampaignOpened(
    EventData, wire_type="marketing.campaign_opened", shown_as="Campaign {campaign_id} opened"
):
    """The customer opened it."""

    campaign_id: Id


class CampaignClicked(
    EventData, wire_type="marketing.campaign_clicked", shown_as="Campaign {campaign_id} clicked"
):
    """The customer followed a link of it."""

    campaign_id: Id
    url: Url | None = None


class FormSubmitted(EventData, wire_type="marketing.form_submitted", shown_as="Form {form} submitted"):
    """The customer sent a form."""

    form: Name


class ConsentChanged(
    EventData,
    wire_type="marketing.consent_changed",
    version=2,
    shown_as="Consent {granted:granted} for {purpose:words} by {channel}",
):
    """A permission given or withdrawn. Version 1 called `granted` `status` (`opt_in`, `opt_out`)."""

    purpose: Name
    channel: Channel
    granted: bool
    legal_basis: Name
    proof: Text | None = None


class PreferenceStated(EventData, wire_type="marketing.preference_stated", shown_as="Preferences stated"):
    """How the customer wants to be treated, and what matters to them."""

    contact_channel: Channel | None = None
    contact_hours: Name | None = None
    prefers_human: bool | None = None
    values: Annotated[list[Name], Field(max_length=LIST_MAX)] = Field([])
    interests: Annotated[list[Name], Field(max_length=LIST_MAX)] = Field([])


class SocialMentioned(
    EventData, wire_type="marketing.social_mentioned", shown_as="Mentioned us on {platform:words}"
):
    """The customer wrote about us in public."""

    platform: Name
    thread_id: Id
    sentiment: Sentiment | None = None
    needs_reply: bool | None = None
    text: Text | None = None


class SocialReplied(
    EventData, wire_type="marketing.social_replied", shown_as="We replied in thread {thread_id}"
):
    """We answered in that thread."""

    thread_id: Id
    automated: bool


class ReviewPosted(
    EventData, wire_type="marketing.review_posted", shown_as="Review on {platform:words}: {rating} of 5"
):
    """The customer rated us in public."""

    platform: Name
    rating: Annotated[int, Field(ge=1, le=5)]
    text: Text | None = None


class ExperimentAssigned(
    EventData,
    wire_type="marketing.experiment_assigned",
    shown_as="Experiment {experiment}: variant {variant}",
):
    """The customer takes part in an experiment."""

    experiment: Name
    variant: Name


class Address(Shape):
    """A postal address, in the words of OpenID Connect."""

    use: Literal["billing", "shipping", "home", "work", "other"] = "other"
    street_address: Name | None = None
    postal_code: Name | None = None
    locality: Name | None = None
    region: Name | None = None
    country: Name | None = None


class ProfileUpdated(EventData, wire_type="marketing.profile_updated", shown_as="Personal data updated"):
    """What a source holds of the person (OpenID Connect Core 1.0, section 5.1). Null: not stated."""

    given_name: Name | None = None
    family_name: Name | None = None
    middle_name: Name | None = None
    nickname: Name | None = None
    birthdate: Birthdate | None = None
    gender: Name | None = None
    email: Id | None = None
    phone_number: Id | None = None
    address: Address | None = None
    locale: Name | None = None
    zoneinfo: Name | None = None
    tier: Name | None = None


class RelationshipStated(
    EventData, wire_type="marketing.relationship_stated", shown_as="Relationship stated: {kind:words}"
):
    """The customer stands in a relation to another subject."""

    kind: Literal["household", "adviser", "account", "referral"]
    other_subject: SubjectName
    role: Name | None = None


class LifeEventNoted(EventData, wire_type="marketing.life_event_noted", shown_as="Life event: {kind:words}"):
    """Something changed in the customer's life."""

    kind: Name
    occurred_on: Birthdate | None = None
