"""The operators that draw. Each runs one stage of the service."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future, wait
from typing import ClassVar

import numpy as np

from batch.inputs.row_preparer import request_tensors
from batch.operators.actor import OperatorActor
from batch.rows import Row
from ray_stages.denoising.denoiser import Denoiser
from ray_stages.denoising.engine import Engine
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests.fields import Array
from ray_stages.requests.stage_requests import (
    DecodeRequest,
    DenoiseRequest,
    EncodeTextRequest,
    Guidance,
)
from ray_stages.serving import warm_up
from ray_stages.serving.open_network import opener
from ray_stages.settings import Settings
from ray_stages.stages.image_decoder import ImageDecoder
from ray_stages.stages.text_encoder import TextEncoder

PNG_METADATA = ("prompt", "negative_prompt", "scheduler", "seed", "steps", "guidance_scale")


class StageActor(OperatorActor):
    """Holds one stage. stage: its name in the settings, which give its threads and its runtime."""

    stage: ClassVar[str]

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.resources(self.stage).threads)
        self.settings = settings
        self.checkpoint = Checkpoint(settings)
        self.card = self.checkpoint.card
        self.open_network = opener(self.checkpoint, self.stage)
        self.torch.submit(self.load).result()

    @abstractmethod
    def load(self) -> None:
        """Loads the stage. Runs in the thread that computes."""


class Encode(StageActor):
    """prompt and negative_prompt -> embeds and negative_embeds."""

    name, stage = "encode", "text_encoder"

    def load(self) -> None:
        cache_bytes = self.settings.text_encoder.cache_mb * 1024**2
        self.encoder = TextEncoder(self.checkpoint, self.open_network, cache_bytes)

    def compute(self, valid: Sequence[Row]) -> None:
        requests = [EncodeTextRequest([row["prompt"]], row["negative_prompt"]) for row in valid]
        for row, embeds in zip(valid, self.encoder.encode(requests), strict=True):
            row["embeds"] = embeds["prompt_embeds"].tobytes()
            row["negative_embeds"] = embeds["negative_prompt_embeds"].tobytes()


class Denoise(StageActor):
    """embeds and negative_embeds -> latents.

    Calls overlap and share one engine, so that it still has pictures when one of them ends.
    """

    name, stage = "denoise", "unet"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        # The engine's own queue has no limit: Ray Data limits what is in flight.
        self.engine = Engine(self.denoiser, self.max_rows, 2**31, thread=self.torch)

    def load(self) -> None:
        settings = self.settings
        self.denoiser = Denoiser(self.checkpoint, self.open_network, settings.unet.deep_every)
        warm_up.default_picture(self.denoiser, self.card)
        self.max_rows = settings.unet.max_rows or warm_up.row_limit(self.denoiser, self.card)
        warm_up.prepare(self.denoiser, self.card, self.max_rows)

    def process(self, valid: Sequence[Row], first: int = 0) -> dict[int, Exception]:
        """Submits each row by itself, so that a bad row fails alone.

        Rows with the most steps go first: the call then ends sooner.
        """
        jobs: dict[int, Future[Array]] = {}
        errors: dict[int, Exception] = {}
        for i in sorted(range(len(valid)), key=lambda i: -valid[i]["steps"]):
            try:
                jobs[i] = self.engine.submit(self._request(valid[i]))[0].latents
            except ValueError as error:
                errors[i] = error
        wait(jobs.values())
        for i, job in jobs.items():
            if failure := job.exception():
                errors[i] = failure if isinstance(failure, Exception) else RuntimeError(failure)
            else:
                valid[i]["latents"] = job.result().tobytes()
        for row in valid:
            row["embeds"] = row["negative_embeds"] = None
        return errors

    def compute(self, valid: Sequence[Row]) -> None:
        raise NotImplementedError("the engine's own thread computes")

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


class Decode(StageActor):
    """latents -> png."""

    name, stage = "decode", "vae_decoder"

    def load(self) -> None:
        self.decoder = ImageDecoder(self.checkpoint, self.open_network)

    def compute(self, valid: Sequence[Row]) -> None:
        files = self.decoder.decode([self._request(row) for row in valid])
        for row, (png,) in zip(valid, files, strict=True):
            row["png"], row["latents"] = png, None

    def _request(self, row: Row) -> DecodeRequest:
        factor = self.card.vae_scale_factor
        shape = (1, self.card.latent_channels, row["height"] // factor, row["width"] // factor)
        latents = np.frombuffer(row["latents"], np.float32).reshape(shape)
        metadata = request_tensors({name: row[name] for name in PNG_METADATA})
        return DecodeRequest.parse({"latents": latents, **metadata}, self.card, self.settings)
