"""Measures a scheduler's `step` for each picture, as a share of the UNet's call for all of them.

The model and its device come from the environment, as for `make serve`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.load.samples import percentile
from benchmarks.measurement.machine import model_facts
from benchmarks.reports.report import publish
from benchmarks.reports.tables import markdown_table
from ray_stages.denoising.denoiser import Denoiser
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests import schedulers
from ray_stages.settings import Settings

SCHEDULERS = ("ddim", "euler", "euler_ancestral", "dpmpp_2m", "pndm", "lcm")
ROWS = (2, 8, 32)
ROWS_PER_PICTURE = 2
STEPS = 20
WARM_UP = 2


def unet_ms(checkpoint: Checkpoint, repeats: int) -> dict[int, float]:
    """Returns the median milliseconds of one call, by number of rows."""
    denoiser, card = Denoiser(checkpoint), checkpoint.card
    medians = {}
    for rows in ROWS:
        call = partial(denoiser.compute, rows, card.height, card.width)
        times = [_milliseconds(checkpoint, call) for _ in range(WARM_UP + repeats)]
        medians[rows] = percentile(times[WARM_UP:], 50)
    return medians


def step_ms(checkpoint: Checkpoint, name: str, repeats: int) -> float:
    """Returns the milliseconds of one step, the median over all steps of `repeats` pictures."""
    card = checkpoint.card
    sides = (card.height // card.vae_scale_factor, card.width // card.vae_scale_factor)
    shape = (1, card.latent_channels, *sides)
    latents = torch.randn(shape).to(checkpoint.device, checkpoint.dtype)
    times = []
    for _ in range(repeats):
        scheduler = schedulers.create(name, checkpoint.scheduler_config)
        scheduler.set_timesteps(STEPS, device=checkpoint.device)
        for t in scheduler.timesteps:
            times.append(_milliseconds(checkpoint, partial(_step, scheduler, latents, t)))
    return percentile(times, 50)


def _step(scheduler: Any, latents: torch.Tensor, t: torch.Tensor) -> object:
    scaled = scheduler.scale_model_input(latents, t)
    return scheduler.step(scaled, t, latents, return_dict=False)


def _milliseconds(checkpoint: Checkpoint, call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    with torch.inference_mode():
        call()
    if checkpoint.device.type == "cuda":
        torch.cuda.synchronize(checkpoint.device)
    return 1000 * (time.perf_counter() - begin)


def markdown(unet: dict[int, float], steps: dict[str, float]) -> str:
    rows = [
        (f"`{name}`", f"{step:.3f}", *(f"{100 * share(step, unet[n], n):.1f} %" for n in ROWS))
        for name, step in steps.items()
    ]
    unet_row = ("UNet, ms", "", *(f"{unet[n]:.1f}" for n in ROWS))
    head = ("scheduler", "one step, ms", *(f"{n} rows" for n in ROWS))
    return markdown_table(head, [unet_row, *rows])


def share(step: float, unet: float, rows: int) -> float:
    """Returns the time of the steps of all pictures in a batch, as a share of the UNet's call."""
    return rows / ROWS_PER_PICTURE * step / unet


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scheduler_cost", description=__doc__
    )
    parser.add_argument("--repeats", type=int, default=10, help="of each: 10")
    parser.add_argument("--dry", action="store_true", help="only print what would be written")
    arguments = parser.parse_args()
    settings = Settings.from_env()
    torch.set_num_threads(settings.resources("unet").threads)
    checkpoint = Checkpoint(settings)
    unet = unet_ms(checkpoint, arguments.repeats)
    steps = {name: step_ms(checkpoint, name, arguments.repeats) for name in SCHEDULERS}
    text = markdown(unet, steps)
    print(text)
    if not arguments.dry:
        figures = {"model": model_facts(settings), "unet_ms": unet, "step_ms": steps}
        publish("scheduler_cost", figures, text)


if __name__ == "__main__":
    main()
