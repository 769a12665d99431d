"""The page in a real browser, against a stand-in for the gateway: drawing, and watching it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from tests.support.browser import Visit, expect
from tests.support.stub_gateway import StubGateway

STAR = "a large yellow star on a black background"


def test_a_prompt_becomes_a_picture(visit: Visit, gateway: StubGateway) -> None:
    visit.draw(STAR)
    assert gateway.wishes == [{"prompt": STAR, "n": 1, "size": "auto", "previews": True}]
    expect(visit.stage).to_contain_text(STAR)
    expect(visit.stage).to_contain_text("DDIM")
    expect(visit.page.get_by_text("The picture is drawn.")).to_be_attached()


def test_all_that_can_be_asked_for(visit: Visit, gateway: StubGateway) -> None:
    page = visit.page
    page.get_by_label("Negative prompt").fill("blue")
    page.get_by_label("Size").select_option("96x128")
    page.get_by_label("Scheduler").select_option("Euler a")
    page.get_by_label("Steps", exact=True).fill("20")
    page.get_by_label("Guidance, as a slider").fill("4.5")
    page.get_by_label("Pictures", exact=True).fill("3")
    page.get_by_label("Seed", exact=True).fill("7")
    visit.draw(STAR)
    assert gateway.wishes == [
        {
            "prompt": STAR,
            "negative_prompt": "blue",
            "n": 3,
            "size": "96x128",
            "seed": 7,
            "steps": 20,
            "guidance_scale": 4.5,
            "scheduler": "euler_ancestral",
            "previews": True,
        }
    ]
    expect(visit.thumbnails).to_have_count(3)
    page.get_by_role("button", name="Reset").click()
    visit.draw(STAR)
    assert gateway.wishes[1] == {"prompt": STAR, "n": 1, "size": "auto", "previews": True}


def test_a_size_in_numbers(visit: Visit, gateway: StubGateway) -> None:
    visit.page.get_by_label("Size").select_option("Another …")
    visit.page.get_by_label("Width").fill("200")
    visit.draw(STAR)
    assert gateway.wishes[0]["size"] == "200x128"
    visit.page.get_by_label("Height").fill("99")
    visit.generate(STAR)
    assert visit.page.get_by_label("Height").evaluate("input => input.validity.stepMismatch")
    assert len(gateway.wishes) == 1


def test_a_size_that_is_asked_for_before_the_model_is_known(
    arrive: Callable[..., Visit], gateway: StubGateway
) -> None:
    visit = arrive()
    answers: list[Any] = []
    visit.page.route("**/v1/models", lambda route: answers.append(route))
    with visit.page.expect_request("**/v1/models"):
        visit.page.reload()
    visit.page.get_by_label("Size").select_option("Another …")
    answers.pop().continue_()
    expect(visit.page.locator("#model")).to_have_text(gateway.model["id"])
    visit.page.get_by_label("Width").fill("200")
    visit.draw(STAR)
    assert gateway.wishes[0]["size"] == "200x128"


def test_previews_follow_the_steps(visit: Visit, gateway: StubGateway) -> None:
    gateway.hold_at = 3
    gateway.go_on.clear()
    visit.generate(STAR)
    expect(visit.state).to_have_text("Step 2 of 6")
    expect(visit.page.get_by_role("progressbar")).to_have_attribute("value", "2")
    early = visit.preview
    gateway.hold_at = 6
    expect(visit.state).to_have_text("Step 5 of 6")
    assert early is not None
    assert visit.preview != early
    assert visit.preview is not None
    shown = base64.b64decode(visit.preview.split(",")[1])
    assert Image.open(io.BytesIO(shown)).size == (128, 128)
    gateway.go_on.set()
    expect(visit.thumbnails).to_have_count(1)


def test_the_place_in_the_queue(visit: Visit, gateway: StubGateway) -> None:
    gateway.admit.clear()
    visit.generate(STAR)
    expect(visit.state).to_have_text("Waiting, number 1 in the queue")
    gateway.admit.set()
    expect(visit.thumbnails).to_have_count(1)


@pytest.mark.parametrize("way", ["button", "key"])
def test_cancel(visit: Visit, gateway: StubGateway, way: str) -> None:
    gateway.hold_at = 2
    gateway.go_on.clear()
    visit.generate(STAR)
    expect(visit.state).to_have_text("Step 1 of 6")
    if way == "button":
        visit.page.get_by_role("button", name="Cancel").click()
    else:
        visit.page.keyboard.press("Escape")
    expect(visit.page.get_by_role("button", name="Generate")).to_be_enabled()
    expect(visit.page.get_by_text("Cancelled.")).to_be_attached()
    cancelled = "fetch('v1/jobs/job-0').then(a => a.json()).then(job => job.status == 'cancelled')"
    visit.page.wait_for_function(f"() => {cancelled}")
    expect(visit.thumbnails).to_have_count(0)
    gateway.go_on.set()
    visit.draw(STAR)


def test_with_the_keyboard_alone(visit: Visit, gateway: StubGateway) -> None:
    press = visit.page.keyboard.press
    while visit.page.evaluate("document.activeElement.id") != "prompt":
        press("Tab")
    visit.page.keyboard.type("a red heart")
    press("Control+Enter")
    visit.thumbnails.first.wait_for()
    while visit.page.evaluate("document.activeElement.className") != "thumbnail":
        press("Tab")
    press("Enter")
    viewer = visit.page.get_by_role("dialog", name="Picture")
    expect(viewer).to_contain_text("a red heart")
    press("Escape")
    expect(viewer).to_be_hidden()
    visit.draw("a blue ring")
    visit.thumbnails.first.click()
    expect(viewer).to_contain_text("a blue ring")
    press("ArrowRight")
    expect(viewer).to_contain_text("a red heart")
    assert [wish["prompt"] for wish in gateway.wishes] == ["a red heart", "a blue ring"]


def test_the_seed_is_kept_when_it_is_locked(visit: Visit, gateway: StubGateway) -> None:
    seed = visit.page.get_by_label("Seed", exact=True)
    lock = visit.page.get_by_label("Keep the seed")
    visit.draw(STAR)
    assert "seed" not in gateway.wishes[0]
    lock.click()
    drawn, _ = gateway.jobs["job-0"].pictures[0]
    expect(seed).to_have_value(str(drawn))
    visit.draw(STAR)
    assert gateway.wishes[1]["seed"] == drawn
    visit.page.get_by_label("Roll a seed").click()
    expect(seed).not_to_have_value(str(drawn))
    expect(lock).to_have_attribute("aria-pressed", "true")
    lock.click()
    expect(seed).to_have_value("")
