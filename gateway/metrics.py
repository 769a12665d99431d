"""The metrics that `GET /metrics` exposes to Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)


class Metrics:
    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "gateway_requests", "By route and status", ["route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "gateway_request_seconds",
            "From the first byte in to the last one out",
            ["route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "gateway_in_flight", "Requests that are worked on", registry=self._registry
        )
        self.pictures = Counter("gateway_pictures", "Drawn", registry=self._registry)
        self.cache_hits = Counter(
            "gateway_cache_hits", "Requests that needed no drawing", registry=self._registry
        )
        self.jobs = Gauge(
            "gateway_jobs", "In the shared store, by status", ["status"], registry=self._registry
        )
        self.finished_jobs = Counter(
            "gateway_finished_jobs", "By this gateway", ["status"], registry=self._registry
        )

    def exposition(self) -> bytes:
        return generate_latest(self._registry)
