"""Trains the autoencoder: 128x128 pictures to 4x16x16 latents and back, with sharp edges.

First on crops around the edges of objects, then on whole pictures, at last the decoder alone on
noisy latents, so that it forgives the small mistakes of the diffusion model:

    python -m training.autoencoder --minutes 20 --crop 64 --batch 16 --name vae
    python -m training.autoencoder --minutes 10 --start .train/vae --name vae-whole
    python -m training.autoencoder --minutes 10 --start .train/vae-whole --name vae-final \
        --freeze-encoder --latent-noise 0.15

A run that was interrupted goes on where it stopped when it is started again.
"""

import argparse
import random
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from PIL import Image
from tqdm import tqdm

from ray_stages.stages.contact_sheet import contact_sheet
from training.common import (
    WORK_DIRECTORY,
    Average,
    Clock,
    choose_device,
    run_workers,
    save_atomically,
    to_images,
    to_tensor,
)
from training.world import GRID, IMAGE_SIZE, JITTER, draw, sample_scene

KL_WEIGHT = 3e-4
SAVE_EVERY_SECONDS = 60
ODD_COLOURS = 0.15


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
    )
    initialise(model)
    return model


def initialise(model: AutoencoderKL) -> None:
    """Starts as a linear map with little noise, so that flat colours pass from the first step.

    Left as they come, the normalised residual branches drown them for hundreds of steps, and so
    does the noise on the latents, which here begins with a deviation of 0.05.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, ResnetBlock2D):
            torch.nn.init.zeros_(module.conv2.weight)
    torch.nn.init.constant_(model.quant_conv.bias[model.config.latent_channels :], -6.0)


def sample_crop(rng: random.Random, crop: int) -> Image.Image:
    """A picture, cut to a square that most likely holds an edge of an object."""
    scene = sample_scene(rng, jitter=rng.choice((0.0, JITTER)))
    image = draw(scene)
    if rng.random() < ODD_COLOURS:
        image = Image.merge("RGB", rng.sample(image.split(), 3))
        low, high = rng.uniform(0, 80), rng.uniform(120, 255)
        image = image.point([round(low + (high - low) * value / 255) for value in range(256)] * 3)
    if crop == IMAGE_SIZE:
        return image
    item = rng.choice(scene.objects)
    corner = []
    for middle in (item.x, item.y):
        start = middle + rng.uniform(-1, 1) * item.radius - crop / 2
        corner.append(GRID * round(min(max(start, 0), IMAGE_SIZE - crop) / GRID))
    left, top = corner
    return image.crop((left, top, left + crop, top + crop))


def reconstruction_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Absolute and squared differences, and those of the slopes, which keep edges sharp."""
    error = output.float() - target
    slopes = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + error.square().mean() + slopes


def measure_scaling(model: AutoencoderKL, pictures: torch.Tensor) -> float:
    """The factor that gives latents a standard deviation of one."""
    with torch.no_grad():
        latents = model.encode(pictures).latent_dist.sample()
    return 1 / float(latents.float().std())


def train(
    rank: int, model: AutoencoderKL, average: Average[AutoencoderKL], args: argparse.Namespace
) -> None:
    """One worker; the workers share the weights and update them without waiting."""
    torch.set_num_threads(args.threads)
    device = model.device
    scale = model.config.scaling_factor
    if args.freeze_encoder:
        model.encoder.requires_grad_(False)
        model.quant_conv.requires_grad_(False)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=args.learning_rate, betas=(0.9, 0.99))
    state_file = args.work / f"{args.name}.pt"
    clock, step = Clock(args.minutes), 0
    if state_file.exists():
        state = torch.load(state_file, map_location=device)
        optimizer.load_state_dict(state["optimizer"])
        step, average.updates = state["step"], state["step"]
        clock = Clock(args.minutes, state["elapsed"])
    seed = args.seed + 1000 * rank + step
    torch.manual_seed(seed)
    rng = random.Random(seed)

    def save() -> None:
        state = {
            "model": model.state_dict(),
            "average": average.module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "elapsed": clock.elapsed,
        }
        save_atomically(state, state_file)
        export(average.module, args.work / args.name, args.freeze_encoder)

    bar = tqdm(desc=args.name, initial=step, unit="step", mininterval=10, disable=rank > 0)
    last_save = time.monotonic()
    while clock.progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = clock.learning_rate(args.learning_rate)
        images = to_tensor([sample_crop(rng, args.crop) for _ in range(args.batch)])
        images = images.to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            posterior = model.encode(images).latent_dist
            latents = posterior.sample()
            if args.latent_noise:
                strength = torch.rand(len(latents), 1, 1, 1, device=device) * args.latent_noise
                latents = latents + torch.randn_like(latents) * strength / scale
            output = model.decode(latents).sample
        loss = reconstruction_loss(output, images)
        kl = posterior.kl().float().mean() / latents[0].numel()
        (loss + KL_WEIGHT * kl).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        bar.update()
        if rank > 0:
            continue
        average.update(model)
        if step % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.4f}", kl=f"{kl.item():.2f}", refresh=False)
        if time.monotonic() - last_save > SAVE_EVERY_SECONDS:
            save()
            last_save = time.monotonic()
    if rank == 0:
        save()


def export(model: AutoencoderKL, directory: Path, keep_scaling: bool) -> None:
    """Saves the averaged weights and a sheet of originals above their reconstructions."""
    rng = random.Random(1)
    device = next(model.parameters()).device
    pictures = to_tensor([draw(sample_scene(rng)) for _ in range(64)]).to(device)
    if not keep_scaling:
        model.register_to_config(scaling_factor=measure_scaling(model, pictures))
    model.save_pretrained(directory)
    with torch.no_grad():
        decoded = model.decode(model.encode(pictures[:16]).latent_dist.mode()).sample
    print(f" whole pictures: L1 {(decoded - pictures[:16]).abs().mean().item():.4f}", flush=True)
    rows = [pictures[:8], decoded[:8], pictures[8:16], decoded[8:]]
    contact_sheet(to_images(torch.cat(rows)), 8).save(directory.with_suffix(".png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="vae", help="of the run and its output directory")
    parser.add_argument("--start", type=Path, help="an autoencoder to start from")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--crop", type=int, default=IMAGE_SIZE, help="side of the training crops")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--freeze-encoder", action="store_true")
    parser.add_argument("--latent-noise", type=float, default=0.0)
    parser.add_argument("--workers", type=int, default=1, help="processes, each with --threads")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=WORK_DIRECTORY)
    args = parser.parse_args()
    model = AutoencoderKL.from_pretrained(args.start) if args.start else build_autoencoder()
    model = model.to(choose_device(), memory_format=torch.channels_last).train()
    average = Average(model, 0.99)
    state_file = args.work / f"{args.name}.pt"
    if state_file.exists():
        state = torch.load(state_file, map_location=model.device)
        model.load_state_dict(state["model"])
        average.module.load_state_dict(state["average"])
    run_workers(train, args.workers, (model, average, args))


if __name__ == "__main__":
    main()
