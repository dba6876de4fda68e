"""Who read whose data: one record of `scv.audit` for each customer shown, without slowing the read.

Invariants:
- Nothing is shown that is not at least on its way to the log: when the queue is full, reads are refused.
- When the log has not acknowledged for a while, reads of personal data are refused at once, masked ones go on
  until the queue is full. What waits is produced again until it is acknowledged; a record's id tells repeats.
- A record names customer, sections, key, purpose, reason; never the data itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from random import getrandbits
from typing import Any, Protocol

import msgspec

from api.problems import Problem
from eventlog.errors import LogError
from eventlog.topics import AUDIT

SOURCE = b"scv/http"
# About 40 MB; at a thousand reads a second it takes a broker's restart.
WAITING_MAX = 50_000
# After this long without an acknowledgement a crash would lose who saw what.
LATE_SECONDS = 5.0
# The thread that produces wakes so often: a record is in the log within that, and no read waits for it.
GATHER_SECONDS = 0.02
BATCH_MAX = 1_000
AGAIN_SECONDS = 0.5
# When the server ends: the log has this long for what waits.
CLOSE_SECONDS = 10.0

_log = logging.getLogger("scv.http")
_write = msgspec.json.Encoder().encode


class Outlet(Protocol):
    """Where records go: `eventlog.producing.LogProducer`."""

    def produce(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Hand over one record."""

    def flush(self) -> None:
        """Wait until everything handed over is acknowledged."""

    def close(self) -> None:
        """Disconnect."""


def audit_records(wire_type: str, customer_ids: Sequence[str], data: dict[str, Any]) -> list[bytes]:
    """The CloudEvents of the customers that one answer shows."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    what, said = _write(wire_type), _write(data)
    # An id need not be hard to guess: it tells repeats apart, and this takes a tenth of the time of uuid4.
    return [
        b'{"specversion":"1.0","id":"%032x","source":"%s","type":%s,"time":"%s","subject":%s,'
        b'"datacontenttype":"application/json","data":%s}'
        % (getrandbits(128), SOURCE, what, at.encode(), _write(customer_id), said)
        for customer_id in customer_ids
    ]


class AuditTrail:
    """The queue to `scv.audit`, and the thread that empties it. `outlet` makes a producer for that thread."""

    def __init__(self, outlet: Callable[[], Outlet], waiting_max: int = WAITING_MAX) -> None:
        self._make, self._most = outlet, waiting_max
        self._waiting: deque[tuple[float, bytes, bytes]] = deque()
        self._ended, self._given_up = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="scv-audit", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Records that are not acknowledged yet."""
        return len(self._waiting)

    @property
    def late_seconds(self) -> float:
        """How long the oldest record waits; 0 when none does."""
        try:
            return time.monotonic() - self._waiting[0][0]
        except IndexError:
            return 0.0

    def require(self, count: int, *, personal: bool) -> None:
        """Problem unless so many more records can be taken, for a read of `personal` data."""
        if len(self._waiting) + count > self._most:
            raise Problem("audit_unavailable", "too many reads wait to be audited; the event log is away")
        if personal and self.late_seconds > LATE_SECONDS:
            raise Problem(
                "audit_unavailable",
                f"the event log has not acknowledged an audit record for {LATE_SECONDS:g} s; "
                "masked reads go on meanwhile",
            )

    def note(
        self, wire_type: str, customer_ids: Sequence[str], data: dict[str, Any], *, personal: bool
    ) -> None:
        """Take the records of one read. Problem `audit_unavailable`: then nothing may be shown."""
        self.require(len(customer_ids), personal=personal)
        now = time.monotonic()
        records = audit_records(wire_type, customer_ids, data)
        for customer_id, record in zip(customer_ids, records, strict=True):
            self._waiting.append((now, customer_id.encode(), record))

    def close(self) -> None:
        """Give the log a last chance for what waits; what it does not take is counted in the server's log."""
        self._ended.set()
        self._thread.join(CLOSE_SECONDS)
        self._given_up.set()
        if self._waiting:
            _log.error("%d audit records were not acknowledged and are lost", len(self._waiting))

    def _run(self) -> None:
        outlet = self._make()
        while not (self._ended.is_set() and not self._waiting):
            if not self._waiting:
                self._ended.wait(GATHER_SECONDS)
                continue
            # Not taken out before they are acknowledged: only this thread takes out, and at the left end.
            batch = [self._waiting[at] for at in range(min(len(self._waiting), BATCH_MAX))]
            try:
                for _, key, value in batch:
                    outlet.produce(AUDIT, key, value)
                outlet.flush()
            except LogError as failed:
                _log.warning("audit: %s", failed)
                # Also at the end: a broker that restarts is back before that is over.
                if self._given_up.wait(AGAIN_SECONDS):
                    break
                continue
            for _ in batch:
                self._waiting.popleft()
            self._ended.wait(GATHER_SECONDS)
