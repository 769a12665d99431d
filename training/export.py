"""Puts the trained parts together as a half-precision Stable Diffusion checkpoint.

python -m training.export --vae .train/vae-final --painter .train/diffusion
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from training.common import CHECKPOINT, WORK_DIRECTORY
from training.diffusion import Painter, build_painter, build_pipeline

GENERATION_CONFIG = {"num_inference_steps": 15, "guidance_scale": 3.0}


def export(vae: Path, painter: Path | None, output: Path) -> int:
    """Writes the checkpoint, with an untrained painter if none is given; returns its bytes."""
    tokenizer = CLIPTokenizer.from_pretrained(output / "tokenizer")
    if painter is None:
        parts = build_painter(tokenizer)
    else:
        text_encoder = CLIPTextModel.from_pretrained(painter / "text_encoder")
        parts = Painter(text_encoder, UNet2DConditionModel.from_pretrained(painter / "unet"))
    pipeline = build_pipeline(parts, AutoencoderKL.from_pretrained(vae), tokenizer)
    pipeline.to(dtype=torch.float16).save_pretrained(output)
    for part in output.glob("*/config.json"):
        settings = json.loads(part.read_text())
        settings.pop("_name_or_path", None)  # a path of the machine that trained it
        part.write_text(json.dumps(settings, indent=2) + "\n")
    for weights in output.glob("*/*.safetensors"):
        weights.chmod(0o644)
    config = output / "generation_config.json"
    if not config.exists():
        config.write_text(json.dumps(GENERATION_CONFIG, indent=2) + "\n")
    return sum(path.stat().st_size for path in output.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vae", type=Path, default=WORK_DIRECTORY / "vae-final")
    parser.add_argument("--painter", type=Path, help="left out: untrained weights")
    parser.add_argument("--output", type=Path, default=CHECKPOINT)
    args = parser.parse_args()
    size = export(args.vae, args.painter, args.output)
    print(f"{size / 1e6:.1f} MB in {args.output}")


if __name__ == "__main__":
    main()
