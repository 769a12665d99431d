"""Loads the parts of a Stable Diffusion checkpoint, with `from_pretrained` of diffusers.

It loads safetensors only, and runs no code of the checkpoint.
"""

from __future__ import annotations

import inspect
import json
import logging
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ray_stages.families.checkpoint_files import CheckpointFiles
from ray_stages.requests import schedulers
from ray_stages.requests.model_card import ModelCard
from ray_stages.runtimes.target import DTYPES
from ray_stages.settings import Settings


class Checkpoint:
    """A checkpoint in a local folder or on the Hugging Face hub; each call loads one part.

    parameter_count: of the parts loaded so far.
    """

    def __init__(self, settings: Settings) -> None:
        logging.getLogger("diffusers").setLevel(logging.ERROR)
        self.settings = settings
        self.device = _device(settings.device)
        self.dtype = _dtype(settings.precision, self.device)
        self.parameter_count = 0

    @property
    def name(self) -> str:
        return Path(self.settings.model).name

    def facts(self) -> dict[str, object]:
        """Returns what was loaded, for the log."""
        return {
            "model": self.name,
            "device": self.device,
            "parameters": self.parameter_count,
        }

    def tokenizer(self) -> Any:
        from transformers import CLIPTokenizer

        tokenizer = CLIPTokenizer.from_pretrained(self.settings.model, subfolder="tokenizer")
        # One without a length of its own would say 10^30.
        most = self._config("text_encoder", "config.json").get("max_position_embeddings", 77)
        tokenizer.model_max_length = min(tokenizer.model_max_length, most)
        return tokenizer

    def text_encoder(self) -> Any:
        from transformers import CLIPTextModel

        return self._load(CLIPTextModel, "text_encoder")

    def unet(self) -> Any:
        from diffusers import UNet2DConditionModel

        return self._load(UNet2DConditionModel, "unet")

    def vae(self) -> Any:
        from diffusers import AutoencoderKL

        return self._load(AutoencoderKL, "vae")

    @cached_property
    def scheduler_config(self) -> dict[str, Any]:
        """Its class is that of `model_index.json`, as diffusers has it: the two differ in folders
        that older versions wrote."""
        config = self._config("scheduler", "scheduler_config.json")
        _, class_name = self._config("", "model_index.json").get("scheduler") or (None, None)
        return {**config, "_class_name": class_name or config["_class_name"]}

    @cached_property
    def card(self) -> ModelCard:
        """Sizes from the config files; steps and guidance as `_defaults` says."""
        unet = self._config("unet", "config.json")
        vae = self._config("vae", "config.json")
        factor = 2 ** (len(vae["block_out_channels"]) - 1)
        height, width = _height_and_width(unet["sample_size"])
        steps, guidance = self._defaults()
        return ModelCard(
            name=self.name,
            height=height * factor,
            width=width * factor,
            max_size=self.settings.max_size or 2 * max(height, width) * factor,
            vae_scale_factor=factor,
            latent_channels=unet["in_channels"],
            embed_dim=unet["cross_attention_dim"],
            steps=steps,
            guidance_scale=guidance,
            scheduler=schedulers.name_of(self.scheduler_config["_class_name"]),
            scaling_factor=vae.get("scaling_factor", ModelCard.scaling_factor),
        )

    def _defaults(self) -> tuple[int, float]:
        """Returns steps and guidance scale.

        They come from the settings, else from `generation_config.json`, else from the kind of
        checkpoint.
        """
        own = self._optional_config("generation_config.json")
        steps, guidance = _defaults_of_kind(self.scheduler_config)
        steps = self.settings.default_steps or own.get("num_inference_steps", steps)
        if self.settings.default_guidance_scale >= 0:
            guidance = self.settings.default_guidance_scale
        else:
            guidance = own.get("guidance_scale", guidance)
        return int(steps), float(guidance)

    def _load(self, part: Any, subfolder: str) -> Any:
        """Raises ValueError where a weight that the part needs is not in its file."""
        model, report = part.from_pretrained(
            self.settings.model,
            subfolder=subfolder,
            use_safetensors=True,
            variant=self._variant(subfolder) or None,
            output_loading_info=True,
        )
        if missing := sorted(report["missing_keys"]):
            named = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
            raise ValueError(
                f"MODEL={self.settings.model}: {len(missing)} weights of {subfolder} are in none "
                f"of its files: {named}"
            )
        self.parameter_count += sum(parameter.numel() for parameter in model.parameters())
        return model.to(self.device, self.dtype).eval().requires_grad_(False)

    def _variant(self, part: str) -> str:
        if Path(self.settings.model).is_dir():
            files = CheckpointFiles(Path(self.settings.model), self.settings.model_variant)
            return files.weights(part)[0]
        return self.settings.model_variant

    def _config(self, subfolder: str, filename: str) -> dict[str, Any]:
        root = Path(self.settings.model)
        if root.is_dir():
            path = root / subfolder / filename
        else:
            from huggingface_hub import hf_hub_download

            path = Path(hf_hub_download(self.settings.model, f"{subfolder}/{filename}".lstrip("/")))
        config: dict[str, Any] = json.loads(path.read_text())
        return config

    def _optional_config(self, filename: str) -> dict[str, Any]:
        from huggingface_hub.errors import EntryNotFoundError

        try:
            return self._config("", filename)
        except (FileNotFoundError, EntryNotFoundError):
            return {}


def _defaults_of_kind(config: dict[str, Any]) -> tuple[int, float]:
    """Returns default steps and guidance scale by the scheduler config.

    Consistency models (LCM) and adversarially distilled models (SD-Turbo: an Euler scheduler with
    trailing timesteps, noise prediction) need few steps and no guidance. All others get the
    defaults of diffusers' `StableDiffusionPipeline`.
    """
    if config["_class_name"] in ("LCMScheduler", "TCDScheduler"):
        return 4, 1.0
    euler = config["_class_name"].startswith("Euler")
    trailing = config.get("timestep_spacing") == "trailing"
    if euler and trailing and config.get("prediction_type") == "epsilon":
        return 1, 0.0
    from diffusers import StableDiffusionPipeline

    pipeline = inspect.signature(StableDiffusionPipeline.__call__).parameters
    return pipeline["num_inference_steps"].default, pipeline["guidance_scale"].default


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    """Returns the dtype of weights and of tensors between stages; a runtime may use another."""
    if device.type == "cpu":
        return torch.float32
    return DTYPES.get(precision, torch.float16)


def _height_and_width(size: int | list[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
