"""A profile as a person wants to read it in a terminal, best at 100 columns.

Invariants:
- What matters first: who it is, what the call is probably about, what is wrong.
- Nothing is computed that the profile does not say; "now" comes in, so that instants can be told as ages.
- Text of customers is shown as text: nothing in it is taken for markup.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from models.moments import moment
from ops.portrait_sections import (
    Profile,
    billing_lines,
    consent_lines,
    identity_lines,
    is_open,
    marketing_lines,
    sales_lines,
    service_lines,
    timeline_lines,
    words,
)

WIDTH = 100
PAIRS_FROM = 80
ALERTS_SHOWN = 3
# A score up to this is a detractor's (net promoter score).
DETRACTOR_MAX = 6


def printable(value: Any) -> Any:
    """The value with every text safe for a terminal: what would steer it is shown as the replacement sign."""
    if isinstance(value, dict):
        return {name: printable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [printable(inner) for inner in value]
    if isinstance(value, str) and not value.isprintable():
        return "".join(sign if sign.isprintable() else "\ufffd" for sign in value)
    return value


def portrait(profile: Profile, now: datetime, width: int = WIDTH) -> Group:
    """The whole profile, `width` columns wide; sections that it does not hold are left out."""
    profile = printable(profile)
    shown: list[RenderableType] = []
    if profile.get("summary"):
        shown.append(_header(profile, now))
    for pair in (
        (("billing", billing_lines), ("service", service_lines)),
        (("sales", sales_lines), ("consent", consent_lines), ("marketing", marketing_lines)),
    ):
        held = [(title, build(profile, now)) for title, build in pair if profile.get(title) is not None]
        if len(held) == 3:
            # What we may say and what we said belong together.
            (title, lines), (_, more) = held[1:]
            held = [held[0], (title, [*lines, Rule(style="dim"), *more] if lines and more else lines + more)]
        shown += _pair(held, width)
    for title, build in (("timeline", timeline_lines), ("identity", identity_lines)):
        if profile.get(title) is not None:
            shown.append(_panel(title, build(profile, now)))
    if profile.get("meta"):
        shown.append(_foot(profile, now))
    return Group(*shown)


def _panel(title: str, lines: list[RenderableType]) -> Panel:
    body = Group(*lines) if lines else Text("nothing yet", style="dim")
    return Panel(body, title=Text(title.capitalize(), style="bold"), title_align="left", border_style="blue")


def _pair(held: list[tuple[str, list[RenderableType]]], width: int) -> list[RenderableType]:
    """Two panels side by side and equally high, where there is room."""
    panels = [_panel(title, lines) for title, lines in held]
    if len(panels) != 2 or width < PAIRS_FROM:
        return list(panels)
    # Measured on a console of its own, so that it does not matter where the portrait will be printed.
    console = Console(width=width // 2)
    height = max(len(console.render_lines(panel)) for panel in panels)
    grid = Table.grid(expand=True)
    for panel in panels:
        panel.height = height
        grid.add_column(ratio=1)
    grid.add_row(*panels)
    return [grid]


def _header(profile: Profile, now: datetime) -> Panel:
    summary = profile["summary"]
    name = summary["display_name"] or profile["founder"]
    who = [summary["tier"], summary["locale"], _local_time(summary["zoneinfo"], now)]
    stage = [
        f"prefers {summary['preferred_channel']}" if summary["preferred_channel"] else None,
        "a person, not a bot" if summary["prefers_human"] else None,
        summary["callback_phone"],
    ]
    lines: list[RenderableType] = [
        Text(" · ".join(part for part in [*who, *stage] if part) or "no personal data", style="dim")
    ]
    if summary["contact_reason_text"]:
        lines.append(
            Text.assemble(("Probably about  ", "dim"), (summary["contact_reason_text"], "bold yellow"))
        )
    alerts = _alerts(profile, now)[:ALERTS_SHOWN]
    if alerts:
        lines.append(
            Columns([Text(f" ! {alert} ", style="bold white on red") for alert in alerts], padding=(0, 1))
        )
    return Panel(
        Group(*lines), title=Text.assemble((f" {name} ", "bold reverse")), title_align="left",
        subtitle=Text(f"{profile['customer_id']} · {profile['founder']}", style="dim"),
        subtitle_align="right",
        border_style="bold",
    )  # fmt: skip


def _local_time(zone: str | None, now: datetime) -> str | None:
    try:
        return f"{now.astimezone(ZoneInfo(zone)):%H:%M} in {words(zone.rpartition('/')[2])}" if zone else None
    except (ZoneInfoNotFoundError, ValueError):
        return None


def _alerts(profile: Profile, now: datetime) -> list[str]:
    """What an agent must know, the worst first."""
    summary, billing, service = profile["summary"], profile.get("billing") or {}, profile.get("service") or {}
    alerts = []
    if failures := billing.get("failures_in_a_row"):
        alerts.append(f"payment failed {'once' if failures == 1 else f'{failures} times'}")
    if any(complaint["status"] == "open" for complaint in service.get("complaints", [])):
        alerts.append("complaint open")
    if summary["last_nps"] is not None and summary["last_nps"] <= DETRACTOR_MAX:
        alerts.append(f"detractor: NPS {summary['last_nps']}")
    if broken := (service.get("promises") or {}).get("broken_count"):
        alerts.append(f"{broken} broken {'promise' if broken == 1 else 'promises'}")
    if any(is_open(case) and _past(case["due_at"], now) for case in service.get("cases", [])):
        alerts.append("case overdue")
    if summary["do_not_contact"]:
        alerts.append("do not contact")
    return alerts


def _past(instant: str | None, now: datetime) -> bool:
    return instant is not None and datetime.fromisoformat(instant) < now


def _foot(profile: Profile, now: datetime) -> Text:
    meta = profile["meta"]
    said = [
        f"last event {moment(meta['last_event_at'], now)}",
        f"logged {moment(meta['last_log_at'], now)}",
        f"generation {meta['generation']}",
        f"version {meta['version']}",
    ]
    if meta["truncated"]:
        said.append("cut: " + ", ".join(meta["truncated"]))
    return Text(" · ".join(said), style="dim")
