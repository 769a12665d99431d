"""Puts the trained parts together as a half-precision Stable Diffusion checkpoint.

    python -m training.export

The decoder comes from `.train/decoder`, the encoder from `.train/encoder`, text encoder and UNet
from `.train/diffusion`; a part that was not trained anew is taken from the
checkpoint as it is, which must then be of this recipe.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel

from training.autoencoder import build_autoencoder
from training.common import WORK_DIRECTORY
from training.diffusion import build_pipeline
from training.known import CHECKPOINT
from training.tokenizer import build_tokenizer, refuse_another

GENERATION_CONFIG = {"num_inference_steps": 10, "guidance_scale": 2.0}


def join_autoencoder(decoder: Path, encoder: Path) -> AutoencoderKL:
    """An autoencoder of two that were trained apart on the same latents."""
    whole = build_autoencoder()
    for name, folder in (("decoder", decoder), ("encoder", encoder)):
        trained = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32)
        getattr(whole, name).load_state_dict(getattr(trained, name).state_dict())
    return whole


def export(decoder: Path, encoder: Path, painter: Path, output: Path) -> int:
    """Writes the checkpoint; returns its bytes. painter: a folder with text encoder and UNet."""
    pipeline = build_pipeline(
        CLIPTextModel.from_pretrained(painter / "text_encoder"),
        UNet2DConditionModel.from_pretrained(painter / "unet"),
        join_autoencoder(decoder, encoder),
        build_tokenizer(),
    )
    return write_checkpoint(pipeline, output, GENERATION_CONFIG)


def write_checkpoint(
    pipeline: StableDiffusionPipeline, output: Path, defaults: dict[str, float]
) -> int:
    """In half precision; steps and guidance as they are there, else `defaults`. Gives its bytes."""
    pipeline.to(dtype=torch.float16).save_pretrained(output)
    for part in output.glob("*/config.json"):
        settings = json.loads(part.read_text())
        settings.pop("_name_or_path", None)  # a path of the machine that trained it
        part.write_text(json.dumps(settings, indent=2) + "\n")
    for weights in output.glob("*/*.safetensors"):
        weights.chmod(0o644)
    config = output / "generation_config.json"
    if not config.exists():
        config.write_text(json.dumps(defaults, indent=2) + "\n")
    return sum(path.stat().st_size for path in output.rglob("*") if path.is_file())


def newest(trained: Path, shipped: Path) -> Path:
    """What was trained; else the part of the checkpoint, if that is of this recipe."""
    if trained.exists():
        return trained
    refuse_another(CHECKPOINT)
    return shipped


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decoder", type=Path)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--painter", type=Path, help="a folder with text encoder and UNet")
    parser.add_argument("--work", type=Path, default=WORK_DIRECTORY)
    parser.add_argument("--output", type=Path, default=CHECKPOINT)
    args = parser.parse_args(arguments)
    size = export(
        args.decoder or newest(args.work / "decoder", CHECKPOINT / "vae"),
        args.encoder or newest(args.work / "encoder", CHECKPOINT / "vae"),
        args.painter or newest(args.work / "diffusion", CHECKPOINT),
        args.output,
    )
    print(f"{size / 1e6:.1f} MB in {args.output}")


if __name__ == "__main__":
    main()
