"""Takes the screenshots of the page in docs/images: `python -m scripts.page_screenshots`.

The miniature itself draws what is to be seen, in this process and without a stack.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from tests.support.browser import PHONE, Visit, chromium
from tests.support.stub_gateway import StubGateway, png

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
STEPS = 12
TOUCHED = {"device_scale_factor": 2, "is_mobile": True, "has_touch": True}
GUIDANCE = 3.0
HELD_STEP = 4
HELD = "a huge pink heart on a blue background"
DRAWN = {
    "a large red heart on white": 3,
    "a large white ring on an orange background": 5,
    "a big purple ring in the top left corner on green": 4,
    "a red circle above a blue square on a white background": 11,
    "a medium cyan square on the right, orange background": 10,
    "a yellow cross in the centre on a purple background": 16,
    "small green heart, pink background": 3,
    "a huge pink heart on a blue background": 8,
    "a large yellow star on a black background": 1,
}


@functools.lru_cache
def pipeline() -> Any:
    folder = ROOT / "models" / "miniature-sd"
    loaded = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    return loaded


@functools.lru_cache(maxsize=64)
@torch.inference_mode()
def estimates(prompt: str, seed: int) -> list[Image.Image]:
    """What each step makes of the finished picture; the last one is it."""
    pipe = pipeline()
    found, empty = pipe.encode_prompt(prompt, "cpu", 1, True)
    texts = torch.cat([empty, found])
    pipe.scheduler.set_timesteps(STEPS)
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed))
    latents = latents * pipe.scheduler.init_noise_sigma
    images = []
    for time in pipe.scheduler.timesteps:
        both = pipe.unet(torch.cat([latents] * 2), time, encoder_hidden_states=texts).sample
        without, with_text = both.chunk(2)
        step = pipe.scheduler.step(without + GUIDANCE * (with_text - without), time, latents)
        latents = step.prev_sample
        decoded = pipe.vae.decode(step.pred_original_sample / pipe.vae.config.scaling_factor).sample
        images += pipe.image_processor.postprocess(decoded)
    return images


def paint(wish: dict[str, Any], seed: int, fading: float) -> bytes:
    step = max(1, round((1 - fading) * STEPS))
    return png(estimates(wish["prompt"], seed)[step - 1], wish, seed)


def take(visit: Visit, name: str, **options: Any) -> None:
    visit.page.mouse.move(0, 0)
    visit.page.wait_for_timeout(400)  # for what still moves
    visit.page.screenshot(path=IMAGES / f"page-{name}.png", **options)


def fill(visit: Visit) -> None:
    for prompt, seed in DRAWN.items():
        visit.page.get_by_label("Seed", exact=True).fill(str(seed))
        visit.draw(prompt)


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    for prompt, seed in DRAWN.items():  # now, not while a visitor waits
        estimates(prompt, seed)
    gateway = StubGateway()
    gateway.paint, gateway.steps = paint, STEPS
    with chromium() as browser:
        for theme in ("light", "dark"):
            visit = Visit(browser, gateway.url, color_scheme=theme)
            visit.page.get_by_text("Surprise me").wait_for()
            take(visit, f"{theme}-empty")
            fill(visit)
            take(visit, theme)
            gateway.hold_at = HELD_STEP + 1
            gateway.go_on.clear()
            visit.page.get_by_label("Seed", exact=True).fill(str(DRAWN[HELD]))
            visit.generate(HELD)
            visit.page.get_by_text(f"Step {HELD_STEP} of {STEPS}").wait_for()
            take(visit, f"{theme}-drawing")
            gateway.go_on.set()
            visit.thumbnails.nth(len(DRAWN)).wait_for()
            visit.thumbnails.nth(3).click()
            take(visit, f"{theme}-viewer")
            visit.leave()
        phone = Visit(browser, gateway.url, viewport=PHONE, **TOUCHED)
        phone.page.get_by_text("Surprise me").wait_for()
        take(phone, "phone")
        phone.page.get_by_text("Settings").click()
        fill(phone)
        phone.page.get_by_text("Settings").click()
        phone.page.locator("#stage").scroll_into_view_if_needed()
        take(phone, "phone-drawn")
        phone.leave()
    gateway.stop()


if __name__ == "__main__":
    main()
