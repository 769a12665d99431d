"""Trains the autoencoder: pictures to the latents of `latents.py`, and these to sharp pictures.

What the latents are is known, so encoder and decoder are trained apart, in any order, against
latents and pictures that arithmetic gives:

    python -m training.autoencoder decoder --minutes 30
    python -m training.autoencoder encoder --minutes 8

The decoder sees latents with the faults that a diffusion model leaves (noise, a trace of another
shape) and must still draw the true picture. Steps alternate between close-ups of an object and,
less often, whole pictures. A run that was interrupted goes on where it stopped.
"""

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from tqdm import tqdm

from ray_stages.stages.contact_sheet import contact_sheet
from training.common import (
    WORK_DIRECTORY,
    Average,
    Clock,
    choose_device,
    save_atomically,
    to_images,
)
from training.feed import stream
from training.latents import CHANNELS, LATENT_SIZE, Plane, compose, compose_anywhere, to_latents
from training.tokenizer import refuse_another
from training.world import GRID, IMAGE_SIZE, JITTER, RADII, SHAPES, Scene, sample_scene

CROP = LATENT_SIZE // 2  # cells on a side of a close-up
ANYWHERE = 0.15  # share of the scenes whose objects have any size and stand off the grid
NOISE = 0.3
TRACE = 0.4
SURE = -12.0  # the encoder's log variance: latents have no noise of their own
SAVE_EVERY_SECONDS = 60


def build_autoencoder() -> AutoencoderKL:
    """About 2 M parameters, most of them where the picture is small; no attention."""
    channels = (16, 32, 96, 96)
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        norm_num_groups=1,  # many small groups would wipe out flat colours
        mid_block_add_attention=False,
        sample_size=IMAGE_SIZE,
        force_upcast=False,
        scaling_factor=1.0,
    )
    fix_quantisers(model)
    return model


def fix_quantisers(model: AutoencoderKL) -> None:
    """Makes the 1x1 convolutions beside the latents the identity, and the latents sure."""
    quant, post = model.quant_conv, model.post_quant_conv
    for conv in (quant, post):
        torch.nn.init.zeros_(conv.weight)
        torch.nn.init.zeros_(conv.bias)
        with torch.no_grad():
            for channel in range(CHANNELS):
                conv.weight[channel, channel] = 1
    torch.nn.init.constant_(quant.bias[CHANNELS:], SURE)


def sample_scenes(rng: random.Random) -> tuple[Scene, Scene]:
    """A scene, and the same with one object of another shape."""
    anywhere = rng.random() < ANYWHERE
    scene = sample_scene(rng, two_objects=0.5, jitter=JITTER if anywhere else 0.0)
    if anywhere:
        stretch = rng.uniform(0.85, 1.15)
        objects = [replace(item, radius=item.radius * stretch, size="") for item in scene.objects]
        scene = replace(scene, objects=tuple(objects))
    objects = list(scene.objects)
    index = rng.randrange(len(objects))
    objects[index] = replace(objects[index], shape=rng.choice(SHAPES))
    return scene, replace(scene, objects=tuple(objects))


def sample(rng: random.Random, size: int) -> tuple[Plane, Plane, Plane]:
    """A picture in -1…1, its latents, and those of the other scene, cut to `size` cells."""
    scene, other = sample_scenes(rng)
    draw = compose if scene.objects[0].size in RADII else compose_anywhere
    picture, _ = draw(scene, IMAGE_SIZE)
    latents = to_latents(*draw(scene, LATENT_SIZE))
    wrong = to_latents(*draw(other, LATENT_SIZE))
    item = rng.choice(scene.objects)
    corner = []
    for middle in (item.y, item.x):
        start = round(middle / GRID) + rng.randint(-1, 1) - size // 2
        corner.append(min(max(start, 0), LATENT_SIZE - size))
    top, left = corner
    every = slice(None)
    cells = every, slice(top, top + size), slice(left, left + size)
    pixels = (
        every,
        slice(GRID * top, GRID * (top + size)),
        slice(GRID * left, GRID * (left + size)),
    )
    return 2 * picture[pixels] - 1, latents[cells], wrong[cells]


@dataclass(frozen=True)
class MakeBatch:
    """Pictures [n, 3, 8·size, 8·size], latents and another scene's latents [n, 4, size, size].

    Three batches in four are close-ups, the fourth is a quarter as many whole pictures.
    """

    count: int
    whole: float = 0.25

    def __call__(self, rng: random.Random) -> tuple[torch.Tensor, ...]:
        if rng.random() < self.whole:
            return batch_of(rng, max(1, self.count // 4), LATENT_SIZE)
        return batch_of(rng, self.count, CROP)


def batch_of(rng: random.Random, count: int, size: int) -> tuple[torch.Tensor, ...]:
    """As `MakeBatch`, of one size in cells."""
    columns = zip(*(sample(rng, size) for _ in range(count)), strict=True)
    tensors = [torch.from_numpy(np.stack(column)) for column in columns]
    return tuple(one.contiguous(memory_format=torch.channels_last) for one in tensors)


def faulty(latents: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Latents as a diffusion model leaves them: with noise, and a trace of another shape."""
    shape = (len(latents), 1, 1, 1)
    trace = TRACE * torch.rand(shape, device=latents.device).square()
    noise = NOISE * torch.rand(shape, device=latents.device).square()
    return torch.lerp(latents, other, trace) + noise * torch.randn_like(latents)


def picture_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Absolute differences, which keep edges sharp, a few squares, and those of the slopes."""
    error = output - target
    slopes = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 0.5 * error.square().mean() + slopes


def train(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    device = choose_device()
    model = build_autoencoder()
    if args.start:
        refuse_another(args.start)
        start = AutoencoderKL.from_pretrained(args.start / "vae", torch_dtype=torch.float32)
        getattr(model, args.part).load_state_dict(getattr(start, args.part).state_dict())
    model = model.to(device, memory_format=torch.channels_last)
    part = getattr(model, args.part)
    average = Average(part, args.decay)
    optimizer = torch.optim.AdamW(
        part.parameters(), lr=args.learning_rate, betas=(0.9, 0.99), fused=True
    )
    state_file, step, elapsed = args.work / f"{args.part}.pt", 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, map_location=device)
        part.load_state_dict(state["part"])
        average.module.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step = average.updates = state["step"]
        elapsed = state["elapsed"]
    torch.manual_seed(args.seed + step)
    batches = stream(MakeBatch(args.batch, args.whole), args.seed + step, args.feeders)
    clock = Clock(args.minutes, elapsed)

    def save() -> None:
        state = {
            "part": part.state_dict(),
            "average": average.module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "elapsed": clock.elapsed,
        }
        save_atomically(state, state_file)
        export(model, args.part, average.module, args.work / args.part)

    bar = tqdm(desc=args.part, initial=step, unit="step", mininterval=10)
    saved = time.monotonic()
    while clock.progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = clock.learning_rate(args.learning_rate)
        pictures, latents, other = (part.to(device) for part in next(batches))
        if args.part == "decoder":
            loss = picture_loss(model.decoder(faulty(latents, other)), pictures)
        else:
            found = model.encoder(pictures)[:, :CHANNELS]
            loss = (found - latents).square().mean() + (found - latents).abs().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(part.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update(part)
        step += 1
        clock.tick()
        bar.update()
        if step % 10 == 0:
            bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
        if time.monotonic() - saved > SAVE_EVERY_SECONDS:
            save()
            saved = time.monotonic()
    save()


def export(model: AutoencoderKL, name: str, part: torch.nn.Module, directory: Path) -> None:
    """Saves the averaged part in an autoencoder, and a sheet of what it makes of pictures."""
    device = next(model.parameters()).device
    pictures, latents, other = (
        part.to(device) for part in batch_of(random.Random(1), 16, LATENT_SIZE)
    )
    trained = getattr(model, name)
    current = trained.state_dict()
    kept = {key: value.clone() for key, value in current.items()}
    trained.load_state_dict(part.state_dict())
    model.save_pretrained(directory)
    with torch.no_grad():
        if name == "decoder":
            torch.manual_seed(1)
            decoded = model.decoder(latents)
            restored = model.decoder(faulty(latents, other))
            error = (decoded - pictures).abs().mean().item()
            faults = (restored - pictures).abs().mean().item()
            print(f" whole pictures: L1 {error:.4f}, faulty {faults:.4f}", flush=True)
            rows = [
                pictures[:8],
                decoded[:8],
                restored[:8],
                pictures[8:],
                decoded[8:],
                restored[8:],
            ]
            contact_sheet(to_images(torch.cat(rows)), 8).save(directory.with_suffix(".png"))
        else:
            error = (model.encoder(pictures)[:, :CHANNELS] - latents).abs().mean().item()
            print(f" whole pictures: error of the latents {error:.4f}", flush=True)
    trained.load_state_dict(kept)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("decoder", "encoder"))
    parser.add_argument("--start", type=Path, help="a checkpoint to start from")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--batch", type=int, default=6, help="close-ups a step")
    parser.add_argument("--whole", type=float, default=0.25, help="share of whole pictures' steps")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--feeders", type=int, default=0, help="processes that make the batches")
    parser.add_argument("--decay", type=float, default=0.995, help="of the averaged weights")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=WORK_DIRECTORY)
    args = parser.parse_args(arguments)
    train(args)


if __name__ == "__main__":
    main()
