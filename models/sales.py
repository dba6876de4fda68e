"""The events of `sales.events`: leads, orders, contracts. Amendments and cancellations carry deltas."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from models.event import LINES_MAX, EventData, Shape
from models.fields import Count, Currency, Id, Instant, Minor, Name


class LeadCreated(EventData, wire_type="sales.lead_created", shown_as="Lead {lead_id}"):
    """Somebody showed interest."""

    lead_id: Id
    campaign_id: Id | None = None


class OpportunityChanged(
    EventData, wire_type="sales.opportunity_changed", shown_as="Opportunity {opportunity_id}: {stage:words}"
):
    """An opportunity appeared or moved to another stage."""

    opportunity_id: Id
    stage: Name
    amount_minor: Minor | None = None
    currency: Currency | None = None
    product_line: Name | None = None


class QuoteSent(EventData, wire_type="sales.quote_sent", shown_as="Quote {quote_id} sent"):
    """We made an offer."""

    quote_id: Id
    amount_minor: Minor
    currency: Currency


class OrderLine(Shape):
    """One line of an order."""

    product_id: Id
    quantity: Count
    amount_minor: Minor
    margin_minor: Minor | None = None


class OrderPlaced(EventData, wire_type="sales.order_placed", version=2, shown_as="Order {order_id} placed"):
    """The customer bought. Version 1 called `amount_minor` `total_minor`."""

    order_id: Id
    amount_minor: Minor
    currency: Currency
    lines: Annotated[list[OrderLine], Field(max_length=LINES_MAX)] = Field([])
    margin_minor: Minor | None = None
    campaign_id: Id | None = None
    promised_at: Instant | None = None


class OrderAmended(EventData, wire_type="sales.order_amended", shown_as="Order {order_id} amended"):
    """The order's amount changed by `delta_minor`."""

    order_id: Id
    delta_minor: Minor
    currency: Currency


class OrderCancelled(
    EventData, wire_type="sales.order_cancelled", shown_as="Order {order_id} cancelled[: {reason:words}]"
):
    """The order was cancelled; `delta_minor` is what that changes, normally negative."""

    order_id: Id
    delta_minor: Minor
    currency: Currency
    reason: Name | None = None


class OrderDelivered(EventData, wire_type="sales.order_delivered", shown_as="Order {order_id} delivered"):
    """The customer has it."""

    order_id: Id
    promised_at: Instant | None = None


class OrderReturned(
    EventData, wire_type="sales.order_returned", shown_as="Order {order_id} returned[: {reason:words}]"
):
    """Goods came back, worth `amount_minor` of revenue."""

    order_id: Id
    amount_minor: Minor
    currency: Currency
    reason: Name | None = None


class ContractSigned(
    EventData,
    wire_type="sales.contract_signed",
    shown_as="Contract {contract_id} signed: {product_line:words}",
):
    """A contract began."""

    contract_id: Id
    product_line: Name
    ends_at: Instant | None = None


class ContractEnded(
    EventData, wire_type="sales.contract_ended", shown_as="Contract {contract_id} ended[: {reason:words}]"
):
    """A contract ended."""

    contract_id: Id
    reason: Name | None = None


class BasketAbandoned(
    EventData, wire_type="sales.basket_abandoned", shown_as="Basket {basket_id} left behind"
):
    """The customer chose and did not buy."""

    basket_id: Id
    amount_minor: Minor
    currency: Currency
