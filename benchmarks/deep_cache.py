"""Measures what reused deep features cost in the miniature's pictures, and save in time.

    python -m benchmarks.deep_cache

It draws unseen prompts with each UNET_DEEP_EVERY in turn, a few at a time, so that all of them meet
the same conditions. The judge of `training/` looks at the pictures. The results are the table and
the picture of docs/deep-cache.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from benchmarks.common.png import from_png
from benchmarks.guidance import JUDGED, SHOWN_PROMPTS
from benchmarks.reports.report import replace_section
from benchmarks.reports.tables import markdown_table
from ray_stages.denoising.denoiser import Denoiser
from ray_stages.families import unet_levels
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.families.networks import TOKENS
from ray_stages.requests.stage_requests import (
    DecodeRequest,
    DenoiseRequest,
    EncodeTextRequest,
    Guidance,
)
from ray_stages.runtimes.choice import open_fastest
from ray_stages.runtimes.network import Network, Opener, Runtime, Tensors
from ray_stages.runtimes.target import Target
from ray_stages.serving.calibration import Calibration
from ray_stages.settings import Settings
from ray_stages.stages.contact_sheet import contact_sheet
from ray_stages.stages.image_decoder import ImageDecoder
from ray_stages.stages.text_encoder import TextEncoder
from training.evaluate import sample_prompts
from training.judge import judge, look

DOCUMENT = Path("docs/deep-cache.md")
PICTURE = Path("docs/deep-cache.png")
MARKER = "deep-cache"
EVERY = (1, 2, 3, 5)
BATCH = 8
VISIBLE_DIFFERENCE = 8  # of 255
HEAD = ("whole UNet every", *JUDGED, "pixels far off", "ms, at best", "of the time")


class Variant:
    """Draws with one value of UNET_DEEP_EVERY.

    milliseconds: time in the UNet for each picture, by batch; images: everything drawn so far.
    """

    def __init__(self, checkpoint: Checkpoint, opener: Opener, every: int, steps: int) -> None:
        self.every, self.steps, self.card = every, steps, checkpoint.card
        self.opener, self.unet_seconds = opener, 0.0
        self.encoder, self.decoder = TextEncoder(checkpoint), ImageDecoder(checkpoint)
        self.denoiser = Denoiser(checkpoint, self._timed, every)
        self.milliseconds: list[float] = []
        self.images: list[Image.Image] = []

    def draw(self, prompts: list[str], first_seed: int) -> list[Image.Image]:
        request = self._request(prompts, first_seed)
        batch = [self.denoiser.start(request, i) for i in range(len(prompts))]
        self.unet_seconds = 0.0
        for _ in range(batch[0].steps):
            for picture, prediction in zip(batch, self.denoiser.predict(batch), strict=True):
                self.denoiser.advance(picture, prediction)
        self.milliseconds.append(1000 * self.unet_seconds / len(batch))
        latents = np.concatenate([picture.latents.numpy() for picture in batch])
        (files,) = self.decoder.decode([DecodeRequest(latents, [{}] * len(batch))])
        return [from_png(file) for file in files]

    def _request(self, prompts: list[str], first_seed: int) -> DenoiseRequest:
        embeds: dict[str, Any] = self.encoder.encode([EncodeTextRequest(prompts, "")])[0]
        return DenoiseRequest(
            **embeds,
            seeds=[first_seed + i for i in range(len(prompts))],
            steps=self.steps,
            guidance=Guidance(self.card.guidance_scale),
            height=self.card.height,
            width=self.card.width,
            scheduler=self.card.scheduler,
        )

    def _timed(self, network: Network) -> Runtime:
        runtime = self.opener(network)

        def compute(*inputs: torch.Tensor) -> Tensors:
            begin = time.perf_counter()
            outputs = runtime(*inputs)
            self.unet_seconds += time.perf_counter() - begin
            return outputs

        return Runtime(runtime.name, runtime.precision, compute)


def rows(variants: list[Variant], cases: list[tuple[Any, str]]) -> Iterator[list[str]]:
    """Yields the rows of the table. The first variant is the reference of the others."""
    reference = variants[0]
    for variant in variants:
        pairs = zip(cases, variant.images, strict=True)
        verdicts = [judge(scene, look(image)) for (scene, _), image in pairs]
        right = [sum(getattr(one, key) for one in verdicts) / len(cases) for key in JUDGED]
        off = [
            visibly_different(*pair) for pair in zip(variant.images, reference.images, strict=True)
        ]
        ratios = np.divide(variant.milliseconds, reference.milliseconds)
        yield [
            "step (off)" if variant.every == 1 else f"{variant.every} steps",
            *(f"{share:.0%}" for share in right),
            f"{np.mean(off):.1%}",
            f"{min(variant.milliseconds):.0f}",
            f"{np.median(ratios):.2f}",
        ]


def visibly_different(one: Image.Image, other: Image.Image) -> float:
    """Returns the share of pixels that differ by more than VISIBLE_DIFFERENCE in a channel."""
    pixels = [np.asarray(image).astype(int) for image in (one, other)]
    return float((np.abs(pixels[0] - pixels[1]).max(axis=-1) > VISIBLE_DIFFERENCE).mean())


def shallow_share(unet: Any, side: int) -> float:
    """Returns the shallow part's share of the multiplications. unet: on the "meta" device."""
    config = unet.config
    with torch.device("meta"):
        sample = torch.empty(1, config.in_channels, side, side)
        inputs = sample, torch.empty(1), torch.empty(1, TOKENS, config.cross_attention_dim)
    (_, deep), whole = _counted(lambda: unet_levels.Whole(unet)(*inputs))
    _, shallow = _counted(lambda: unet_levels.Shallow(unet)(deep, *inputs))
    return shallow / whole


def _counted(call: Callable[[], Tensors]) -> tuple[Tensors, int]:
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        outputs = call()
    return outputs, counter.get_total_flops()


def opener_for(checkpoint: Checkpoint, settings: Settings, runtime: str) -> Opener:
    threads = settings.resources("unet").threads
    inputs = Calibration(checkpoint).inputs_of
    target = Target(checkpoint.device, threads, settings.cache_dir, inputs)
    return partial(open_fastest, target=target, runtime=runtime, precision="float32")


def summary(variants: list[Variant], checkpoint: Checkpoint, prompts: int) -> str:
    reference = variants[0]
    with torch.device("meta"):
        sd15 = UNet2DConditionModel(cross_attention_dim=768)
    side = reference.card.height // reference.card.vae_scale_factor
    own = shallow_share(checkpoint.unet().to("meta"), side)
    return (
        f"{prompts} unseen prompts, {reference.steps} steps, {BATCH} pictures at once, "
        f"{reference.denoiser.runtime}. Of the UNet's multiplications, the shallow part has "
        f"{own:.0%} in the miniature and {shallow_share(sd15, 64):.0%} in Stable Diffusion 1.5 "
        "at 512 × 512."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=128, help="half with two objects")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--runtime", default="openvino")
    args = parser.parse_args()
    settings = Settings.from_env()
    torch.set_num_threads(settings.resources("unet").threads)
    checkpoint = Checkpoint(settings)
    opener = opener_for(checkpoint, settings, args.runtime)
    variants = [Variant(checkpoint, opener, every, args.steps) for every in EVERY]
    for variant in variants:  # for the picture, and as a warm-up that is not measured
        variant.images = variant.draw(list(SHOWN_PROMPTS), 0)
    strip = [image for variant in variants for image in variant.images]
    for variant in variants:
        variant.images, variant.milliseconds = [], []
    cases = sample_prompts(args.prompts)
    for start in tqdm(range(0, len(cases), BATCH)):
        part = [text for _, text in cases[start : start + BATCH]]
        for variant in variants:
            variant.images += variant.draw(part, start)
    table = markdown_table(HEAD, rows(variants, cases))
    text = f"{summary(variants, checkpoint, len(cases))}\n\n{table}"
    print(text)
    replace_section(DOCUMENT, MARKER, text)
    contact_sheet(strip, len(SHOWN_PROMPTS)).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
