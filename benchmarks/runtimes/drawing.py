"""Draws pictures with a runtime, and compares and judges them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.common.png import from_png
from benchmarks.measurement.runner import difference
from ray_stages.denoising.denoiser import Denoiser
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests.stage_requests import (
    DecodeRequest,
    DenoiseRequest,
    EncodeTextRequest,
    Guidance,
)
from ray_stages.runtimes.network import Opener
from ray_stages.stages.image_decoder import ImageDecoder
from ray_stages.stages.text_encoder import TextEncoder
from training.evaluate import judged
from training.world import Scene

BATCH = 16
VISIBLE = 8  # of 255
Case = tuple[Scene, str]


@dataclass(frozen=True)
class Deviation:
    """largest: difference, of 255; share: of pixels that differ by more than VISIBLE."""

    largest: int
    share: float


def draw(checkpoint: Checkpoint, prompts: list[str], steps: int, opener: Opener) -> list[bytes]:
    """Returns a PNG for each prompt. Its seed is the prompt's number."""
    encoder, denoiser = TextEncoder(checkpoint, opener), Denoiser(checkpoint, opener)
    decoder, card = ImageDecoder(checkpoint, opener), checkpoint.card
    files: list[bytes] = []
    for start in range(0, len(prompts), BATCH):
        part = prompts[start : start + BATCH]
        embeds: dict[str, Any] = encoder.encode([EncodeTextRequest(part, "")])[0]
        request = DenoiseRequest(
            **embeds,
            seeds=list(range(start, start + len(part))),
            steps=steps,
            guidance=Guidance(card.guidance_scale),
            height=card.height,
            width=card.width,
            scheduler=card.scheduler,
        )
        latents = _denoise(denoiser, request)
        files += decoder.decode([DecodeRequest(latents.numpy(), [{}] * len(part))])[0]
    return files


def _denoise(denoiser: Denoiser, request: DenoiseRequest) -> torch.Tensor:
    pictures = [denoiser.start(request, i) for i in range(len(request.seeds))]
    while not pictures[0].done:
        for picture, prediction in zip(pictures, denoiser.predict(pictures), strict=True):
            denoiser.advance(picture, prediction)
    return torch.cat([picture.latents for picture in pictures])


def deviation(files: Sequence[bytes], reference: Sequence[bytes]) -> Deviation:
    """Compares pictures with reference pictures, as many as both have."""
    pairs = list(zip(files, reference, strict=False))
    shares = []
    for pair in pairs:
        ours, theirs = (np.asarray(from_png(file)).astype(int) for file in pair)
        shares.append(float((np.abs(ours - theirs).max(axis=-1) > VISIBLE).mean()))
    return Deviation(max(map(difference, pairs)), sum(shares) / len(shares))


def shares_right(cases: list[Case], files: Sequence[bytes]) -> dict[str, float]:
    """Returns the shares that the judge finds right; one and two objects have the same weight."""
    figures = judged(cases, [from_png(file) for file in files])
    keys = ("background", "colour", "shape", "place")
    means = {key: (figures.single[key] + figures.pair[key]) / 2 for key in keys}
    return {**means, "all": figures.score}
