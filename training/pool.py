"""Scenes with their latents and a new caption each time: what the diffusion learns from."""

import random
from dataclasses import replace

import torch
from diffusers import AutoencoderKL

from training.common import to_tensor
from training.world import GRID, IMAGE_SIZE, Scene, caption, draw, sample_scene

CAPTION_DROPOUT = 0.1
COMPLETE_CAPTIONS = 0.6
LATENT_SIZE = IMAGE_SIZE // GRID


class LatentPool:
    """The latest scenes with their latents; grows to its size, then forgets the oldest."""

    def __init__(self, vae: AutoencoderKL, rng: random.Random, size: int = 8192) -> None:
        self.vae, self.rng, self.size = vae, rng, size
        self.scenes: list[Scene] = []
        self.latents: list[torch.Tensor] = []
        self._next = 0

    @torch.no_grad()
    def add(self, count: int) -> None:
        scenes = [sample_scene(self.rng) for _ in range(count)]
        pixels = to_tensor([draw(scene) for scene in scenes]).to(self.vae.device)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.vae.device.type, torch.bfloat16):
            latents = self.vae.encode(pixels).latent_dist.sample()
        for scene, latent in zip(
            scenes, latents.float() * self.vae.config.scaling_factor, strict=True
        ):
            if len(self.scenes) < self.size:
                self.scenes.append(scene)
                self.latents.append(latent)
            else:
                self.scenes[self._next], self.latents[self._next] = scene, latent
            self._next = (self._next + 1) % self.size

    def batch(self, count: int) -> tuple[torch.Tensor, list[str]]:
        chosen = [self.rng.randrange(len(self.scenes)) for _ in range(count)]
        captions = [self._caption(self.scenes[index]) for index in chosen]
        return torch.stack([self.latents[index] for index in chosen]), captions

    def close_ups(self, count: int) -> tuple[torch.Tensor, list[str]]:
        """Single objects cut out to half the width, so that most of the loss is their shape."""
        latents: list[torch.Tensor] = []
        captions: list[str] = []
        while len(latents) < count:
            index = self.rng.randrange(len(self.scenes))
            scene, half = self.scenes[index], LATENT_SIZE // 4
            item = scene.objects[0]
            top, left = int(item.y) // GRID - half, int(item.x) // GRID - half
            inside = min(top, left) >= 0 and max(top, left) <= 2 * half
            if scene.relation is None and inside and item.radius <= GRID * half:
                window = slice(top, top + 2 * half), slice(left, left + 2 * half)
                latents.append(self.latents[index][:, window[0], window[1]])
                captions.append(self._caption(replace(scene, place=(1, 1))))
        return torch.stack(latents), captions

    def _caption(self, scene: Scene) -> str:
        if self.rng.random() < CAPTION_DROPOUT:
            return ""
        return caption(scene, self.rng, self.rng.random() < COMPLETE_CAPTIONS)
