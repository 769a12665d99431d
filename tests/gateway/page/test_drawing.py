"""The page in a real browser, with a stub of the gateway: the form and the progress."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from tests.support.browser import GatewayPage, expect
from tests.support.stub_gateway import StubGateway

STAR = "a large yellow star on a black background"


def test_a_prompt_becomes_a_picture(page: GatewayPage, stub_gateway: StubGateway) -> None:
    page.draw(STAR)
    assert stub_gateway.requests == [{"prompt": STAR, "n": 1, "size": "auto", "previews": True}]
    expect(page.drawing).to_contain_text(STAR)
    expect(page.drawing).to_contain_text("DDIM")
    expect(page.tab.get_by_text("The picture is drawn.")).to_be_attached()


def test_every_field_of_the_form(page: GatewayPage, stub_gateway: StubGateway) -> None:
    tab = page.tab
    tab.get_by_label("Negative prompt").fill("blue")
    tab.get_by_label("Size").select_option("96x128")
    tab.get_by_label("Scheduler").select_option("Euler a")
    tab.get_by_label("Steps", exact=True).fill("20")
    tab.get_by_label("Guidance, as a slider").fill("4.5")
    tab.get_by_label("Pictures", exact=True).fill("3")
    tab.get_by_label("Seed", exact=True).fill("7")
    page.draw(STAR)
    assert stub_gateway.requests == [
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
    expect(page.thumbnails).to_have_count(3)
    tab.get_by_role("button", name="Reset").click()
    page.draw(STAR)
    assert stub_gateway.requests[1] == {"prompt": STAR, "n": 1, "size": "auto", "previews": True}


def test_a_custom_size(page: GatewayPage, stub_gateway: StubGateway) -> None:
    page.tab.get_by_label("Size").select_option("Another …")
    page.tab.get_by_label("Width").fill("200")
    page.draw(STAR)
    assert stub_gateway.requests[0]["size"] == "200x128"
    page.tab.get_by_label("Height").fill("99")
    page.generate(STAR)
    assert page.tab.get_by_label("Height").evaluate("input => input.validity.stepMismatch")
    assert len(stub_gateway.requests) == 1


def test_a_custom_size_chosen_before_the_model_is_known(
    open_page: Callable[..., GatewayPage], stub_gateway: StubGateway
) -> None:
    page = open_page()
    answers: list[Any] = []
    page.tab.route("**/v1/models", lambda route: answers.append(route))
    with page.tab.expect_request("**/v1/models"):
        page.tab.reload()
    page.tab.get_by_label("Size").select_option("Another …")
    answers.pop().continue_()
    expect(page.tab.locator("#model")).to_have_text(stub_gateway.model["id"])
    page.tab.get_by_label("Width").fill("200")
    page.draw(STAR)
    assert stub_gateway.requests[0]["size"] == "200x128"


def test_previews_follow_the_steps(page: GatewayPage, stub_gateway: StubGateway) -> None:
    stub_gateway.hold_at = 3
    stub_gateway.proceed.clear()
    page.generate(STAR)
    expect(page.status).to_have_text("Step 2 of 6")
    expect(page.tab.get_by_role("progressbar")).to_have_attribute("value", "2")
    early = page.preview
    stub_gateway.hold_at = 6
    expect(page.status).to_have_text("Step 5 of 6")
    assert early is not None
    assert page.preview != early
    assert page.preview is not None
    shown = base64.b64decode(page.preview.split(",")[1])
    assert Image.open(io.BytesIO(shown)).size == (128, 128)
    stub_gateway.proceed.set()
    expect(page.thumbnails).to_have_count(1)


def test_the_position_in_the_queue(page: GatewayPage, stub_gateway: StubGateway) -> None:
    stub_gateway.leave_queue.clear()
    page.generate(STAR)
    expect(page.status).to_have_text("Waiting, number 1 in the queue")
    stub_gateway.leave_queue.set()
    expect(page.thumbnails).to_have_count(1)


@pytest.mark.parametrize("way", ["button", "key"])
def test_cancel(page: GatewayPage, stub_gateway: StubGateway, way: str) -> None:
    stub_gateway.hold_at = 2
    stub_gateway.proceed.clear()
    page.generate(STAR)
    expect(page.status).to_have_text("Step 1 of 6")
    if way == "button":
        page.tab.get_by_role("button", name="Cancel").click()
    else:
        page.tab.keyboard.press("Escape")
    expect(page.tab.get_by_role("button", name="Generate")).to_be_enabled()
    expect(page.tab.get_by_text("Cancelled.")).to_be_attached()
    cancelled = "fetch('v1/jobs/job-0').then(a => a.json()).then(job => job.status == 'cancelled')"
    page.tab.wait_for_function(f"() => {cancelled}")
    expect(page.thumbnails).to_have_count(0)
    stub_gateway.proceed.set()
    page.draw(STAR)


def test_with_the_keyboard_only(page: GatewayPage, stub_gateway: StubGateway) -> None:
    press = page.tab.keyboard.press
    while page.tab.evaluate("document.activeElement.id") != "prompt":
        press("Tab")
    page.tab.keyboard.type("a red heart")
    press("Control+Enter")
    page.thumbnails.first.wait_for()
    while page.tab.evaluate("document.activeElement.className") != "thumbnail":
        press("Tab")
    press("Enter")
    viewer = page.tab.get_by_role("dialog", name="Picture")
    expect(viewer).to_contain_text("a red heart")
    press("Escape")
    expect(viewer).to_be_hidden()
    page.draw("a blue ring")
    page.thumbnails.first.click()
    expect(viewer).to_contain_text("a blue ring")
    press("ArrowRight")
    expect(viewer).to_contain_text("a red heart")
    assert [request["prompt"] for request in stub_gateway.requests] == [
        "a red heart",
        "a blue ring",
    ]


def test_the_seed_is_kept_when_it_is_locked(page: GatewayPage, stub_gateway: StubGateway) -> None:
    seed = page.tab.get_by_label("Seed", exact=True)
    lock = page.tab.get_by_label("Keep the seed")
    page.draw(STAR)
    assert "seed" not in stub_gateway.requests[0]
    lock.click()
    drawn, _ = stub_gateway.jobs["job-0"].pictures[0]
    expect(seed).to_have_value(str(drawn))
    page.draw(STAR)
    assert stub_gateway.requests[1]["seed"] == drawn
    page.tab.get_by_label("Roll a seed").click()
    expect(seed).not_to_have_value(str(drawn))
    expect(lock).to_have_attribute("aria-pressed", "true")
    lock.click()
    expect(seed).to_have_value("")
