"""What an explanation says, as JSON: for HTTP and the command line alike.

Invariants:
- Effects come in the order of the log; each names its event, where the record lies, and what it changed.
"""

from __future__ import annotations

from typing import Any

from api.replaying import Whom, id_of
from projections.differing import differences
from projections.explaining import Effect, Explained
from projections.instants import rfc3339


def explained_document(whom: Whom, field: str, explained: Explained, effects_max: int) -> dict[str, Any]:
    """The explanation, with the latest `effects_max` effects; `earlier_effects` counts those before."""
    effects = explained.effects[-effects_max:]
    return {
        "customer_id": id_of(whom),
        "field": field,
        "value": explained.value,
        "rules": [one._asdict() for one in explained.rules],
        "event_count": explained.event_count,
        "earlier_effects": len(explained.effects) - len(effects),
        "effects": [effect_document(one) for one in effects],
    }


def effect_document(effect: Effect) -> dict[str, Any]:
    """One event and what it did. A `path` is relative to the field; empty for the field itself."""
    event, lane = effect.heard.event, effect.heard.lane
    return {
        "event_id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "occurred_at": rfc3339(event.occurred_us),
        "logged_at": rfc3339(event.log_us),
        "topic": lane.topic,
        "partition": lane.partition,
        "offset": effect.heard.offset,
        "figures": list(effect.figures),
        "changes": [one._asdict() for one in differences(effect.before, effect.after)],
    }
