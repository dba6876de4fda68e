"""The events of `billing.events`: invoices, payments, refunds, disputes, subscriptions."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from models.event import EventData
from models.fields import Currency, Id, Instant, Interval, Minor, Name


class InvoiceIssued(EventData, wire_type="billing.invoice_issued", shown_as="Invoice {invoice_id} issued"):
    """The customer owes `amount_minor`, by `due_at`."""

    invoice_id: Id
    amount_minor: Minor
    currency: Currency
    due_at: Instant


class PaymentReceived(
    EventData, wire_type="billing.payment_received", shown_as="Payment received[ for invoice {invoice_id}]"
):
    """The customer paid."""

    payment_id: Id
    amount_minor: Minor
    currency: Currency
    invoice_id: Id | None = None


class PaymentFailed(EventData, wire_type="billing.payment_failed", shown_as="Payment failed: {code:words}"):
    """A payment did not go through; `code` says why."""

    code: Name
    invoice_id: Id | None = None
    amount_minor: Minor | None = None
    currency: Currency | None = None


class RefundRequested(
    EventData, wire_type="billing.refund_requested", shown_as="Refund {refund_id} requested"
):
    """The customer wants money back."""

    refund_id: Id
    amount_minor: Minor
    currency: Currency


class RefundIssued(EventData, wire_type="billing.refund_issued", shown_as="Refund {refund_id} issued"):
    """The customer got it."""

    refund_id: Id
    amount_minor: Minor
    currency: Currency
    invoice_id: Id | None = None


class CreditNoteIssued(
    EventData, wire_type="billing.credit_note_issued", shown_as="Credit note {credit_note_id} issued"
):
    """The customer owes that much less."""

    credit_note_id: Id
    amount_minor: Minor
    currency: Currency
    invoice_id: Id | None = None


class InvoiceDisputed(
    EventData,
    wire_type="billing.invoice_disputed",
    shown_as="Invoice {invoice_id} disputed[: {reason:words}]",
):
    """The customer says that an invoice is wrong."""

    dispute_id: Id
    invoice_id: Id
    reason: Name | None = None


class DisputeSettled(EventData, wire_type="billing.dispute_settled", shown_as="Dispute {dispute_id} settled"):
    """It was decided; `upheld` means for the customer."""

    dispute_id: Id
    upheld: bool


class SubscriptionStarted(
    EventData, wire_type="billing.subscription_started", shown_as="Subscription {plan} started"
):
    """The customer pays `amount_minor` every `interval`."""

    subscription_id: Id
    plan: Name
    amount_minor: Minor
    currency: Currency
    interval: Interval
    renews_at: Instant | None = None


class SubscriptionChanged(
    EventData,
    wire_type="billing.subscription_changed",
    shown_as="Subscription {subscription_id} changed[ to {plan}]",
):
    """Plan, price or renewal changed."""

    subscription_id: Id
    plan: Name | None = None
    amount_minor: Minor | None = None
    renews_at: Instant | None = None


class SubscriptionCancelled(
    EventData,
    wire_type="billing.subscription_cancelled",
    shown_as="Subscription {subscription_id} cancelled[: {reason:words}]",
):
    """The subscription ends."""

    subscription_id: Id
    reason: Name | None = None


class DunningSent(EventData, wire_type="billing.dunning_sent", shown_as="Reminder sent, level {level}"):
    """We reminded the customer to pay."""

    level: Annotated[int, Field(ge=0, le=9)]
    invoice_id: Id | None = None
