"""The loss on pictures that are never trained on, by timestep band and class, on fixed noise."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler

from training.tuning.checkpoint import Checkpoint, Encoded

BANDS = 4
TOGETHER = 16
SEED = 20_260_101


@dataclass(frozen=True)
class Losses:
    """Mean squared errors: of all, by timestep band from little noise to much, and by class."""

    mean: float
    bands: tuple[float, ...]
    classes: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def noise_scheduler(checkpoint: Checkpoint) -> DDPMScheduler:
    """The checkpoint's noise schedule, as training needs it."""
    scheduler: DDPMScheduler = DDPMScheduler.from_config(checkpoint.pipeline.scheduler.config)
    return scheduler


def loss_of(
    checkpoint: Checkpoint,
    scheduler: DDPMScheduler,
    latents: torch.Tensor,
    words: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
) -> torch.Tensor:
    """The mean squared error of each row, [n], for what the checkpoint predicts.

    Raises:
        ValueError: the checkpoint predicts neither the noise, nor v, nor the sample.
    """
    kind = scheduler.config.prediction_type
    targets = {"epsilon": noise, "sample": latents}
    if kind == "v_prediction":
        targets[kind] = scheduler.get_velocity(latents, noise, timesteps)
    if kind not in targets:
        raise ValueError(f"prediction_type {kind!r} is neither epsilon, v_prediction nor sample")
    noisy = scheduler.add_noise(latents, noise, timesteps)
    found = checkpoint.unet(noisy, timesteps, words).sample
    error: torch.Tensor = found.float() - targets[kind].float()
    return error.square().mean(dim=(1, 2, 3))


@torch.no_grad()
def measure(checkpoint: Checkpoint, scheduler: DDPMScheduler, held: Encoded) -> Losses:
    """Each held-out picture once in each band, always with the same noise and timesteps."""
    checkpoint.unet.eval()
    generator = torch.Generator().manual_seed(SEED)
    total = scheduler.config.num_train_timesteps
    table = torch.empty(len(held), BANDS)
    for band in range(BANDS):
        low, high = total * band // BANDS, total * (band + 1) // BANDS
        for first in range(0, len(held), TOGETHER):
            rows = slice(first, first + TOGETHER)
            latents = held.latents[rows]
            noise = torch.randn(latents.shape, generator=generator)
            timesteps = torch.randint(low, high, (len(latents),), generator=generator)
            parts = (latents, held.words[rows], noise, timesteps)
            moved = [part.to(checkpoint.device) for part in parts]
            table[rows, band] = loss_of(checkpoint, scheduler, *moved).cpu()
    checkpoint.unet.train()
    rows_of = {
        label: [row for row, one in enumerate(held.labels) if one == label]
        for label in sorted(set(held.labels))
    }
    return Losses(
        mean=float(table.mean()),
        bands=tuple(table.mean(dim=0).tolist()),
        classes={label: float(table[rows].mean()) for label, rows in rows_of.items()},
    )
