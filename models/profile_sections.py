"""The sections of the profile that belong to one domain: marketing, sales, service, billing.

Invariants:
- What no event has stated is null; a list without entries is empty; nothing is left out.
- Every list has its bound from `models.bounds`; instants are text: RFC 3339 in UTC with `Z`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models.bounds import BASKETS_MAX, FAILURES_REMEMBERED, LIST_MAX, OPEN_INVOICES_MAX
from models.event import Shape
from models.fields import Channel, Currency, Id, Interval, Name, Text, Url

Moment = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3}|\.[0-9]{6})?Z$",
        json_schema_extra={"format": "date-time"},
    ),
]
"""An instant as the profile writes it: 3 digits of a fraction if those are exact, else 6, or none."""
Total = Annotated[int, Field(ge=0)]
"""A count, or seconds added up: sums of many events have no greatest value."""
Amount = int
"""Money in the currency's smallest unit, added up; may be negative."""


class Touch(Shape):
    """Something the customer did of their own accord."""

    occurred_at: Moment
    channel: Channel
    campaign_id: Id | None


class LastCampaign(Shape):
    """The campaign that was sent last, and what the customer did with it."""

    campaign_id: Id
    sent_at: Moment
    opened_at: Moment | None
    clicked_at: Moment | None


class CampaignCounts(Shape):
    """Events of campaigns."""

    sent_count: Total
    opened_count: Total
    clicked_count: Total


class Experiment(Shape):
    """The variant that the customer sees."""

    experiment: Name
    variant: Name
    assigned_at: Moment


class Marketing(Shape):
    """What the customer did of their own accord, and what our campaigns came to."""

    touches: dict[Channel, Total]
    first_touch: Touch | None
    last_touch: Touch | None
    last_campaign: LastCampaign | None
    campaigns: CampaignCounts
    experiments: Annotated[list[Experiment], Field(max_length=LIST_MAX)]


class Revenue(Shape):
    """What the orders in one currency came to. Net is gross less returns."""

    currency: Currency
    gross_minor: Amount
    returned_minor: Amount
    net_minor: Amount
    margin_minor: Amount


class ChannelOrders(Shape):
    """Orders placed through one channel, in one currency."""

    channel: Channel
    order_count: Total
    amount_minor: Amount
    currency: Currency


class Order(Shape):
    """An order. What no event has stated is null."""

    order_id: Id
    status: Literal["placed", "cancelled", "delivered", "returned"] | None
    placed_at: Moment | None
    promised_at: Moment | None
    delivered_at: Moment | None
    amount_minor: Amount | None
    currency: Currency | None
    channel: Channel | None


class Opportunity(Shape):
    """A sale in the making."""

    opportunity_id: Id
    stage: Name
    amount_minor: Amount | None
    currency: Currency | None
    product_line: Name | None
    changed_at: Moment


class Basket(Shape):
    """What the customer chose and did not buy."""

    basket_id: Id
    amount_minor: Amount
    currency: Currency
    abandoned_at: Moment


class Contract(Shape):
    """A contract; `ends_at` as signed, or when it ended."""

    contract_id: Id
    product_line: Name | None
    signed_at: Moment | None
    ends_at: Moment | None


class Product(Shape):
    """A product that the customer has bought."""

    product_id: Id
    quantity: Total
    last_bought_at: Moment


class Sales(Shape):
    """Orders and what they came to."""

    order_count: int
    return_count: Total
    first_order_at: Moment | None
    last_order_at: Moment | None
    orders_first_90_days: Total
    revenue: Annotated[list[Revenue], Field(max_length=LIST_MAX)]
    by_channel: Annotated[list[ChannelOrders], Field(max_length=LIST_MAX)]
    orders: Annotated[list[Order], Field(max_length=LIST_MAX)]
    opportunities: Annotated[list[Opportunity], Field(max_length=LIST_MAX)]
    baskets: Annotated[list[Basket], Field(max_length=BASKETS_MAX)]
    contracts: Annotated[list[Contract], Field(max_length=LIST_MAX)]
    products: Annotated[list[Product], Field(max_length=LIST_MAX)]


class Replies(Shape):
    """Who answered the customer."""

    human: Total
    automated: Total


class LastContact(Shape):
    """The latest conversation."""

    occurred_at: Moment
    channel: Channel | None
    employee_id: Id | None
    automated: bool
    event_id: Id


class Case(Shape):
    """A concern that somebody works on. What no event has stated is null."""

    case_id: Id
    status: Name | None
    topic: Name | None
    priority: Name | None
    opened_at: Moment | None
    due_at: Moment | None
    owner_id: Id | None
    url: Url | None


class Complaint(Shape):
    """A complaint."""

    complaint_id: Id
    topic: Name | None
    status: Literal["open", "settled"]
    made_at: Moment | None
    settled_at: Moment | None


class Promise(Shape):
    """Something we have promised and not yet done."""

    promise_id: Id
    text: Text
    due_at: Moment
    status: Literal["open"]


class Promises(Shape):
    """What we promised."""

    kept_count: Total
    broken_count: Total
    open: Annotated[list[Promise], Field(max_length=LIST_MAX)]


class Unanswered(Shape):
    """A public mention that waits for an answer."""

    thread_id: Id
    platform: Name
    mentioned_at: Moment
    event_id: Id


class Social(Shape):
    """What the customer wrote about us in public, and how soon we answered."""

    mention_count: Total
    replied_count: Total
    replied_within_30_min_count: Total
    reply_seconds_total: Total
    unanswered: Annotated[list[Unanswered], Field(max_length=LIST_MAX)]


class SelfService(Shape):
    """What the customer tried to do alone."""

    attempt_count: Total
    success_count: Total
    abandoned_count: Total
    error_count: Total
    seconds_total: Total
    click_count: Total


class Service(Shape):
    """How we dealt with the customer's concerns."""

    contact_count: Total
    waiting_seconds_total: Total
    transfer_count: Total
    replies: Replies
    last_contact: LastContact | None
    cases: Annotated[list[Case], Field(max_length=LIST_MAX)]
    complaints: Annotated[list[Complaint], Field(max_length=LIST_MAX)]
    promises: Promises
    social: Social
    self_service: SelfService


class Balance(Shape):
    """What the customer owes us in one currency; positive is owed to us."""

    currency: Currency
    balance_minor: Amount


class OpenInvoice(Shape):
    """An invoice of which `open_minor` is still to be paid."""

    invoice_id: Id
    amount_minor: Amount
    open_minor: Amount
    currency: Currency
    due_at: Moment


class LastPayment(Shape):
    """The latest payment received."""

    payment_id: Id
    occurred_at: Moment
    amount_minor: Amount
    currency: Currency


class LastFailure(Shape):
    """The latest payment that failed, and why."""

    code: Name
    occurred_at: Moment
    event_id: Id


class Refund(Shape):
    """Money that the customer wants back, or got back."""

    refund_id: Id
    status: Literal["requested", "issued"]
    requested_at: Moment | None
    issued_at: Moment | None
    amount_minor: Amount
    currency: Currency


class Dispute(Shape):
    """An invoice that the customer calls wrong; `upheld` means it was decided for the customer."""

    dispute_id: Id
    invoice_id: Id | None
    status: Literal["open", "settled"]
    reason: Name | None
    opened_at: Moment | None
    settled_at: Moment | None
    upheld: bool | None


class Subscription(Shape):
    """What the customer pays again and again. What no event has stated is null."""

    subscription_id: Id
    plan: Name | None
    status: Literal["active", "cancelled"]
    amount_minor: Amount | None
    currency: Currency | None
    interval: Interval | None
    renews_at: Moment | None


class Recurring(Shape):
    """What all active subscriptions in one currency come to in a month."""

    currency: Currency
    monthly_minor: Amount


class Billing(Shape):
    """What the customer owes us and how paying goes."""

    failures_in_a_row: Annotated[int, Field(ge=0, le=FAILURES_REMEMBERED)]
    dunning_level: Annotated[int, Field(ge=0, le=9)]
    balances: Annotated[list[Balance], Field(max_length=LIST_MAX)]
    open_invoices: Annotated[list[OpenInvoice], Field(max_length=OPEN_INVOICES_MAX)]
    last_payment: LastPayment | None
    last_failure: LastFailure | None
    refunds: Annotated[list[Refund], Field(max_length=LIST_MAX)]
    disputes: Annotated[list[Dispute], Field(max_length=LIST_MAX)]
    subscriptions: Annotated[list[Subscription], Field(max_length=LIST_MAX)]
    recurring: Annotated[list[Recurring], Field(max_length=LIST_MAX)]
