"""How the page looks to whom: other models, phones, themes, and those who cannot see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.browser import PHONE, Visit, expect
from tests.support.stub_gateway import StubGateway

STAR = "a large yellow star on a black background"


def violations(page: Any) -> list[str]:
    """What axe finds, in a line each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]


def test_the_miniature_says_what_it_can_draw(visit: Visit, gateway: StubGateway) -> None:
    visit.page.get_by_role("button", name=STAR).click()
    visit.page.keyboard.press("Control+Enter")
    visit.thumbnails.first.wait_for()
    assert gateway.wishes[0]["prompt"] == STAR
    visit.page.get_by_role("button", name="Surprise me").click()
    expect(visit.page.get_by_label("Prompt", exact=True)).not_to_have_value(STAR)


def test_another_model_has_its_own_size_and_no_shapes(
    arrive: Callable[..., Visit], gateway: StubGateway
) -> None:
    gateway.model = {"id": "stable-diffusion-v1-5"}
    visit = arrive()
    size = visit.page.get_by_label("Size")
    expect(size.locator("option").first).to_have_text("Auto, 512 × 512")
    expect(visit.page.get_by_text("Surprise me")).to_be_hidden()


def test_on_a_phone(arrive: Callable[..., Visit], gateway: StubGateway) -> None:
    visit = arrive(viewport=PHONE, has_touch=True, is_mobile=True)
    wide = "document.documentElement.scrollWidth - innerWidth"
    assert visit.page.evaluate(wide) <= 0
    gateway.hold_at = 3
    gateway.go_on.clear()
    visit.generate(STAR)
    expect(visit.state).to_have_text("Step 2 of 6")
    expect(visit.page.locator("#tiles")).to_be_in_viewport()
    expect(visit.page.get_by_role("button", name="Cancel")).to_be_in_viewport()
    gateway.go_on.set()
    visit.thumbnails.first.wait_for()
    visit.page.get_by_text("Settings").click()
    visit.page.get_by_label("Pictures", exact=True).fill("10")
    visit.draw(STAR + ", of a most unreasonablylongwordwithoutanybreaks" * 3)
    assert visit.page.evaluate(wide) <= 0
    visit.thumbnails.first.click()
    expect(visit.page.get_by_role("dialog", name="Picture")).to_be_in_viewport()
    assert visit.page.evaluate(wide) <= 0


def test_the_theme_follows_the_system_and_the_visitor(arrive: Callable[..., Visit]) -> None:
    visit = arrive(color_scheme="dark")
    root = visit.page.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    visit.page.get_by_role("button", name="Dark theme").click()
    visit.page.reload()
    expect(root).to_have_attribute("data-theme", "light")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(arrive: Callable[..., Visit], gateway: StubGateway, theme: str) -> None:
    visit = arrive(color_scheme=theme, reduced_motion="reduce")
    visit.page.get_by_text("Surprise me").wait_for()
    assert violations(visit.page) == []
    gateway.hold_at = 3
    gateway.go_on.clear()
    visit.page.get_by_label("Pictures", exact=True).fill("2")
    visit.generate(STAR)
    expect(visit.state).to_have_text("Step 2 of 6")
    assert violations(visit.page) == []
    gateway.go_on.set()
    visit.thumbnails.first.wait_for()
    assert violations(visit.page) == []
    visit.thumbnails.first.click()
    visit.page.get_by_role("dialog", name="Picture").wait_for()
    assert violations(visit.page) == []
    visit.page.get_by_role("button", name="Vary").click()
    expect(visit.thumbnails).to_have_count(3)
    assert violations(visit.page) == []
    gateway.failure = {"message": "no replica is there", "code": "unavailable"}
    visit.generate(STAR)
    visit.page.get_by_role("button", name="Try again").wait_for()
    assert violations(visit.page) == []
