"""What every event adds to a part, whatever it is about: when it came, and what was odd.

Invariants:
- `joined` is commutative and associative; a part that has seen nothing has none.
- No clock: instants are those of events and of the log.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from models.decoding import Event


class Seen(msgspec.Struct, array_like=True, gc=False):
    """Instants are microseconds since 1970 (UTC); `first_log_us` and `last_log_us` also date the subject."""

    last_event_us: int
    first_log_us: int
    last_log_us: int
    clamped_times: int = 0
    ignored_fields: int = 0

    def note(self, event: Event) -> None:
        """One more event."""
        if event.occurred_us > self.last_event_us:
            self.last_event_us = event.occurred_us
        if event.log_us > self.last_log_us:
            self.last_log_us = event.log_us
        elif event.log_us < self.first_log_us:
            self.first_log_us = event.log_us
        self.clamped_times += event.clamped
        self.ignored_fields += event.ignored_fields


def copied(seen: Seen | None) -> Seen | None:
    """The same, to be changed."""
    if seen is None:
        return None
    return Seen(
        seen.last_event_us, seen.first_log_us, seen.last_log_us, seen.clamped_times, seen.ignored_fields
    )


def first_seen(event: Event) -> Seen:
    """What a part has seen after its first event."""
    return Seen(event.occurred_us, event.log_us, event.log_us, int(event.clamped), event.ignored_fields)


def joined(parts: Sequence[Seen]) -> Seen:
    """What parts have seen together; at least one."""
    if len(parts) == 1:
        return parts[0]
    return Seen(
        max([one.last_event_us for one in parts]),
        min([one.first_log_us for one in parts]),
        max([one.last_log_us for one in parts]),
        sum([one.clamped_times for one in parts]),
        sum([one.ignored_fields for one in parts]),
    )
