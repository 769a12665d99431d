"""Records the inputs of a checkpoint's networks while it draws; quantization calibrates on them."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from ray_stages.denoising.denoiser import Denoiser
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests.fields import Array
from ray_stages.requests.stage_requests import (
    DecodeRequest,
    DenoiseRequest,
    EncodeTextRequest,
    Guidance,
)
from ray_stages.runtimes import eager
from ray_stages.runtimes.network import Network, Runtime, Tensors
from ray_stages.stages.image_decoder import ImageDecoder
from ray_stages.stages.image_encoder import ImageEncoder
from ray_stages.stages.text_encoder import TextEncoder

PROMPTS = (  # half as the miniature was trained on, half as any checkpoint may get
    "a large yellow star on a black background",
    "a small red circle at the top on a white background",
    "a blue square and a green triangle on a gray background",
    "a purple ring at the left on a yellow background",
    "a photo of an astronaut riding a horse on the moon",
    "an oil painting of a fishing village at sunset",
    "portrait of an old woman with a red scarf, studio light",
    "an isometric drawing of a small blue house, white background",
)
STEPS = 10


class Calibration:
    """Draws PROMPTS one after the other, and keeps the inputs of each network."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.inputs: dict[str, list[Tensors]] = {}

    def inputs_of(self, network: str) -> list[Tensors]:
        """Returns the inputs of each call of `network`.

        It draws only as far as that network's stage, because large checkpoints take minutes.
        """
        if network == "text_encoder":
            self._encode()
        elif network in ("unet", "unet_shallow"):
            self._denoise()
        elif network == "vae_decoder":
            self._decode()
        else:
            ImageEncoder(self.checkpoint, self._open_recorded).encode(self._decode())
        return self.inputs[network]

    def _encode(self) -> list[dict[str, Array]]:
        encoder = TextEncoder(self.checkpoint, self._open_recorded)
        return [encoder.encode([EncodeTextRequest([prompt], "")])[0] for prompt in PROMPTS]

    def _denoise(self) -> list[Array]:
        """Returns the latents of each prompt: float32 [1, channels, h, w]."""
        card = self.checkpoint.card
        guidance = Guidance(card.guidance_scale)
        deep_every = self.checkpoint.settings.unet.deep_every
        denoiser = Denoiser(self.checkpoint, self._open_recorded, deep_every)
        latents = []
        for seed, embeds in enumerate(self._encode()):
            rows = embeds["prompt_embeds"], embeds["negative_prompt_embeds"]
            request = DenoiseRequest(
                *rows, [seed], STEPS, guidance, card.height, card.width, card.scheduler
            )
            picture = denoiser.start(request, 0)
            while not picture.done:
                denoiser.advance(picture, denoiser.predict([picture])[0])
            latents.append(picture.latents.float().cpu().numpy())
        return latents

    def _decode(self) -> list[Array]:
        """Returns the picture of each prompt: uint8 [1, height, width, 3]."""
        decoder = ImageDecoder(self.checkpoint, self._open_recorded)
        files = [decoder.decode([DecodeRequest(one, [{}])])[0][0] for one in self._denoise()]
        return [np.asarray(Image.open(io.BytesIO(file)))[None] for file in files]

    def _open_recorded(self, network: Network) -> Runtime:
        runtime = eager.open_as_loaded(network)
        recorded = self.inputs.setdefault(network.name, [])

        def compute(*inputs: torch.Tensor) -> Tensors:
            recorded.append(inputs)
            return runtime(*inputs)

        return Runtime(runtime.name, runtime.precision, compute)
