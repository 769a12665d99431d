"""Encodes images into the moments of the VAE's posterior, for image-to-image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor

from ray_stages.families import networks
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests import image_file
from ray_stages.requests.fields import Array
from ray_stages.requests.stage_requests import MIN_SIZE, EncodeImageRequest
from ray_stages.runtimes import eager
from ray_stages.runtimes.memory import BatchSplitter
from ray_stages.runtimes.network import Opener

# In one forward pass: the first layers have the size of the image, so larger batches gain little.
MAX_PICTURES = 8


class ImageEncoder:
    """The VAE's encoder on a runtime."""

    def __init__(self, checkpoint: Checkpoint, open_network: Opener = eager.open_as_loaded) -> None:
        self.card = checkpoint.card
        self.runtime = open_network(networks.vae_encoder(checkpoint.vae(), self.card))
        self.max_pixels = checkpoint.settings.max_image_pixels
        self.device, self.dtype = checkpoint.device, checkpoint.dtype
        self._moments = BatchSplitter("vae_encoder", self._encoded)
        self.processor = VaeImageProcessor(vae_scale_factor=self.card.vae_scale_factor)

    def warm_up(self) -> None:
        self.encode([np.zeros((1, self.card.height, self.card.width, 3), np.uint8)])

    def read(self, request: EncodeImageRequest) -> Array:
        """Reads and resizes the image files of a request, one after the other.

        All get the size of the first. Returns RGB pixels, uint8 [n, height, width, 3]. Several
        threads call this, so it must not use torch; see `TorchThread`. Raises InvalidRequest.
        """
        pixels = []
        size: tuple[int | None, int | None] = (request.height, request.width)
        for i, file in enumerate(request.files):
            picture = image_file.read(file, i, self.max_pixels)
            bounds = (MIN_SIZE, self.card.max_size)
            own = (picture.height, picture.width)
            size = image_file.fit_size(own, size, self.card.vae_scale_factor, bounds)
            pixels.append(np.asarray(self.processor.resize(picture, *size)))
        return np.stack(pixels)

    def encode(self, requests: Sequence[Array]) -> list[Array]:
        """Encodes the pixels that `read` returned for several requests, those of one size together.

        Returns for each request float32 [n, 2 * channels, height / 8, width / 8]: mean and log
        variance, as `AutoencoderKL` has them, without the scaling factor. Raises Overloaded if
        memory does not suffice for one image.
        """
        by_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for i, pixels in enumerate(requests):
            by_size[pixels.shape[1:]].append(i)
        moments: dict[int, Array] = {}
        for members in by_size.values():
            together = self._moments(np.concatenate([requests[i] for i in members]))
            ends = np.cumsum([len(requests[i]) for i in members])
            moments |= zip(members, np.split(together, ends[:-1]), strict=True)
        return [moments[i] for i in range(len(requests))]

    @torch.inference_mode()
    def _encoded(self, pixels: Array) -> Array:
        scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 * 2 - 1
        few = torch.split(scaled, MAX_PICTURES)
        moments = [self.runtime(pictures.to(self.device, self.dtype))[0] for pictures in few]
        return np.asarray(torch.cat(moments).float().cpu())
