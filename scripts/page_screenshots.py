"""Takes the screenshots of the page in docs/images: `python -m scripts.page_screenshots`.

The miniature model draws the pictures in this process, without a stack.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from tests.support.browser import PHONE, GatewayPage, chromium
from tests.support.stub_gateway import StubGateway, png

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
STEPS = 12
TOUCH = {"device_scale_factor": 2, "is_mobile": True, "has_touch": True}
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
    """The estimate of the finished picture after each step. The last one is the picture itself."""
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


def draw(request: dict[str, Any], seed: int, noise: float) -> bytes:
    step = max(1, round((1 - noise) * STEPS))
    return png(estimates(request["prompt"], seed)[step - 1], request, seed)


def take_screenshot(page: GatewayPage, name: str, **options: Any) -> None:
    page.tab.mouse.move(0, 0)
    page.tab.wait_for_timeout(400)  # until transitions have ended
    page.tab.screenshot(path=IMAGES / f"page-{name}.png", **options)


def draw_gallery(page: GatewayPage) -> None:
    for prompt, seed in DRAWN.items():
        page.tab.get_by_label("Seed", exact=True).fill(str(seed))
        page.draw(prompt)


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    for prompt, seed in DRAWN.items():  # cached before the page waits for them
        estimates(prompt, seed)
    gateway = StubGateway()
    gateway.draw, gateway.steps = draw, STEPS
    with chromium() as browser:
        for theme in ("light", "dark"):
            page = GatewayPage(browser, gateway.url, color_scheme=theme)
            page.tab.get_by_text("Surprise me").wait_for()
            take_screenshot(page, f"{theme}-empty")
            draw_gallery(page)
            take_screenshot(page, theme)
            gateway.hold_at = HELD_STEP + 1
            gateway.proceed.clear()
            page.tab.get_by_label("Seed", exact=True).fill(str(DRAWN[HELD]))
            page.generate(HELD)
            page.tab.get_by_text(f"Step {HELD_STEP} of {STEPS}").wait_for()
            take_screenshot(page, f"{theme}-drawing")
            gateway.proceed.set()
            page.thumbnails.nth(len(DRAWN)).wait_for()
            page.thumbnails.nth(3).click()
            take_screenshot(page, f"{theme}-viewer")
            page.close()
        phone = GatewayPage(browser, gateway.url, viewport=PHONE, **TOUCH)
        phone.tab.get_by_text("Surprise me").wait_for()
        take_screenshot(phone, "phone")
        phone.tab.get_by_text("Settings").click()
        draw_gallery(phone)
        phone.tab.get_by_text("Settings").click()
        phone.tab.locator("#drawing").scroll_into_view_if_needed()
        take_screenshot(phone, "phone-drawn")
        phone.close()
    gateway.stop()


if __name__ == "__main__":
    main()
