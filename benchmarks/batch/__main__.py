"""Measures our batch pipeline beside the plain way to write one.

The plain way is that of Ray Data's own examples: `map_batches` with an actor that holds diffusers'
StableDiffusionPipeline and draws a batch in each call. Reading and writing are the same for all.
Figures go to benchmarks/results/batch.json and into docs/batch.md. The model and its device come
from the environment, as for `make serve`.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from itertools import product
from pathlib import Path

from batch.ray_cluster import ray_cluster
from batch.run import service_settings
from benchmarks.batch.markdown import GOAL, PEER_LABELS, markdown
from benchmarks.batch.measure import measure
from benchmarks.batch.prompts import LOADS, benchmark_pipeline
from benchmarks.measurement.machine import model_facts
from benchmarks.reports.report import publish
from ray_stages.settings import ROOT, Settings

DOCUMENT = ROOT / "docs" / "batch.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__)
    parser.add_argument("--rows", type=int, default=192, help="of each load: 192")
    parser.add_argument("--loads", nargs="+", default=list(LOADS), choices=LOADS, help="all")
    parser.add_argument(
        "--peers", nargs="+", default=list(PEER_LABELS), choices=PEER_LABELS, help="all"
    )
    parser.add_argument("--dry", action="store_true", help="only print what would be written")
    arguments = parser.parse_args()
    if not {"plain", "ours"} <= set(arguments.peers):
        parser.error("--peers: plain and ours at least")
    measurements = []
    any_pipeline = benchmark_pipeline(Path())
    with ray_cluster(any_pipeline, service_settings(any_pipeline)):
        for load, peer in product(arguments.loads, arguments.peers):
            measurements.append(measure(load, peer, arguments.rows))
            print(measurements[-1], flush=True)
    text = markdown(measurements)
    print(text)
    if not arguments.dry:
        figures = {
            "model": model_facts(Settings.from_env()),
            "rows": arguments.rows,
            "goal": GOAL,
            "cells": [asdict(one) for one in measurements],
        }
        publish("batch", figures, text, DOCUMENT)


if __name__ == "__main__":
    main()
