"""The metrics of each stage, which Triton serves on its metrics port."""

from __future__ import annotations

import triton_python_backend_utils as pb_utils

from ray_stages.errors import RelayError

BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]


class StageMetrics:
    """Counts the requests of one bridge.

    All names begin with `latent_relay_`, and every metric has the label `stage`.
    """

    def __init__(self, stage: str) -> None:
        labels = {"stage": stage}
        make = pb_utils.MetricFamily
        # Triton drops a family when its Python object is collected, so all are kept here.
        self._families = requests, failures, latency, in_flight = (
            make("latent_relay_requests_total", "Requests", make.COUNTER),
            make("latent_relay_failures_total", "Failed requests by kind", make.COUNTER),
            make("latent_relay_latency_seconds", "Seconds to an answer", make.HISTOGRAM),
            make("latent_relay_in_flight", "Pictures in flight", make.GAUGE),
        )
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
