"""Section `marketing`: what the customer did of their own accord, and what our campaigns came to."""

from __future__ import annotations

from typing import Any

from models.bounds import LIST_MAX
from models.decoding import Event
from models.marketing import (
    CampaignClicked,
    CampaignOpened,
    CampaignSent,
    ExperimentAssigned,
    FormSubmitted,
    PageViewed,
    ReviewPosted,
    SocialMentioned,
)
from projections.entities import Keyed, Naming
from projections.instants import instant_or_none, rfc3339
from projections.lists import LatestBy
from projections.reducers import Count, Earliest, Latest, State, Tally, occurred_us
from projections.section import Page, Rendered, Section

TOUCHES = (PageViewed, CampaignOpened, CampaignClicked, FormSubmitted, SocialMentioned, ReviewPosted)
_CHANNEL_OF = {
    PageViewed.wire_type: "web",
    CampaignOpened.wire_type: "email",
    CampaignClicked.wire_type: "email",
    FormSubmitted.wire_type: "web",
    SocialMentioned.wire_type: "social",
    ReviewPosted.wire_type: "web",
}
CAMPAIGNS_KEPT = 20


def _channel(event: Event) -> str:
    return event.data.channel or _CHANNEL_OF[event.type]


def _campaign(event: Event) -> str | None:
    return getattr(event.data, "campaign_id", None)


def _experiment(event: Event) -> list[tuple[str, list[Any]]]:
    return [(event.data.experiment, [event.data.variant])]


class Marketing(Section):
    """Touches, campaigns, experiments."""

    name = "marketing"

    touches = Tally(lambda event: (_channel(event), [1]), *TOUCHES)
    first_touch = Earliest(*TOUCHES, reads=(_channel, _campaign))
    last_touch = Latest(*TOUCHES, reads=(_channel, _campaign))
    campaigns = Keyed(
        Naming(CampaignSent, "campaign_id", sent_at=occurred_us),
        Naming(CampaignOpened, "campaign_id", opened_at=occurred_us),
        Naming(CampaignClicked, "campaign_id", clicked_at=occurred_us),
        fields=("sent_at", "opened_at", "clicked_at"),
        kept=CAMPAIGNS_KEPT,
    )
    sent_count = Count(CampaignSent)
    opened_count = Count(CampaignOpened)
    clicked_count = Count(CampaignClicked)
    experiments = LatestBy(_experiment, ExperimentAssigned, kept=2 * LIST_MAX)

    @classmethod
    def render(cls, states: dict[str, State], page: Page) -> Rendered:
        document = {
            "touches": {channel: row[0] for channel, row in sorted(states["touches"].items())},
            "first_touch": _touch(states["first_touch"]),
            "last_touch": _touch(states["last_touch"]),
            "last_campaign": cls._last_campaign(states, page),
            "campaigns": {name: states[name] for name in ("sent_count", "opened_count", "clicked_count")},
            "experiments": page.newest(
                "experiments",
                states["experiments"],
                LIST_MAX,
                lambda name, held: {"experiment": name, "variant": held[3], "assigned_at": rfc3339(held[0])},
            ),
        }
        return Rendered(document, page.truncated, {})

    @classmethod
    def _last_campaign(cls, states: dict[str, State], page: Page) -> dict[str, Any] | None:
        """The campaign sent last, as far as the parts still keep it."""
        forgotten, campaigns = states["campaigns"]
        page.cut("last_campaign", [], len(campaigns), forgotten)
        sent = [shown for shown in cls.campaigns.shown(states["campaigns"]) if shown["sent_at"] is not None]
        if not sent:
            return None
        last = max(sent, key=lambda shown: (shown.stamp("sent_at"), shown.id))
        return {
            "campaign_id": last.id,
            **{name: instant_or_none(last[name]) for name in ("sent_at", "opened_at", "clicked_at")},
        }


def _touch(held: State) -> dict[str, Any] | None:
    if held is None:
        return None
    return {"occurred_at": rfc3339(held[0]), "channel": held[3], "campaign_id": held[4]}
