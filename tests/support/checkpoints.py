"""Makes tiny random checkpoints of all families that we serve, without a model hub.

Only the widths are small. Classes, scheduler configs and flags are those of the published
checkpoints.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

FAMILIES = ("sd15", "sd21", "turbo")
TOKENS = 77

_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
# As in runwayml/stable-diffusion-v1-5, stabilityai/stable-diffusion-2-1 and stabilityai/sd-turbo.
_SD15: dict[str, Any] = {
    **_BETAS,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
}
_SD21: dict[str, Any] = {
    **_BETAS,
    "clip_sample": False,
    "prediction_type": "v_prediction",
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
_TURBO: dict[str, Any] = {
    **_BETAS,
    "prediction_type": "epsilon",
    "timestep_spacing": "trailing",
    "steps_offset": 1,
}


def make(family: str, folder: Path) -> Path:
    """Writes a checkpoint for pictures of 64x64 pixels, always with the same weights."""
    torch.manual_seed(0)
    later = family != "sd15"
    scheduler = {
        "sd15": lambda: PNDMScheduler(**_SD15),
        "sd21": lambda: DDIMScheduler(**_SD21),
        "turbo": lambda: EulerDiscreteScheduler(**_TURBO),
    }[family]()
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        # SD 1.5 sets the number of heads, later families set their width.
        attention_head_dim=[4, 8] if later else 8,
        use_linear_projection=later,
    )
    vae = AutoencoderKL(
        block_out_channels=(16, 16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=0.18215,
    )
    tokenizer = _tokenizer()
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            # OpenCLIP's text model, as in SD 2.x and Turbo, has GELU instead of CLIP's quick GELU.
            hidden_act="gelu" if later else "quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)
    return folder


def _tokenizer() -> CLIPTokenizer:
    """Makes a tokenizer of single bytes, so that every text has tokens."""
    symbols = sorted(ByteLevel.alphabet())
    pieces = [
        *symbols,
        *(f"{symbol}</w>" for symbol in symbols),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=TOKENS)
