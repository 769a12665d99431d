"""The page on a real gateway, in front of a fake Triton."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import GatewayPage, expect
from tests.support.fake_triton_server import FakeTriton, TritonError
from tests.support.gateways import running_gateway
from tests.support.pictures import CIRCLE, encoded


@pytest.fixture
def page(browser: Any, fake_triton: FakeTriton, tmp_path: Path) -> Iterator[GatewayPage]:
    with running_gateway(fake_triton, tmp_path, model="models/miniature-sd") as gateway:
        page = GatewayPage(browser, f"{gateway.url}/")
        yield page
        page.close()
        assert page.console_errors == []


def test_several_pictures_are_drawn(page: GatewayPage, fake_triton: FakeTriton) -> None:
    expect(page.tab.get_by_text("Surprise me")).to_be_visible()
    page.tab.get_by_label("Pictures", exact=True).fill("2")
    page.tab.get_by_label("Seed", exact=True).fill("7")
    page.draw("a red circle")
    expect(page.thumbnails).to_have_count(2)
    assert fake_triton.requests[-1].inputs["seed"].values == [7, 8]


def test_it_is_watched_and_resumed(page: GatewayPage, fake_triton: FakeTriton) -> None:
    fake_triton.hold_at = 3
    fake_triton.proceed.clear()
    page.generate("a red circle")
    expect(page.status).to_have_text("Step 2 of 4")
    assert page.preview is not None
    page.tab.reload()
    expect(page.status).to_have_text("Step 2 of 4")
    fake_triton.proceed.set()
    expect(page.thumbnails).to_have_count(1)


def test_it_is_cancelled(page: GatewayPage, fake_triton: FakeTriton) -> None:
    fake_triton.hold_at = 3
    fake_triton.proceed.clear()
    page.generate("a red circle")
    expect(page.status).to_have_text("Step 2 of 4")
    page.tab.keyboard.press("Escape")
    expect(page.tab.get_by_role("button", name="Generate")).to_be_enabled()
    fake_triton.proceed.set()
    page.draw("a blue circle")


def test_from_a_picture(page: GatewayPage, fake_triton: FakeTriton, tmp_path: Path) -> None:
    path = tmp_path / "circle.png"
    path.write_bytes(encoded(CIRCLE))
    page.choose_file("Choose one", path)
    page.draw("a red circle")
    seen = fake_triton.requests[-1].inputs
    assert seen["init_image"].values == [path.read_bytes()]
    assert seen["strength"].values == [pytest.approx(0.6)]


def test_tritons_error_message_is_shown(page: GatewayPage, fake_triton: FakeTriton) -> None:
    fake_triton.errors = [TritonError("INVALID_ARGUMENT", "steps: got 99, expected 1 to 50")]
    page.generate("a red circle")
    expect(page.drawing).to_contain_text("Steps: got 99, expected 1 to 50.")
    page.press("Try again")
    expect(page.thumbnails).to_have_count(1)


def test_the_page_obeys_the_content_security_policy(page: GatewayPage) -> None:
    """Whatever would break it is a complaint of the console."""
    answer = page.tab.reload()
    assert "default-src 'self'" in answer.headers["content-security-policy"]
