"""Trains the UNet on the latents of scenes, with a text encoder that already knows the words.

The UNet predicts v on a schedule that ends in pure noise (Lin et al. 2023), else large flat colours
come out wrong. Latents come from arithmetic (`latents.py`), so every step sees new scenes.

    python -m training.diffusion --workers 2 --minutes 60
    python -m training.diffusion --workers 2 --minutes 60 --start models/miniature-sd

The second form goes on from an exported checkpoint. A run that was interrupted goes on where it
stopped when it is started again.
"""

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from tqdm import tqdm
from transformers import CLIPTextModel, CLIPTokenizer

from ray_stages.stages.contact_sheet import contact_sheet
from training.captions import AS_WRITTEN, IN_FULL, say
from training.common import (
    WORK_DIRECTORY,
    Average,
    Clock,
    choose_device,
    run_workers,
    save_atomically,
)
from training.feed import stream
from training.foreign import insert
from training.latents import CHANNELS, LATENT_SIZE, latents_of, object_weights
from training.text_encoder import WIDTH
from training.tokenizer import build_tokenizer, refuse_another
from training.world import IMAGE_SIZE, sample_written

CAPTION_DROPOUT = 0.08
FULL_CAPTIONS = 0.25
FOREIGN_WORDS = 0.15
AVERAGE_EVERY = 4  # steps; on CPUs it takes a while
SAVE_EVERY_SECONDS = 120
READ_EVERY_SECONDS = 60
WEIGHTS = "model.safetensors"
SHEET_EVERY_SECONDS = 600
SHEET_PROMPTS = (
    "a large yellow star on a black background",
    "a red circle above a blue square on a white background",
    "small green heart, pink background",
    "a big purple ring in the top left corner",
    "orange triangle at the bottom on grey",
    "a tiny white cross at the bottom right on a red background",
    "a black diamond to the left of a yellow circle on a green background",
    "a brown hexagon on the right, orange background",
    "a blue heart on a white background",
    "a white moon next to a red ring on a purple background",
    "two grey triangles",
    "star",
)


def build_unet() -> UNet2DConditionModel:
    """Three levels, 7.6 M parameters; words come in where the picture is 8x8 and 4x4."""
    unet = UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=(64, 128, 144),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=(2, 4, 4),  # diffusers reads this as the number of heads
        norm_num_groups=4,  # many small groups would wipe out flat colours
    )
    torch.nn.init.zeros_(unet.conv_out.weight)
    torch.nn.init.zeros_(unet.conv_out.bias)
    return unet


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion's schedule, stretched to end in pure noise."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,
    )


def build_pipeline(
    text_encoder: CLIPTextModel,
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
) -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@dataclass(frozen=True)
class MakeBatch:
    """New scenes and a caption of each, some empty: latents [n, 4, 16, 16], tokens [n, 64]."""

    tokenizer: CLIPTokenizer
    count: int
    dropout: float = CAPTION_DROPOUT

    def __call__(self, rng: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
        scenes, texts = [], []
        for _ in range(self.count):
            scene = sample_written(rng)
            text, _ = say(scene, rng, IN_FULL if rng.random() < FULL_CAPTIONS else AS_WRITTEN)
            if rng.random() < FOREIGN_WORDS:
                text = insert(text, rng)
            scenes.append(scene)
            texts.append("" if rng.random() < self.dropout else text)
        tokens = self.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
        return latents_of(scenes), tokens.input_ids


def sample_timesteps(count: int, bend: float) -> torch.Tensor:
    """Spread evenly over the batch; a bend below 1 leans to noise, where the scene is decided."""
    positions = (torch.arange(count) + torch.rand(count)) / count
    return (1000 * positions**bend).long().clamp(max=999)


def read_text_encoder(folder: Path, device: torch.device) -> tuple[CLIPTextModel, float]:
    """The frozen text encoder and when it was written: its own training may still be going on."""
    written = (folder / WEIGHTS).stat().st_mtime
    model = CLIPTextModel.from_pretrained(folder, torch_dtype=torch.float32)
    return model.to(device).eval().requires_grad_(False), written


def train(
    rank: int,
    unet: UNet2DConditionModel,
    average: Average[UNet2DConditionModel],
    args: argparse.Namespace,
) -> None:
    """One worker; the workers share the weights and update them without waiting."""
    torch.set_num_threads(args.threads)
    device = unet.device
    unet.set_attn_processor(AttnProcessor())  # the fused kernel's backward is slow on CPUs
    tokenizer, scheduler = build_tokenizer(), build_scheduler()
    optimizer = torch.optim.AdamW(
        unet.parameters(), lr=args.learning_rate, betas=(0.9, 0.99), fused=True
    )
    state_file = args.work / f"{args.name}.pt"
    step, elapsed = 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, map_location=device)
        optimizer.load_state_dict(state["optimizer"])
        step, elapsed = state["step"], state["elapsed"]
        average.updates = step // AVERAGE_EVERY
    seed = args.seed + 1000 * rank + step
    torch.manual_seed(seed)
    batches = stream(MakeBatch(tokenizer, args.batch), seed, args.feeders)
    clock = Clock(args.minutes, elapsed)
    text_encoder, written = read_text_encoder(args.text, device)

    def save() -> None:
        state = {
            "unet": unet.state_dict(),
            "average": average.module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "elapsed": clock.elapsed,
        }
        save_atomically(state, state_file)
        average.module.save_pretrained(args.work / args.name / "unet")
        text_encoder.save_pretrained(args.work / args.name / "text_encoder")

    bar = tqdm(desc=args.name, initial=step, unit="step", mininterval=20, disable=rank > 0)
    last_save = last_sheet = last_read = time.monotonic()
    running = 1.0
    while clock.progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = clock.learning_rate(args.learning_rate)
        latents, tokens = (part.to(device) for part in next(batches))
        with torch.no_grad():
            words = text_encoder(tokens).last_hidden_state
        noise = torch.randn_like(latents)
        timesteps = sample_timesteps(len(latents), args.bend).to(device)
        noisy = scheduler.add_noise(latents, noise, timesteps)
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        target = scheduler.get_velocity(latents, noise, timesteps)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            velocity = unet(noisy, timesteps, words).sample
        error = (velocity.float() - target).square()
        loss = (error * object_weights(latents)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        clock.tick()
        bar.update()
        if time.monotonic() - last_read > READ_EVERY_SECONDS:
            last_read = time.monotonic()
            if (args.text / WEIGHTS).stat().st_mtime > written:
                text_encoder, written = read_text_encoder(args.text, device)
        if rank > 0:
            continue
        if step % AVERAGE_EVERY == 0:
            average.update(unet)
        running += (error.mean().item() - running) * max(0.01, 1 / (step + 1))
        bar.set_postfix(loss=f"{running:.4f}", refresh=False)
        if time.monotonic() - last_save > SAVE_EVERY_SECONDS:
            save()
            last_save = time.monotonic()
        if time.monotonic() - last_sheet > SHEET_EVERY_SECONDS:
            save_sheet(average.module, text_encoder, tokenizer, args, step)
            last_sheet = time.monotonic()
    if rank == 0:
        save()
        save_sheet(average.module, text_encoder, tokenizer, args, step)


@torch.no_grad()
def save_sheet(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    args: argparse.Namespace,
    step: int,
) -> None:
    """Pictures of `SHEET_PROMPTS` by 10 steps, as far as an autoencoder is there."""
    if not args.vae.exists():
        return
    vae = AutoencoderKL.from_pretrained(args.vae, torch_dtype=torch.float32).to(unet.device)
    pipeline = build_pipeline(text_encoder, unet, vae, tokenizer)
    images = pipeline(
        list(SHEET_PROMPTS),
        height=IMAGE_SIZE,
        width=IMAGE_SIZE,
        num_inference_steps=10,
        guidance_scale=2.0,
        generator=torch.Generator().manual_seed(0),
    ).images
    contact_sheet(images, 4).save(args.work / f"{args.name}-{step:06d}.png")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="diffusion", help="of the run and its output directory")
    parser.add_argument("--text", type=Path, default=WORK_DIRECTORY / "text_encoder")
    parser.add_argument("--vae", type=Path, default=WORK_DIRECTORY / "decoder", help="for sheets")
    parser.add_argument("--start", type=Path, help="a checkpoint to start from")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument(
        "--bend", type=float, default=0.5, help="below 1 leans to noisy timesteps, 1 is even"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--decay", type=float, default=0.998, help="of the averaged weights")
    parser.add_argument("--feeders", type=int, default=0, help="processes that make the batches")
    parser.add_argument("--workers", type=int, default=1, help="processes, each with --threads")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=WORK_DIRECTORY)
    args = parser.parse_args(arguments)
    device = choose_device()
    unet = build_unet()
    if args.start:
        refuse_another(args.start)
        unet = UNet2DConditionModel.from_pretrained(args.start / "unet", torch_dtype=torch.float32)
        args.text = args.start / "text_encoder"
    unet = unet.to(device, memory_format=torch.channels_last).train()
    average = Average(unet, args.decay**AVERAGE_EVERY)
    state_file = args.work / f"{args.name}.pt"
    if state_file.exists():
        state = torch.load(state_file, map_location=device)
        unet.load_state_dict(state["unet"])
        average.module.load_state_dict(state["average"])
    run_workers(train, args.workers, (unet, average, args))


if __name__ == "__main__":
    main()
