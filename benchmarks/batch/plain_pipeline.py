"""The peer: a Ray Data operator that holds a whole diffusers pipeline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch

from batch.operators.actor import OperatorActor
from batch.rows import Row
from benchmarks.common.png import to_png
from benchmarks.peers.diffusers_pipeline import DiffusersPipeline
from ray_stages.settings import Settings


class PlainPipeline(OperatorActor):
    """One actor with diffusers' whole pipeline, as in Ray Data's own examples.

    It calls the pipeline once for each number of steps and size among the rows of a batch, which is
    as fast as this design goes.
    """

    name = "denoise"

    def __init__(self, settings: Settings, fast: bool) -> None:
        super().__init__(settings.resources("unet").threads)
        self.pipeline = self.torch.submit(
            lambda: DiffusersPipeline(settings, fast=fast).pipeline
        ).result()

    def compute(self, valid: Sequence[Row]) -> None:
        groups: dict[tuple[int, ...], list[Row]] = defaultdict(list)
        for row in valid:
            groups[row["steps"], row["height"], row["width"]].append(row)
        for (steps, height, width), members in groups.items():
            images = self.pipeline(
                [row["prompt"] for row in members],
                num_inference_steps=steps,
                height=height,
                width=width,
                guidance_scale=members[0]["guidance_scale"],
                generator=[torch.Generator("cpu").manual_seed(row["seed"]) for row in members],
            ).images
            for row, image in zip(members, images, strict=True):
                row["png"] = to_png(image)
