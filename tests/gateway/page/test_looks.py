"""The page with other models, on phones, in both themes, and for screen readers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.browser import PHONE, GatewayPage, expect
from tests.support.stub_gateway import StubGateway

STAR = "a large yellow star on a black background"


def violations(tab: Any) -> list[str]:
    """What the accessibility checker axe finds, a line each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(tab).response["violations"]
    return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]


def test_the_miniature_model_has_examples(page: GatewayPage, stub_gateway: StubGateway) -> None:
    page.tab.get_by_role("button", name=STAR).click()
    page.tab.keyboard.press("Control+Enter")
    page.thumbnails.first.wait_for()
    assert stub_gateway.requests[0]["prompt"] == STAR
    page.tab.get_by_role("button", name="Surprise me").click()
    expect(page.tab.get_by_label("Prompt", exact=True)).not_to_have_value(STAR)


def test_another_model_has_its_own_size_and_no_examples(
    open_page: Callable[..., GatewayPage], stub_gateway: StubGateway
) -> None:
    stub_gateway.model = {"id": "stable-diffusion-v1-5"}
    page = open_page()
    size = page.tab.get_by_label("Size")
    expect(size.locator("option").first).to_have_text("Auto, 512 × 512")
    expect(page.tab.get_by_text("Surprise me")).to_be_hidden()


def test_on_a_phone(open_page: Callable[..., GatewayPage], stub_gateway: StubGateway) -> None:
    page = open_page(viewport=PHONE, has_touch=True, is_mobile=True)
    wide = "document.documentElement.scrollWidth - innerWidth"
    assert page.tab.evaluate(wide) <= 0
    stub_gateway.hold_at = 3
    stub_gateway.proceed.clear()
    page.generate(STAR)
    expect(page.status).to_have_text("Step 2 of 6")
    expect(page.tab.locator("#tiles")).to_be_in_viewport()
    expect(page.tab.get_by_role("button", name="Cancel")).to_be_in_viewport()
    stub_gateway.proceed.set()
    page.thumbnails.first.wait_for()
    page.tab.get_by_text("Settings").click()
    page.tab.get_by_label("Pictures", exact=True).fill("10")
    page.draw(STAR + ", of a most unreasonablylongwordwithoutanybreaks" * 3)
    assert page.tab.evaluate(wide) <= 0
    page.thumbnails.first.click()
    expect(page.tab.get_by_role("dialog", name="Picture")).to_be_in_viewport()
    assert page.tab.evaluate(wide) <= 0


def test_the_theme_follows_the_system_and_the_visitor(
    open_page: Callable[..., GatewayPage],
) -> None:
    page = open_page(color_scheme="dark")
    root = page.tab.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    page.tab.get_by_role("button", name="Dark theme").click()
    page.tab.reload()
    expect(root).to_have_attribute("data-theme", "light")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(
    open_page: Callable[..., GatewayPage], stub_gateway: StubGateway, theme: str
) -> None:
    page = open_page(color_scheme=theme, reduced_motion="reduce")
    page.tab.get_by_text("Surprise me").wait_for()
    assert violations(page.tab) == []
    stub_gateway.hold_at = 3
    stub_gateway.proceed.clear()
    page.tab.get_by_label("Pictures", exact=True).fill("2")
    page.generate(STAR)
    expect(page.status).to_have_text("Step 2 of 6")
    assert violations(page.tab) == []
    stub_gateway.proceed.set()
    page.thumbnails.first.wait_for()
    assert violations(page.tab) == []
    page.thumbnails.first.click()
    page.tab.get_by_role("dialog", name="Picture").wait_for()
    assert violations(page.tab) == []
    page.tab.get_by_role("button", name="Vary").click()
    expect(page.thumbnails).to_have_count(3)
    assert violations(page.tab) == []
    stub_gateway.job_error = {"message": "no replica is there", "code": "unavailable"}
    page.generate(STAR)
    page.tab.get_by_role("button", name="Try again").wait_for()
    assert violations(page.tab) == []
