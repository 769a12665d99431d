"""Trains the text encoder and the UNet together on the latents of a frozen autoencoder.

The UNet predicts v on a schedule that ends in pure noise (Lin et al. 2023), else large flat colours
come out wrong. Scenes are drawn and encoded all the time; a pool keeps the latest of them, and each
is used a few times with a new caption.

    python -m training.diffusion --vae .train/vae-whole --minutes 90
    python -m training.diffusion --vae models/miniature-sd/vae --start models/miniature-sd

The second form goes on from an exported checkpoint. A run that was interrupted goes on where it
stopped when it is started again.
"""

import argparse
import random
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ray_stages.stages.contact_sheet import contact_sheet
from training.common import (
    CHECKPOINT,
    WORK_DIRECTORY,
    Average,
    Clock,
    choose_device,
    run_workers,
    save_atomically,
)
from training.pool import LATENT_SIZE, LatentPool
from training.world import IMAGE_SIZE

TEXT_WIDTH = 128
SAVE_EVERY_SECONDS = 120
SHEET_EVERY_SECONDS = 600
SHEET_PROMPTS = (
    "a large yellow star on a black background",
    "a red circle above a blue square on a white background",
    "small green heart, pink background",
    "a big purple ring in the top left corner",
    "orange triangle at the bottom on cyan",
    "a tiny white cross at the bottom right on a red background",
    "a black diamond to the left of a yellow circle on a green background",
    "a medium cyan square on the right, orange background",
    "a huge pink heart on a blue background",
    "a white star to the right of a red ring on a purple background",
    "a green triangle below an orange cross on a black background",
    "star",
)


class Painter(torch.nn.Module):
    """What is trained: the words' encoder and the denoiser, as one module."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.unet = unet

    def forward(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        words = self.text_encoder(tokens).last_hidden_state
        velocity: torch.Tensor = self.unet(noisy, timesteps, words).sample
        return velocity


def build_painter(tokenizer: CLIPTokenizer) -> Painter:
    """A two-layer text encoder and a UNet of 4.3 M parameters, both new."""
    text_config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=TEXT_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    unet = UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        block_out_channels=(64, 128),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=(2, 4),  # diffusers reads this as the number of heads
        norm_num_groups=4,
    )
    return Painter(CLIPTextModel(text_config), unet)


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
    painter: Painter, vae: AutoencoderKL, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=painter.text_encoder,
        tokenizer=tokenizer,
        unet=painter.unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save_sheet(pipeline: StableDiffusionPipeline, path: Path) -> None:
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    images = pipeline(
        [prompt for prompt in SHEET_PROMPTS for _ in range(2)],
        height=IMAGE_SIZE,
        width=IMAGE_SIZE,
        num_inference_steps=15,
        guidance_scale=3.0,
        generator=generator,
    ).images
    contact_sheet(images, 8).save(path)


def train(
    rank: int,
    painter: Painter,
    average: Average[Painter],
    vae: AutoencoderKL,
    args: argparse.Namespace,
) -> None:
    """One worker; the workers share the weights and update them without waiting."""
    torch.set_num_threads(args.threads)
    device = vae.device
    painter.unet.set_attn_processor(AttnProcessor())  # on CPUs faster than the fused kernel
    tokenizer = CLIPTokenizer.from_pretrained(args.tokenizer)
    scheduler = build_scheduler()
    optimizer = torch.optim.AdamW(painter.parameters(), lr=args.learning_rate, betas=(0.9, 0.99))
    state_file = args.work / f"{args.name}.pt"
    step, elapsed = 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, map_location=device)
        optimizer.load_state_dict(state["optimizer"])
        step, elapsed = state["step"], state["elapsed"]
        average.updates = step
    seed = args.seed + 1000 * rank + step
    random.seed(seed)
    torch.manual_seed(seed)
    pool = LatentPool(vae, random.Random(seed))
    for _ in range(16):
        pool.add(32)
    clock = Clock(args.minutes, elapsed)

    def save() -> None:
        state = {
            "painter": painter.state_dict(),
            "average": average.module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "elapsed": clock.elapsed,
        }
        save_atomically(state, state_file)
        average.module.text_encoder.save_pretrained(args.work / args.name / "text_encoder")
        average.module.unet.save_pretrained(args.work / args.name / "unet")

    def sheet() -> None:
        pipeline = build_pipeline(average.module, vae, tokenizer)
        save_sheet(pipeline, args.work / f"{args.name}-{clock.elapsed / 60:03.0f}min.png")

    bar = tqdm(desc=args.name, initial=step, unit="step", mininterval=20, disable=rank > 0)
    last_save = last_sheet = time.monotonic()
    running = 1.0
    while clock.progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = clock.learning_rate(args.learning_rate)
        pool.add(args.fresh)
        if random.random() < args.close_ups:
            latents, captions = pool.close_ups(4 * args.batch)
        else:
            latents, captions = pool.batch(args.batch)
        tokens = tokenizer(
            captions, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids.to(device)
        noise = torch.randn_like(latents)
        # Spread evenly over the batch, then bent towards noise, where what is seen is decided.
        count = len(latents)
        positions = (torch.arange(count) + torch.rand(count)) / count
        timesteps = (1000 * positions**args.bend).long().clamp(max=999).to(device)
        noisy = scheduler.add_noise(latents, noise, timesteps)
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        target = scheduler.get_velocity(latents, noise, timesteps)
        with torch.autocast(device.type, torch.bfloat16):
            velocity = painter(noisy, timesteps, tokens)
        loss = (velocity.float() - target).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(painter.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        bar.update()
        if rank > 0:
            continue
        average.update(painter)
        running += (loss.item() - running) * 0.01
        bar.set_postfix(loss=f"{running:.4f}", refresh=False)
        if time.monotonic() - last_save > SAVE_EVERY_SECONDS:
            save()
            last_save = time.monotonic()
        if time.monotonic() - last_sheet > SHEET_EVERY_SECONDS:
            sheet()
            last_sheet = time.monotonic()
    if rank == 0:
        save()
        sheet()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="diffusion", help="of the run and its output directory")
    parser.add_argument("--vae", type=Path, default=CHECKPOINT / "vae")
    parser.add_argument("--tokenizer", type=Path, default=CHECKPOINT / "tokenizer")
    parser.add_argument("--start", type=Path, help="a checkpoint to start from")
    parser.add_argument("--minutes", type=float, default=90.0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--fresh", type=int, default=4, help="new scenes a step")
    parser.add_argument(
        "--bend", type=float, default=0.6, help="below 1 leans to noisy timesteps, 1 is even"
    )
    parser.add_argument(
        "--close-ups", type=float, default=0.4, help="share of the steps that see one object, near"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--workers", type=int, default=1, help="processes, each with --threads")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=WORK_DIRECTORY)
    args = parser.parse_args()
    device = choose_device()
    painter = build_painter(CLIPTokenizer.from_pretrained(args.tokenizer))
    if args.start:
        painter.text_encoder = CLIPTextModel.from_pretrained(args.start / "text_encoder")
        painter.unet = UNet2DConditionModel.from_pretrained(args.start / "unet")
    painter = painter.float().to(device).train()
    painter.unet.to(memory_format=torch.channels_last)
    average = Average(painter, 0.995)
    state_file = args.work / f"{args.name}.pt"
    if state_file.exists():
        state = torch.load(state_file, map_location=device)
        painter.load_state_dict(state["painter"])
        average.module.load_state_dict(state["average"])
    vae = AutoencoderKL.from_pretrained(args.vae, torch_dtype=torch.float32).to(device).eval()
    vae = vae.requires_grad_(False).to(memory_format=torch.channels_last)
    run_workers(train, args.workers, (painter, average, vae, args))


if __name__ == "__main__":
    main()
