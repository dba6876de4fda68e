"""Signals on a live stream: which of those asked for were raised or cleared since it last said so.

Invariants:
- A signal that rises later than now has not risen yet; it is told when its instant comes, without a version.
- A repeat, as after a reconnect, has the same `signal_id`: a client knows it by that.
- What is stored is told, masked as profiles are; nothing is made up where a profile has no signals.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from api.problems import wrong_parameter

# As many as one screen or program acts upon.
RULES_MAX = 20
RULE = re.compile(r"[a-z][a-z0-9_]{0,63}")
PATTERN = f"^{RULE.pattern}(,{RULE.pattern})*$"


class _Signal(msgspec.Struct):
    signal_id: str
    rule: str
    raised_at: datetime


_signals = msgspec.json.Decoder(list[msgspec.Raw]).decode
_signal = msgspec.json.Decoder(_Signal).decode


def rules_of(text: str | None) -> frozenset[str]:
    """The rules that a query names; none without it. Problem."""
    names = [] if text is None else text.split(",")
    if len(names) > RULES_MAX or not all(map(RULE.fullmatch, names)):
        raise wrong_parameter("signals", f"at most {RULES_MAX} names of rules, as payment_failing, by commas")
    return frozenset(names)


class SignalWatch:
    """What one stream has told of the signals of these rules."""

    def __init__(
        self, rules: frozenset[str], clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._rules, self._clock = rules, clock
        self._told: dict[str, str] = {}
        self._ahead: list[datetime] = []

    def news(self, section: bytes) -> list[dict[str, Any]]:
        """What to tell of a section `signals`: of cleared ones id and rule, then raised ones as they are."""
        if not self._rules:
            return []
        now, risen, raised = self._clock(), {}, []
        self._ahead = []
        for raw in _signals(section):
            one = _signal(raw)
            if one.rule not in self._rules:
                continue
            if one.raised_at > now:
                self._ahead.append(one.raised_at)
                continue
            risen[one.signal_id] = one.rule
            if one.signal_id not in self._told:
                raised.append({"change": "raised", "signal": raw})
        cleared = [
            {"change": "cleared", "signal": {"signal_id": signal_id, "rule": rule}}
            for signal_id, rule in self._told.items()
            if signal_id not in risen
        ]
        self._told = risen
        return [*cleared, *raised]

    def seconds_until_next(self, most: float) -> float:
        """How long until a signal rises by itself, at most so long."""
        now = self._clock()
        return min([most, *(max(0.0, (at - now).total_seconds()) for at in self._ahead)])
