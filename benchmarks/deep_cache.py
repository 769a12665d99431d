"""What reused deep features cost in the miniature's pictures and save in time, for
docs/deep-cache.md.

    python -m benchmarks.deep_cache

Draws unseen prompts with each UNET_DEEP_EVERY in turn, a few at a time so that all see the same
machine, lets the judge of `training/` look at the pictures, and writes the table and a strip.
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

from benchmarks.guidance import KEYS, SHOWN
from benchmarks.png import from_png
from benchmarks.reports.report import write_between
from benchmarks.reports.tables import table
from ray_stages.denoising.denoiser import Denoiser
from ray_stages.families import unet_levels
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.families.networks import TOKENS
from ray_stages.requests.stage_requests import DecodeRequest, DenoiseRequest, Guidance, TextRequest
from ray_stages.runtimes.choice import open_fastest
from ray_stages.runtimes.network import Network, Opener, Runtime, Tensors
from ray_stages.runtimes.place import Place
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
FAR_OFF = 8  # of 255
HEAD = ("whole UNet every", *KEYS, "pixels far off", "ms, at best", "of the time")


class Painter:
    """Draws with one UNET_DEEP_EVERY; milliseconds: in the UNet, of each batch's pictures."""

    def __init__(self, checkpoint: Checkpoint, opener: Opener, every: int, steps: int) -> None:
        self.every, self.steps, self.card = every, steps, checkpoint.card
        self.opener, self.seconds = opener, 0.0
        self.encoder, self.decoder = TextEncoder(checkpoint), ImageDecoder(checkpoint)
        self.denoiser = Denoiser(checkpoint, self._timed, every)
        self.milliseconds: list[float] = []
        self.images: list[Image.Image] = []

    def draw(self, prompts: list[str], first_seed: int) -> list[Image.Image]:
        request = self._request(prompts, first_seed)
        batch = [self.denoiser.start(request, i) for i in range(len(prompts))]
        self.seconds = 0.0
        for _ in range(batch[0].steps):
            for picture, prediction in zip(batch, self.denoiser.predict(batch), strict=True):
                self.denoiser.advance(picture, prediction)
        self.milliseconds.append(1000 * self.seconds / len(batch))
        latents = np.concatenate([picture.latents.numpy() for picture in batch])
        (files,) = self.decoder.decode([DecodeRequest(latents, [{}] * len(batch))])
        return [from_png(file) for file in files]

    def _request(self, prompts: list[str], first_seed: int) -> DenoiseRequest:
        embeds: dict[str, Any] = self.encoder.encode([TextRequest(prompts, "")])[0]
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
            self.seconds += time.perf_counter() - begin
            return outputs

        return Runtime(runtime.name, runtime.precision, compute)


def rows(painters: list[Painter], cases: list[tuple[Any, str]]) -> Iterator[list[str]]:
    """Of the table; the first painter is what the others are held against."""
    usual = painters[0]
    for painter in painters:
        pairs = zip(cases, painter.images, strict=True)
        verdicts = [judge(scene, look(image)) for (scene, _), image in pairs]
        right = [sum(getattr(one, key) for one in verdicts) / len(cases) for key in KEYS]
        off = [far_off(*pair) for pair in zip(painter.images, usual.images, strict=True)]
        ratios = np.divide(painter.milliseconds, usual.milliseconds)
        yield [
            "step (off)" if painter.every == 1 else f"{painter.every} steps",
            *(f"{share:.0%}" for share in right),
            f"{np.mean(off):.1%}",
            f"{min(painter.milliseconds):.0f}",
            f"{np.median(ratios):.2f}",
        ]


def far_off(one: Image.Image, other: Image.Image) -> float:
    """The share of pixels with a channel that differs by more than FAR_OFF."""
    pixels = [np.asarray(image).astype(int) for image in (one, other)]
    return float((np.abs(pixels[0] - pixels[1]).max(axis=-1) > FAR_OFF).mean())


def shallow_share(unet: Any, side: int) -> float:
    """Multiplications in the shallow part, of the whole UNet's; `unet` and all else is "meta"."""
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
    place = Place(checkpoint.device, threads, Path(settings.cache_dir), inputs)
    return partial(open_fastest, place=place, runtime=runtime, precision="float32")


def summary(painters: list[Painter], checkpoint: Checkpoint, prompts: int) -> str:
    usual = painters[0]
    with torch.device("meta"):
        sd15 = UNet2DConditionModel(cross_attention_dim=768)
    side = usual.card.height // usual.card.vae_scale_factor
    own = shallow_share(checkpoint.unet().to("meta"), side)
    return (
        f"{prompts} unseen prompts, {usual.steps} steps, {BATCH} pictures at once, "
        f"{usual.denoiser.runtime}. Of the UNet's multiplications, the shallow part has "
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
    painters = [Painter(checkpoint, opener, every, args.steps) for every in EVERY]
    for painter in painters:  # the strip, and a warm-up that is not measured
        painter.images = painter.draw(list(SHOWN), 0)
    strip = [image for painter in painters for image in painter.images]
    for painter in painters:
        painter.images, painter.milliseconds = [], []
    cases = sample_prompts(args.prompts)
    for start in tqdm(range(0, len(cases), BATCH)):
        part = [text for _, text in cases[start : start + BATCH]]
        for painter in painters:
            painter.images += painter.draw(part, start)
    text = f"{summary(painters, checkpoint, len(cases))}\n\n{table(HEAD, rows(painters, cases))}"
    print(text)
    write_between(DOCUMENT, MARKER, text)
    contact_sheet(strip, len(SHOWN)).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
