"""What a portrait says of each section: lines of a label and its values.

Invariants:
- Text of customers is shown as text: nothing in it is taken for markup.
- At most a few entries of each list, the most urgent ones: the profile has the rest.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from models.moments import due, moment
from models.money import money_text

LABEL_WIDTH = 12
TIMELINE_SHOWN = 15
ENTRIES_SHOWN = 4
IDENTIFIERS_SHOWN = 6
RELATED_SHOWN = 5

# What the status of an identifier means to whoever has the customer on the phone.
_STATUSES = {
    "linking": ("linking", ""),
    "shared": ("shared by many, links nobody", "yellow"),
    "rejected": ("does not link: a rule or a decision is against it", "yellow"),
}
# What a possible match goes by, where it is no identifier.
_BY = {"matcher": "a program thinks so", "person": "a person linked them, a later decision parted them"}

Profile = dict[str, Any]


def _line(label: str, *values: Any, style: str = "") -> Table:
    """`label   value · value`, wrapped under the values; a dash when there is none."""
    said = " · ".join(str(value) for value in values if value not in (None, ""))
    line = Table.grid(padding=(0, 1))
    line.add_column(width=LABEL_WIDTH, style="dim", no_wrap=True, overflow="ellipsis")
    line.add_column(ratio=1, overflow="fold")
    line.expand = True
    line.add_row(Text(label), Text(said, style) if said else Text("–", "dim"))
    return line


def words(text: Any) -> str:
    """`card_expired` as `card expired`."""
    return str(text).replace("_", " ")


def _told(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def is_open(case: Profile) -> bool:
    """Whether the case is still worked on."""
    return case["status"] not in (None, "resolved", "closed")


def billing_lines(profile: Profile, now: datetime) -> list[RenderableType]:
    """What is owed, what failed, what recurs."""
    billing = profile["billing"]
    lines: list[RenderableType] = []
    for balance in billing["balances"]:
        owed = balance["balance_minor"]
        meaning = "owed to us" if owed > 0 else "owed to the customer" if owed < 0 else "settled"
        lines.append(
            _line(
                "balance",
                money_text(abs(owed), balance["currency"]),
                meaning,
                style="bold red" if owed > 0 else "",
            )
        )
    for invoice in billing["open_invoices"][:ENTRIES_SHOWN]:
        amount = money_text(invoice["open_minor"], invoice["currency"])
        lines.append(_line("open invoice", invoice["invoice_id"], amount, due(invoice["due_at"], now)))
    if failure := billing["last_failure"]:
        times = billing["failures_in_a_row"]
        lines.append(
            _line(
                "last failure",
                words(failure["code"]),
                moment(failure["occurred_at"], now),
                f"{times} in a row" if times else "paid since",
            )
        )
    if billing["dunning_level"]:
        lines.append(_line("reminded", f"level {billing['dunning_level']}"))
    if payment := billing["last_payment"]:
        lines.append(
            _line(
                "last payment",
                money_text(payment["amount_minor"], payment["currency"]),
                moment(payment["occurred_at"], now),
            )
        )
    for plan in billing["subscriptions"][:ENTRIES_SHOWN]:
        price = money_text(plan["amount_minor"], plan["currency"])
        lines.append(
            _line(
                "subscription",
                plan["plan"],
                plan["status"],
                price,
                f"renews {moment(plan['renews_at'], now)}" if plan["renews_at"] else None,
            )
        )
    return [*lines, *_claims(billing)]


def _claims(billing: Profile) -> list[RenderableType]:
    """Money that the customer wants back."""
    lines: list[RenderableType] = []
    for refund in billing["refunds"][:2]:
        lines.append(
            _line(
                "refund",
                refund["refund_id"],
                money_text(refund["amount_minor"], refund["currency"]),
                refund["status"],
            )
        )
    for dispute in billing["disputes"][:2]:
        lines.append(
            _line("dispute", dispute["invoice_id"], dispute["status"], words(dispute["reason"] or ""))
        )
    return lines


def service_lines(profile: Profile, now: datetime) -> list[RenderableType]:
    """What is open, what was promised, how contacts went."""
    service = profile["service"]
    lines: list[RenderableType] = []
    for case in service["cases"][:ENTRIES_SHOWN]:
        style = "yellow" if is_open(case) else ""
        when = due(case["due_at"], now) if is_open(case) else None
        lines.append(
            _line("case", case["case_id"], words(case["topic"] or ""), case["status"], when, style=style)
        )
    for complaint in service["complaints"][:2]:
        lines.append(
            _line(
                "complaint", complaint["complaint_id"], words(complaint["topic"] or ""), complaint["status"]
            )
        )
    promises = service["promises"]
    for promise in promises["open"][:2]:
        lines.append(_line("promised", promise["text"], due(promise["due_at"], now), style="yellow"))
    if promises["kept_count"] or promises["broken_count"]:
        lines.append(
            _line("promises", f"{promises['kept_count']} kept", f"{promises['broken_count']} broken")
        )
    if last := service["last_contact"]:
        whom = "with the assistant" if last["automated"] else f"with {last['employee_id'] or 'an agent'}"
        lines.append(_line("last contact", last["channel"], whom, moment(last["occurred_at"], now)))
    if service["contact_count"]:
        waited = -(-service["waiting_seconds_total"] // 60)
        lines.append(
            _line(
                "contacts",
                service["contact_count"],
                f"{waited} min waited",
                f"{service['transfer_count']} transfers",
            )
        )
    own = service["self_service"]
    if own["attempt_count"]:
        lines.append(_line("self-service", f"{own['attempt_count']} tries", f"{own['success_count']} worked"))
    if unanswered := service["social"]["unanswered"]:
        lines.append(
            _line("unanswered", f"{len(unanswered)} on {words(unanswered[0]['platform'])}", style="yellow")
        )
    if (score := (profile.get("summary") or {}).get("last_nps")) is not None:
        lines.append(_line("last NPS", score))
    return lines


def sales_lines(profile: Profile, now: datetime) -> list[RenderableType]:
    """What was bought, and what may be."""
    sales = profile["sales"]
    lines: list[RenderableType] = []
    if sales["order_count"] or sales["orders"]:
        lines.append(
            _line(
                "orders",
                sales["order_count"],
                f"{sales['return_count']} returned",
                f"last {moment(sales['last_order_at'], now)}",
            )
        )
    for revenue in sales["revenue"]:
        margin = (
            f"margin {money_text(revenue['margin_minor'], revenue['currency'])}"
            if revenue["margin_minor"]
            else None
        )
        lines.append(
            _line("revenue", money_text(revenue["net_minor"], revenue["currency"]), margin, style="bold")
        )
    if sales["by_channel"]:
        lines.append(
            _line("bought in", *(f"{one['channel']} {one['order_count']}" for one in sales["by_channel"][:4]))
        )
    for order in sales["orders"][:ENTRIES_SHOWN]:
        late = order["delivered_at"] and order["promised_at"] and order["delivered_at"] > order["promised_at"]
        lines.append(
            _line(
                "order",
                order["order_id"],
                money_text(order["amount_minor"], order["currency"]),
                order["status"],
                "late" if late else None,
                moment(order["placed_at"], now),
            )
        )
    for contract in sales["contracts"][:2]:
        until = f"until {moment(contract['ends_at'], now)}" if contract["ends_at"] else None
        lines.append(_line("contract", contract["contract_id"], contract["product_line"], until))
    for opportunity in sales["opportunities"][:2]:
        amount = money_text(opportunity["amount_minor"], opportunity["currency"])
        lines.append(_line("opportunity", opportunity["opportunity_id"], opportunity["stage"], amount))
    for basket in sales["baskets"][:1]:
        lines.append(
            _line(
                "basket left",
                money_text(basket["amount_minor"], basket["currency"]),
                moment(basket["abandoned_at"], now),
            )
        )
    return lines


def consent_lines(profile: Profile, now: datetime) -> list[RenderableType]:
    """What we may do, and what the customer wants."""
    consent = profile["consent"]
    lines: list[RenderableType] = []
    for permission in consent["permissions"][:6]:
        given = permission["granted"]
        lines.append(
            _line(
                permission["channel"],
                "yes" if given else "NO",
                permission["purpose"],
                f"since {moment(permission['since'], now)}",
                style="green" if given else "red",
            )
        )
    preferences = consent["preferences"]
    if preferences["contact_hours"]:
        lines.append(_line("call between", preferences["contact_hours"]))
    if consent["stated_values"]:
        lines.append(_line("cares about", *(words(one["value"]) for one in consent["stated_values"][:4])))
    return lines


def marketing_lines(profile: Profile, now: datetime) -> list[RenderableType]:
    """What we sent, and what came of it."""
    marketing = profile["marketing"]
    lines: list[RenderableType] = []
    counts = marketing["campaigns"]
    if counts["sent_count"]:
        opened, clicked = f"{counts['opened_count']} opened", f"{counts['clicked_count']} clicked"
        lines.append(_line("campaigns", f"{counts['sent_count']} sent", opened, clicked))
    if marketing["touches"]:
        lines.append(
            _line("touches", *(f"{channel} {count}" for channel, count in marketing["touches"].items()))
        )
    if last := marketing["last_touch"]:
        lines.append(
            _line("last touch", last["channel"], last["campaign_id"], moment(last["occurred_at"], now))
        )
    for one in marketing["experiments"][:2]:
        lines.append(_line("experiment", one["experiment"], one["variant"]))
    return lines


def timeline_lines(profile: Profile, now: datetime) -> list[RenderableType]:
    """The newest events, a line each."""
    entries = profile["timeline"]
    if not entries:
        return []
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", width=16, no_wrap=True)
    table.add_column(style="cyan", width=9, no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    table.expand = True
    for entry in entries[:TIMELINE_SHOWN]:
        domain = entry["type"].partition(".")[0]
        table.add_row(
            moment(entry["occurred_at"], now),
            domain,
            Text(entry["title"]),
            money_text(entry.get("amount_minor"), entry.get("currency")),
        )
    lines: list[RenderableType] = [table]
    if len(entries) > TIMELINE_SHOWN:
        more = "more in the log" if "timeline" in (profile.get("meta") or {}).get("truncated", []) else "all"
        lines.append(Text(f"… {len(entries) - TIMELINE_SHOWN} older here, {more}", style="dim"))
    return lines


def identity_lines(profile: Profile, now: datetime) -> list[RenderableType]:
    """Who it is, and what they are known by."""
    identity = profile["identity"]
    lines: list[RenderableType] = [
        _line("person", " ".join(name for name in (identity["given_name"], identity["family_name"]) if name),
              f"born {identity['birthdate']}" if identity["birthdate"] else None),
    ]  # fmt: skip
    for address in identity["addresses"][:2]:
        place = " ".join(part for part in (address["postal_code"], address["locality"]) if part)
        lines.append(_line(f"{address['use']}", address["street_address"], place, address["country"]))
    identifiers = identity["identifiers"]
    for one in identifiers[:IDENTIFIERS_SHOWN]:
        proof = f"verified {moment(one['verified_at'], now)}" if one["verified_at"] else "not verified"
        meaning, style = _STATUSES.get(one["status"], (words(one["status"]), ""))
        lines.append(_line(one["type"], one["value"], proof, meaning, style=style))
    if len(identifiers) > IDENTIFIERS_SHOWN:
        lines.append(_line("", f"and {len(identifiers) - IDENTIFIERS_SHOWN} more identifiers", style="dim"))
    subjects = identity["subjects"]
    shown = ", ".join(one["subject"] for one in subjects[:4])
    lines.append(_line("known as", shown + (f" and {len(subjects) - 4} more" if len(subjects) > 4 else "")))
    for one in identity["related"][:RELATED_SHOWN]:
        if one["relation"] == "possible_match":
            # Two customers who may be one person: somebody has to decide.
            lines.append(
                _line(
                    "maybe also",
                    one["customer_id"],
                    _BY.get(one["via"], f"by {words(one['via'])}"),
                    style="yellow",
                )
            )
        else:
            lines.append(_line("related", words(one["relation"]), one["customer_id"]))
    if traits := profile.get("traits"):
        lines.append(_line("traits", *(f"{words(one['key'])} {_told(one['value'])}" for one in traits[:4])))
    return lines
