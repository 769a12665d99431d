"""The operators that draw: the stages of the service, fed by Ray Data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future, wait
from typing import ClassVar

import numpy as np

from batch.inputs.preparation import tensors_of
from batch.operators.actor import Station
from batch.rows import Row
from ray_stages.denoising.denoiser import Denoiser
from ray_stages.denoising.engine import Engine
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests.fields import Array
from ray_stages.requests.stage_requests import DecodeRequest, DenoiseRequest, Guidance, TextRequest
from ray_stages.serving import warm_up
from ray_stages.serving.open_network import opener
from ray_stages.settings import Settings
from ray_stages.stages.image_decoder import ImageDecoder
from ray_stages.stages.text_encoder import TextEncoder

TOLD = ("prompt", "negative_prompt", "scheduler", "seed", "steps", "guidance_scale")


class Drawing(Station):
    """stage: its name in the settings, where its threads and its runtime stand."""

    stage: ClassVar[str]

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.resources(self.stage).threads)
        self.settings = settings
        self.checkpoint = Checkpoint(settings)
        self.card = self.checkpoint.card
        self.open_network = opener(self.checkpoint, self.stage)
        self.torch.submit(self.load).result()

    @abstractmethod
    def load(self) -> None: ...


class Encode(Drawing):
    name, stage = "encode", "text_encoder"

    def load(self) -> None:
        cache_bytes = self.settings.text_encoder_cache_mb * 1024**2
        self.encoder = TextEncoder(self.checkpoint, self.open_network, cache_bytes)

    def work(self, due: Sequence[Row]) -> None:
        requests = [TextRequest([row["prompt"]], row["negative_prompt"]) for row in due]
        for row, embeds in zip(due, self.encoder.encode(requests), strict=True):
            row["embeds"] = embeds["prompt_embeds"].tobytes()
            row["negative_embeds"] = embeds["negative_prompt_embeds"].tobytes()


class Denoise(Drawing):
    """Several calls share the engine, so that it has pictures left when one of them ends."""

    name, stage = "denoise", "unet"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        # Ray Data bounds what is in flight.
        self.engine = Engine(self.denoiser, self.max_rows, 2**31, thread=self.torch)

    def load(self) -> None:
        settings = self.settings
        self.denoiser = Denoiser(self.checkpoint, self.open_network, settings.unet_deep_every)
        warm_up.first_step(self.denoiser, self.card)
        self.max_rows = settings.unet_max_rows or warm_up.row_limit(self.denoiser, self.card)
        warm_up.prepare(self.denoiser, self.card, self.max_rows)

    def attempt(self, due: Sequence[Row], first: int = 0) -> dict[int, Exception]:
        """The engine itself keeps a bad row apart. Most steps first: a call then ends sooner."""
        jobs: dict[int, Future[Array]] = {}
        errors: dict[int, Exception] = {}
        for i in sorted(range(len(due)), key=lambda i: -due[i]["steps"]):
            try:
                jobs[i] = self.engine.submit(self._request(due[i]))[0].latents
            except ValueError as error:
                errors[i] = error
        wait(jobs.values())
        for i, job in jobs.items():
            if failure := job.exception():
                errors[i] = failure if isinstance(failure, Exception) else RuntimeError(failure)
            else:
                due[i]["latents"] = job.result().tobytes()
        for row in due:
            row["embeds"] = row["negative_embeds"] = None
        return errors

    def work(self, due: Sequence[Row]) -> None:
        raise NotImplementedError("the engine's own thread does it")

    def _request(self, row: Row) -> DenoiseRequest:
        return DenoiseRequest(
            prompt_embeds=self._embeds(row["embeds"]),
            negative_prompt_embeds=self._embeds(row["negative_embeds"]),
            seeds=[row["seed"]],
            steps=row["steps"],
            guidance=Guidance(row["guidance_scale"]),
            height=row["height"],
            width=row["width"],
            scheduler=row["scheduler"],
        )

    def _embeds(self, data: bytes) -> Array:
        return np.frombuffer(data, np.float32).reshape(1, -1, self.card.embed_dim)


class Decode(Drawing):
    name, stage = "decode", "vae_decoder"

    def load(self) -> None:
        self.decoder = ImageDecoder(self.checkpoint, self.open_network)

    def work(self, due: Sequence[Row]) -> None:
        files = self.decoder.decode([self._request(row) for row in due])
        for row, (png,) in zip(due, files, strict=True):
            row["png"], row["latents"] = png, None

    def _request(self, row: Row) -> DecodeRequest:
        factor = self.card.vae_scale_factor
        shape = (1, self.card.latent_channels, row["height"] // factor, row["width"] // factor)
        latents = np.frombuffer(row["latents"], np.float32).reshape(shape)
        said = tensors_of({name: row[name] for name in TOLD})
        return DecodeRequest.parse({"latents": latents, **said}, self.card, self.settings)
