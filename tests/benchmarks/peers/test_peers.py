"""The times that peers report."""

from __future__ import annotations

import pytest

from benchmarks.load.samples import Measurement, Sample
from benchmarks.peers.diffusers_pipeline import Times
from benchmarks.peers.relay import Relay
from ray_stages.settings import Settings


def test_a_pipelines_times_add_up() -> None:
    times = Times(arrived=1, began=2, first_step=4, decoding=7, ended=11, returned=16)
    assert times.spans == {"queue": 6, "text_encoder": 2, "unet": 3, "vae_decoder": 4}


def test_hops_and_stages_add_up_to_the_latency() -> None:
    stages = ("text_encoder", "unet", "vae_decoder")
    spans = {name: 0.1 for stage in stages for name in (stage, f"{stage}_queue")}
    one = Measurement("relay", "1 client", 0, 1.0, 0.0, [Sample(0.0, 20, 1.0, spans=spans)])
    means = {"triton": 0.9, **dict.fromkeys(stages, 0.25)}
    between = Relay(Settings()).hops(means, one)
    assert sum(between.values()) + sum(spans.values()) == pytest.approx(1.0)
    assert between["bridge ↔ unet"] == pytest.approx(0.05)
