"""Denoises latents: one UNet call computes the next step of several pictures.

Each picture has its own seed, scheduler, number of steps and guidance. Pictures share only the
UNet's forward pass, so a picture does not depend on the others in its batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ray_stages.denoising import guidance, image_to_image
from ray_stages.denoising.deep_cache import DeepCache, split_rows
from ray_stages.denoising.noisy_latents import NoisyLatents
from ray_stages.errors import InvalidRequest, StageFailed
from ray_stages.families import networks
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests import schedulers
from ray_stages.requests.fields import Array
from ray_stages.requests.stage_requests import DenoiseRequest, Guidance
from ray_stages.runtimes import eager
from ray_stages.runtimes.network import Opener, Tensors


@dataclass
class DenoisingState:
    """One picture between two steps.

    latents: [1, channels, h, w]; embeds: [rows, tokens, dim], the unconditional row first; step:
    the next step, from 0; step_options: further arguments of the scheduler's `step`; timestep_cond:
    see `networks.unet`; preview: the latest estimate of the final latents, [1, channels, h, w];
    dumped: float32 [channels, h, w] after each `dump_every` steps; deep: see `deep_cache`.
    """

    latents: torch.Tensor
    embeds: torch.Tensor
    guidance: Guidance
    scheduler: Any
    timesteps: list[torch.Tensor]
    step_options: dict[str, Any]
    timestep_cond: torch.Tensor | None = None
    preview_every: int = 0
    dump_every: int = 0
    step: int = 0
    preview: torch.Tensor | None = None
    dumped: list[Array] = field(default_factory=list)
    deep: torch.Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the latents."""
        return self.latents.shape[-2], self.latents.shape[-1]

    @property
    def steps(self) -> int:
        """The number of UNet calls; some schedulers need more than the requested steps."""
        return len(self.timesteps)

    @property
    def rows(self) -> int:
        """Rows of the next step: 2 if it is guided, because of the unconditional row."""
        guided = len(self.embeds) == 2 and self.guidance.is_active(self.step, self.steps)
        return 2 if guided else 1

    @property
    def done(self) -> bool:
        return self.step >= self.steps


class Denoiser:
    """The UNet on a runtime, and the steps of pictures. Not thread-safe.

    deep_every: above 1, use DeepCache and compute the whole UNet once in so many steps.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        open_network: Opener = eager.open_as_loaded,
        deep_every: int = 1,
    ) -> None:
        unet, card = checkpoint.unet(), checkpoint.card
        self.config, self.time_proj = unet.config, unet.time_proj
        self.cache = DeepCache(unet, card, open_network, deep_every) if deep_every > 1 else None
        self.runtime = self.cache.whole if self.cache else open_network(networks.unet(unet, card))
        self.scheduler_config = checkpoint.scheduler_config
        self.factor = checkpoint.card.vae_scale_factor
        self.scaling_factor = checkpoint.card.scaling_factor
        self.device, self.dtype = checkpoint.device, checkpoint.dtype

    @torch.inference_mode()
    def start(self, request: DenoiseRequest, i: int) -> DenoisingState:
        """Returns picture i of a request before its first step.

        The noise is drawn on the CPU, so it is the same on every device. Raises InvalidRequest if
        the scheduler does not support the number of steps.
        """
        generator = torch.Generator("cpu").manual_seed(request.seeds[i])
        scheduler = self._scheduler(request)
        latents, timesteps = self._initial_latents(request, i, scheduler, generator)
        takes = inspect.signature(scheduler.step).parameters
        distilled = self.config.time_cond_proj_dim is not None
        return DenoisingState(
            latents=latents,
            embeds=self._embeds(request, i, guided=request.guidance.scale > 1 and not distilled),
            guidance=request.guidance,
            scheduler=scheduler,
            timesteps=list(timesteps),
            step_options={"generator": generator} if "generator" in takes else {},
            timestep_cond=self._guidance_embedding(request.guidance.scale) if distilled else None,
            preview_every=request.preview_every,
            dump_every=request.dump_latents_every,
        )

    @torch.inference_mode()
    def compute(self, rows: int, height: int, width: int) -> None:
        """Calls the UNet once with zeros, to measure; height and width in pixels."""
        inputs = self._zero_inputs(rows, height, width)
        _, *deep = self.runtime(*inputs)
        if self.cache:
            self.cache.shallow(*deep, *inputs)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @torch.inference_mode()
    def prepare(self, rows: int, height: int, width: int) -> None:
        """Prepares calls of this size, see `Runtime.prepare`; height and width in pixels."""
        inputs = self._zero_inputs(rows, height, width)
        self.runtime.prepare(*inputs)
        if self.cache:
            _, *deep = self.runtime(*inputs)
            self.cache.shallow.prepare(*deep, *inputs)

    @torch.inference_mode()
    def predict(self, batch: Sequence[DenoisingState]) -> list[torch.Tensor]:
        """Computes the next prediction of each picture, in one UNet call, or two with DeepCache.

        Returns for each picture its rows: [rows, channels, h, w].
        """
        if self.cache:
            return self.cache.predict(batch, self._inputs)
        (predictions,) = self.runtime(*self._inputs(batch))
        return split_rows(predictions, batch)

    def _zero_inputs(self, rows: int, height: int, width: int) -> Tensors:
        h, w = height // self.factor, width // self.factor
        dims = [(self.config.in_channels, h, w), (networks.TOKENS, self.config.cross_attention_dim)]
        if self.config.time_cond_proj_dim:
            dims.append((self.config.time_cond_proj_dim,))
        sample, *rest = (torch.zeros(rows, *d).to(self.device, self.dtype) for d in dims)
        return sample, self.time_proj(torch.zeros(rows, device=self.device)), *rest

    def _inputs(self, batch: Sequence[DenoisingState]) -> Tensors:
        """Returns the UNet's inputs for the next step of each picture; see `networks.unet`."""
        samples, times = [], []
        for picture in batch:
            t = picture.timesteps[picture.step]
            sample = picture.scheduler.scale_model_input(picture.latents, t)
            samples.append(sample.expand(picture.rows, -1, -1, -1))
            times.append(t.float().expand(picture.rows))
        conditions = [p.timestep_cond for p in batch if p.timestep_cond is not None]
        return (
            torch.cat(samples),
            self.time_proj(torch.cat(times).to(self.device)),
            torch.cat([p.embeds[-p.rows :] for p in batch]),
            *([torch.cat(conditions)] if conditions else []),
        )

    @torch.inference_mode()
    def advance(self, picture: DenoisingState, prediction: torch.Tensor) -> None:
        """Applies guidance and one step of the picture's scheduler.

        prediction: [rows, channels, h, w], of `predict`. Raises StageFailed if the step gives
        values that are not finite.
        """
        t = picture.timesteps[picture.step]
        noisy = NoisyLatents(picture.scheduler, picture.latents, t)
        if len(prediction) == 2:
            prediction = guidance.combine(prediction, picture.guidance, noisy)
        if _is_due(picture.preview_every, picture.step + 1):
            picture.preview = noisy.original_from(prediction)
        picture.latents = _scheduler_step(picture, prediction)
        picture.step += 1
        if _is_due(picture.dump_every, picture.step):
            picture.dumped.append(picture.latents[0].float().cpu().numpy())

    def _initial_latents(
        self, request: DenoiseRequest, i: int, scheduler: Any, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns latents [1, channels, h, w] and the timesteps to run.

        With an initial image these are fewer than requested; see `image_to_image`.
        """
        if request.init is None:
            channels = self.config.in_channels
            shape = (1, channels, request.height // self.factor, request.width // self.factor)
            noise = torch.randn(shape, generator=generator).to(self.device, self.dtype)
            _begin_at_the_first(scheduler)
            return noise * scheduler.init_noise_sigma, scheduler.timesteps
        moments, strength = request.init.moments, request.init.strength
        own = torch.from_numpy(moments[[i if len(moments) > 1 else 0]])
        latents, timesteps = image_to_image.initial_latents(
            scheduler, request.steps, own, strength, generator, self.scaling_factor
        )
        return latents.to(self.device, self.dtype), timesteps

    def _scheduler(self, request: DenoiseRequest) -> Any:
        scheduler = schedulers.create(request.scheduler, self.scheduler_config)
        try:
            scheduler.set_timesteps(request.steps)
        except (ValueError, IndexError) as error:  # LCM supports at most 50 steps, for example
            limit = f"a number that scheduler {request.scheduler} takes ({error})"
            raise InvalidRequest("steps", request.steps, limit) from error
        return scheduler

    def _embeds(self, request: DenoiseRequest, i: int, *, guided: bool) -> torch.Tensor:
        """Returns [rows, tokens, dim]: two rows if guided, the unconditional first."""
        rows = [torch.from_numpy(request.prompt_embeds[i].copy())]
        negative = request.negative_prompt_embeds
        if guided and negative is not None:
            rows.insert(0, torch.from_numpy(negative[i if len(negative) > 1 else 0].copy()))
        return torch.stack(rows).to(self.device, self.dtype)

    def _guidance_embedding(self, guidance_scale: float) -> torch.Tensor:
        """Returns the guidance input of distilled UNets (LCM), which need no second row."""
        from diffusers import LatentConsistencyModelPipeline as Pipeline

        dim = self.config.time_cond_proj_dim
        scale = torch.tensor([guidance_scale - 1.0])
        embedding: Any = Pipeline.get_guidance_scale_embedding(None, scale, embedding_dim=dim)
        return torch.as_tensor(embedding, device=self.device, dtype=self.dtype)


def _begin_at_the_first(scheduler: Any) -> None:
    """Where the first timestep stands twice, diffusers begins at the second of them, and has one
    step too few in the end: Karras sigmas with zero terminal SNR round to it."""
    timesteps = scheduler.timesteps
    if len(timesteps) > 1 and timesteps[0] == timesteps[1]:
        scheduler.set_begin_index(0)


def _scheduler_step(picture: DenoisingState, prediction: torch.Tensor) -> torch.Tensor:
    """Returns the latents after the step; raises StageFailed if they are not finite."""
    t = picture.timesteps[picture.step]
    name, at = type(picture.scheduler).__name__, f"step {picture.step + 1} of {picture.steps}"
    help_ = "another scheduler or another number of steps may help"
    try:
        stepped = picture.scheduler.step(
            prediction, t, picture.latents, return_dict=False, **picture.step_options
        )
    except (IndexError, TypeError, ValueError) as error:
        raise StageFailed(f"unet: scheduler {name} failed at {at} ({error}); {help_}") from error
    latents: torch.Tensor = stepped[0]
    if not bool(latents.isfinite().all()):
        raise StageFailed(f"unet: scheduler {name} gave values not finite at {at}; {help_}")
    return latents


def _is_due(every: int, step: int) -> bool:
    return every > 0 and step % every == 0
