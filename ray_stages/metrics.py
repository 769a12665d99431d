"""Each stage's own metrics on Triton's metrics port."""

from __future__ import annotations

import triton_python_backend_utils as pb_utils

from ray_stages.errors import RelayError

BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]


class StageMetrics:
    """Names begin with `latent_relay_`; every one has the label `stage`."""

    def __init__(self, stage: str) -> None:
        labels = {"stage": stage}
        family = pb_utils.MetricFamily
        # Triton drops a family when its Python object is collected, so all of them are kept.
        self._families = [
            family("latent_relay_requests_total", "requests", family.COUNTER),
            family("latent_relay_failures_total", "failed requests by kind", family.COUNTER),
            family("latent_relay_latency_seconds", "seconds to an answer", family.HISTOGRAM),
            family("latent_relay_in_flight", "pictures in flight", family.GAUGE),
        ]
        requests, failures, latency, in_flight = self._families
        self._requests = requests.Metric(labels=labels)
        kinds = {error.kind for error in RelayError.__subclasses__()}
        self._failures = {kind: failures.Metric(labels={**labels, "kind": kind}) for kind in kinds}
        self._latency = latency.Metric(labels=labels, buckets=BUCKETS)
        self._in_flight = in_flight.Metric(labels=labels)

    def answered(self, seconds: float) -> None:
        self._requests.increment(1)
        self._latency.observe(seconds)

    def failed(self, kind: str) -> None:
        self._requests.increment(1)
        self._failures[kind].increment(1)

    def in_flight(self, pictures: int) -> None:
        self._in_flight.set(pictures)
