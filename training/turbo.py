"""Distils the miniature to a sibling that draws in 1 to 4 steps, without guidance.

Latent consistency distillation (Luo et al. 2023): the teacher takes one guided DDIM step from a
noisy latent, and the student must give the same picture from before the step as its own average
gives from after it. The points are those of the teacher's own sampling, so ten are enough. Text
encoder and autoencoder stay as they are.

    python -m training.turbo --minutes 20
    python -m training.evaluate --checkpoint models/miniature-turbo --steps 4 --guidance 1

A run that was interrupted goes on where it stopped.
"""

import argparse
import copy
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import LCMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from tqdm import tqdm

from training.common import (
    WORK_DIRECTORY,
    Average,
    Clock,
    choose_device,
    save_atomically,
)
from training.diffusion import MakeBatch, build_scheduler
from training.export import write_checkpoint
from training.feed import stream
from training.known import CHECKPOINT
from training.latents import object_weights
from training.tokenizer import refuse_another

TURBO = Path("models/miniature-turbo")
POINTS = 10
GENERATION_CONFIG = {"num_inference_steps": 4, "guidance_scale": 1.0}
SAVE_EVERY_SECONDS = 120


def build_turbo_scheduler() -> LCMScheduler:
    """The miniature's noise schedule with its `POINTS` timesteps, for consistency sampling."""
    config = build_scheduler().config
    return LCMScheduler.from_config(config, original_inference_steps=POINTS)


class Noise:
    """The schedule at its points: 0 is the picture, `POINTS` pure noise."""

    def __init__(self, device: torch.device) -> None:
        products = build_scheduler().alphas_cumprod.to(device)
        spacing = len(products) // POINTS
        self.timesteps = torch.arange(POINTS + 1, device=device) * spacing - 1
        kept = torch.cat([torch.ones(1, device=device), products[self.timesteps[1:]]])
        self.signal, self.noise = kept.sqrt(), (1 - kept).sqrt()

    def mix(self, clean: torch.Tensor, noise: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        signal, share = (part[points][:, None, None, None] for part in (self.signal, self.noise))
        return signal * clean + share * noise

    def clean(self, mixed: torch.Tensor, v: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """The picture that v tells of."""
        signal, share = (part[points][:, None, None, None] for part in (self.signal, self.noise))
        return signal * mixed - share * v

    def left(self, mixed: torch.Tensor, v: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """The noise that v tells of."""
        signal, share = (part[points][:, None, None, None] for part in (self.signal, self.noise))
        return share * mixed + signal * v


def target_of(
    teacher: UNet2DConditionModel,
    average: UNet2DConditionModel,
    noise: Noise,
    latents: torch.Tensor,
    points: torch.Tensor,
    words: torch.Tensor,
    no_words: torch.Tensor,
    guidance: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy latents, and the picture that the student must see in them, both [n, 4, h, w].

    points: [n] of 1 to `POINTS`, how noisy the latents are to be.
    """
    mixed = noise.mix(latents, torch.randn_like(latents), points)
    both = torch.cat([words, no_words.expand_as(words)])
    v = teacher(mixed.repeat(2, 1, 1, 1), noise.timesteps[points].repeat(2), both).sample
    asked, free = v.chunk(2)
    v = free + guidance * (asked - free)
    clean, left = noise.clean(mixed, v, points), noise.left(mixed, v, points)
    after = noise.mix(clean, left, points - 1)
    last = (points == 1)[:, None, None, None]
    v = average(after, noise.timesteps[(points - 1).clamp(min=1)], words).sample
    return mixed, torch.where(last, clean, noise.clean(after, v, points - 1))


def train(args: argparse.Namespace) -> StableDiffusionPipeline:
    torch.set_num_threads(args.threads)
    device = choose_device()
    pipeline = StableDiffusionPipeline.from_pretrained(args.teacher, torch_dtype=torch.float32)
    pipeline = pipeline.to(device)
    config = json.loads((args.teacher / "generation_config.json").read_text())
    teacher = pipeline.unet.requires_grad_(False).eval()
    teacher.set_attn_processor(AttnProcessor())
    student = copy.deepcopy(teacher).requires_grad_(True).train()
    average = Average(student, args.decay)
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=args.learning_rate, betas=(0.9, 0.99), fused=True
    )
    state_file, step, elapsed = args.work / "turbo.pt", 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, map_location=device)
        student.load_state_dict(state["unet"])
        average.module.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, elapsed = state["step"], state["elapsed"]
        average.updates = step
    torch.manual_seed(args.seed + step)
    make = MakeBatch(pipeline.tokenizer, args.batch, dropout=0.0)
    batches = stream(make, args.seed + step + 1, args.feeders)
    noise, clock, saved = Noise(device), Clock(args.minutes, elapsed), time.monotonic()
    with torch.no_grad():
        empty = pipeline.tokenizer("", padding="max_length", return_tensors="pt").input_ids
        no_words = pipeline.text_encoder(empty.to(device)).last_hidden_state
    bar = tqdm(desc="turbo", initial=step, unit="step", mininterval=20)
    while clock.progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = clock.learning_rate(args.learning_rate)
        latents, tokens = (part.to(device) for part in next(batches))
        points = torch.randint(1, POINTS + 1, (len(latents),), device=device)
        with torch.no_grad():
            words = pipeline.text_encoder(tokens).last_hidden_state
            mixed, target = target_of(
                *(teacher, average.module, noise, latents, points, words, no_words),
                config["guidance_scale"],
            )
        v = student(mixed, noise.timesteps[points], words).sample
        error = (noise.clean(mixed, v, points) - target).square() * object_weights(latents)
        loss = error.mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update(student)
        step += 1
        clock.tick()
        bar.update()
        bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
        if time.monotonic() - saved > SAVE_EVERY_SECONDS or clock.progress >= 1:
            saved = time.monotonic()
            state = {"unet": student.state_dict(), "average": average.module.state_dict()}
            rest = {"optimizer": optimizer.state_dict(), "step": step, "elapsed": clock.elapsed}
            save_atomically({**state, **rest}, state_file)
    pipeline.unet, pipeline.scheduler = average.module, build_turbo_scheduler()
    return pipeline


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", type=Path, default=CHECKPOINT)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--decay", type=float, default=0.98, help="of the averaged weights")
    parser.add_argument("--feeders", type=int, default=0, help="processes that make the batches")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=WORK_DIRECTORY)
    parser.add_argument("--output", type=Path, default=TURBO)
    args = parser.parse_args(arguments)
    refuse_another(args.teacher)
    args.work.mkdir(parents=True, exist_ok=True)
    write_checkpoint(train(args), args.output, GENERATION_CONFIG)


if __name__ == "__main__":
    main()
