"""Section `consent`: what the customer has permitted, and how they want to be treated."""

from __future__ import annotations

from typing import Any

from models.bounds import LIST_MAX, PERMISSIONS_MAX
from models.decoding import Event
from models.marketing import ConsentChanged, PreferenceStated
from projections.instants import rfc3339
from projections.lists import LatestBy, newest_first
from projections.reducers import MostTrusted, State, field
from projections.section import Page, Rendered, Section


def _permission(event: Event) -> list[tuple[str, list[Any]]]:
    data = event.data
    # A channel holds no colon, so the name is unambiguous whatever the purpose is.
    return [(f"{data.channel}:{data.purpose}", [data.granted, data.legal_basis])]


def _values(event: Event) -> list[tuple[str, list[Any]]]:
    return [(value, []) for value in event.data.values]


class Consent(Section):
    """Permissions per purpose and channel; preferences; stated values."""

    name = "consent"

    permissions = LatestBy(_permission, ConsentChanged, kept=2 * PERMISSIONS_MAX)
    contact_channel = MostTrusted({PreferenceStated: field("contact_channel")})
    contact_hours = MostTrusted({PreferenceStated: field("contact_hours")})
    prefers_human = MostTrusted({PreferenceStated: field("prefers_human")})
    stated_values = LatestBy(_values, PreferenceStated, kept=2 * LIST_MAX)

    @classmethod
    def render(cls, states: dict[str, State], page: Page) -> Rendered:
        preferences = {
            name: None if states[name] is None else states[name][4]
            for name in ("contact_channel", "contact_hours", "prefers_human")
        }
        kept = newest_first(states["permissions"])
        listed = sorted(
            page.cut("permissions", kept, PERMISSIONS_MAX, states["permissions"][0]),
            key=lambda item: item[0].split(":", 1)[::-1],
        )
        document = {
            "permissions": [_shown(*item) for item in listed],
            "preferences": preferences,
            "stated_values": page.newest(
                "stated_values",
                states["stated_values"],
                LIST_MAX,
                lambda value, held: {"value": value, "event_id": held[2]},
            ),
        }
        refused = bool(kept) and not any(held[3] for _, held in kept)
        return Rendered(document, page.truncated, {**preferences, "do_not_contact": refused})


def _shown(name: str, held: list[Any]) -> dict[str, Any]:
    channel, purpose = name.split(":", 1)
    return {
        "purpose": purpose,
        "channel": channel,
        "granted": held[3],
        "since": rfc3339(held[0]),
        "legal_basis": held[4],
        "event_id": held[2],
    }
