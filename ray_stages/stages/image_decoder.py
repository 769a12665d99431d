"""Decodes latents into PNG files."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ray_stages.families import networks
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests import schedulers
from ray_stages.requests.fields import Array
from ray_stages.requests.stage_requests import DecodeRequest
from ray_stages.runtimes import eager
from ray_stages.runtimes.memory import BatchSplitter
from ray_stages.runtimes.network import Opener


class ImageDecoder:
    """The VAE's decoder on a runtime."""

    def __init__(self, checkpoint: Checkpoint, open_network: Opener = eager.open_as_loaded) -> None:
        self.runtime = open_network(networks.vae_decoder(checkpoint.vae(), checkpoint.card))
        self.scaling_factor = checkpoint.card.scaling_factor
        self.channels = checkpoint.card.latent_channels
        self.name = checkpoint.name
        self.device, self.dtype = checkpoint.device, checkpoint.dtype
        self._pixels = BatchSplitter("vae_decoder", self._decoded)

    def decode(self, requests: Sequence[DecodeRequest]) -> list[list[bytes]]:
        """Decodes the latents of several requests; those of one size share a batch.

        Returns the PNG files of each request. Raises Overloaded if memory does not suffice for one
        picture.
        """
        by_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for i, request in enumerate(requests):
            by_size[request.latents.shape[1:]].append(i)
        files: list[list[bytes]] = [[] for _ in requests]
        for members in by_size.values():
            pixels = iter(self._pixels(np.concatenate([requests[i].latents for i in members])))
            for i in members:
                for parameters in requests[i].parameters:
                    files[i].append(encode_png(next(pixels), parameters, self.name))
        return files

    @torch.inference_mode()
    def prepare(self, pictures: int, height: int, width: int) -> None:
        """Prepares batches of `pictures`; height and width are those of latents.

        Raises StageFailed if the decoder gives values that are not finite.
        """
        shape = (pictures, self.channels, height, width)
        latents = torch.zeros(shape).to(self.device, self.dtype)
        self.runtime.prepare(latents)
        self.runtime(latents)

    @torch.inference_mode()
    def _decoded(self, latents: Array) -> Array:
        """Takes float32 [n, channels, h, w], and returns RGB pixels, uint8 [n, 8 h, 8 w, 3]."""
        scaled = torch.from_numpy(latents).to(self.device, self.dtype) / self.scaling_factor
        (image,) = self.runtime(scaled)
        pixels = (image * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).float().cpu().numpy()
        return np.asarray((pixels * 255).round().astype(np.uint8))


def encode_png(pixels: Array, parameters: dict[str, str], model: str) -> bytes:
    """Writes a PNG with its generation parameters; pixels: uint8 [height, width, 3]."""
    info = PngInfo()
    height, width = pixels.shape[:2]
    text = parameters_text(parameters, width, height, model)
    info.add_text("parameters", text.replace("\0", ""))  # PNG allows no NUL in a text
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png", pnginfo=info)
    return file.getvalue()


def parameters_text(parameters: dict[str, str], width: int, height: int, model: str) -> str:
    """Returns the text that AUTOMATIC1111's web UI writes under the key `parameters` of a PNG."""
    lines = [parameters["prompt"]] if "prompt" in parameters else []
    if parameters.get("negative_prompt"):
        lines.append(f"Negative prompt: {parameters['negative_prompt']}")
    scheduler = parameters.get("scheduler")
    facts = {
        "Steps": parameters.get("steps"),
        "Sampler": schedulers.label_of(scheduler) if scheduler else None,
        "CFG scale": parameters.get("guidance_scale"),
        "Seed": parameters.get("seed"),
        "Size": f"{width}x{height}",
        "Model": model,
        "Denoising strength": parameters.get("strength"),
        "Version": "latent-relay",
    }
    lines.append(", ".join(f"{key}: {value}" for key, value in facts.items() if value is not None))
    return "\n".join(lines)
