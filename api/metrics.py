"""What this server counts, for Prometheus.

Invariants:
- Labels are routes, methods, statuses and problem codes: bounded, and never anything of a customer or a key.
- Base units: seconds, records, requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from api.services import Services

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Around what is promised of a look-up, 5 ms, and up to where a client has hung up.
BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Counters of one server; its gauges are asked when somebody looks."""

    def __init__(self, services: Services) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Gauges(services))
        self._counted: dict[tuple[str, str, int, str], tuple[Counter, Histogram]] = {}
        self._requests = Counter(
            "scv_http_requests", "Requests answered.", ("method", "route", "status", "code"),
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "scv_http_request_seconds", "Until it was answered; of a stream, until it ended.", ("route",),
            buckets=BUCKETS, registry=self._registry,
        )  # fmt: skip

    def note(self, method: str, route: str, status: int, code: str, seconds: float) -> None:
        """Count a request."""
        kind = (method, route, status, code)
        counted = self._counted.get(kind)
        if counted is None:
            # As many as there are labels: bounded, as they are.
            counted = self._requests.labels(method, route, str(status), code), self._seconds.labels(route)
            self._counted[kind] = counted
        counted[0].inc()
        counted[1].observe(seconds)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    """What is so now; a value that is not known is left out."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        lag, audit = self._services.lags.lag, self._services.audit
        for name, said, value in (
            ("scv_lag_records", "Records that are not in the view yet.", lag.lag_records),
            ("scv_lag_seconds", "How long the oldest of them has waited.", lag.lag_seconds),
            ("scv_http_streams", "Open streams.", self._services.streams.open),
            ("scv_http_audit_waiting_records", "Audit records that are not acknowledged yet.", audit.waiting),
            ("scv_http_audit_late_seconds", "How long the oldest of them has waited.", audit.late_seconds),
        ):
            if value is not None:
                yield GaugeMetricFamily(name, said, value=value)
