"""Warms up a denoiser before its replica counts as ready, in the thread in which it will work."""

from __future__ import annotations

import time

import numpy as np

from ray_stages.denoising import row_limit as limits
from ray_stages.denoising.denoiser import Denoiser
from ray_stages.families import networks
from ray_stages.requests.model_card import ModelCard
from ray_stages.requests.stage_requests import DenoiseRequest, Guidance

PREPARE_SECONDS = 5.0
PICTURE_SECONDS = 10.0


def default_picture(denoiser: Denoiser, card: ModelCard) -> None:
    """Takes a picture of the default size, scheduler and steps through all steps.

    Raises StageFailed where a value is not finite, so that a replica that cannot draw is never
    ready. Where the UNet takes long, its latest prediction serves for the steps that are left
    after PICTURE_SECONDS.
    """
    embeds = np.zeros((1, networks.TOKENS, card.embed_dim), np.float32)
    size = (card.height, card.width)
    request = DenoiseRequest(embeds, embeds, [0], card.steps, Guidance(2), *size, card.scheduler)
    picture = denoiser.start(request, 0)
    end = time.monotonic() + PICTURE_SECONDS
    prediction = denoiser.predict([picture])[0]
    denoiser.advance(picture, prediction)
    while not picture.done:
        if time.monotonic() < end:
            prediction = denoiser.predict([picture])[0]
        denoiser.advance(picture, prediction)


def row_limit(denoiser: Denoiser, card: ModelCard) -> int:
    """Measures how many rows a batch may have, at the model's default size."""
    return limits.measure(lambda count: denoiser.compute(count, card.height, card.width))


def prepare(denoiser: Denoiser, card: ModelCard, max_rows: int) -> None:
    """Prepares batches of 1 to `max_rows` rows at the default size, within PREPARE_SECONDS.

    Even counts come first: guided pictures have two rows each.
    """
    end = time.monotonic() + PREPARE_SECONDS
    for count in (*range(2, max_rows + 1, 2), *range(1, max_rows + 1, 2)):
        if time.monotonic() > end:
            break
        denoiser.prepare(count, card.height, card.width)
