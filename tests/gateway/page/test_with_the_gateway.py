"""The page on the gateway itself, in front of a stand-in for Triton."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Visit, expect
from tests.support.fake_triton_server import FakeTriton, Refusal
from tests.support.gateways import opened
from tests.support.pictures import CIRCLE, encoded


@pytest.fixture
def visit(browser: Any, drawing: FakeTriton, tmp_path: Path) -> Iterator[Visit]:
    with opened(drawing, tmp_path, model="models/miniature-sd") as front:
        visit = Visit(browser, f"{front.url}/")
        yield visit
        visit.leave()
        assert visit.complaints == []


def test_several_pictures_are_drawn(visit: Visit, drawing: FakeTriton) -> None:
    expect(visit.page.get_by_text("Surprise me")).to_be_visible()
    visit.page.get_by_label("Pictures", exact=True).fill("2")
    visit.page.get_by_label("Seed", exact=True).fill("7")
    visit.draw("a red circle")
    expect(visit.thumbnails).to_have_count(2)
    assert drawing.seen[-1].inputs["seed"].values == [7, 8]


def test_it_is_watched_and_resumed(visit: Visit, drawing: FakeTriton) -> None:
    drawing.hold_at = 3
    drawing.go_on.clear()
    visit.generate("a red circle")
    expect(visit.state).to_have_text("Step 2 of 4")
    assert visit.preview is not None
    visit.page.reload()
    expect(visit.state).to_have_text("Step 2 of 4")
    drawing.go_on.set()
    expect(visit.thumbnails).to_have_count(1)


def test_it_is_cancelled(visit: Visit, drawing: FakeTriton) -> None:
    drawing.hold_at = 3
    drawing.go_on.clear()
    visit.generate("a red circle")
    expect(visit.state).to_have_text("Step 2 of 4")
    visit.page.keyboard.press("Escape")
    expect(visit.page.get_by_role("button", name="Generate")).to_be_enabled()
    drawing.go_on.set()
    visit.draw("a blue circle")


def test_from_a_picture(visit: Visit, drawing: FakeTriton, tmp_path: Path) -> None:
    path = tmp_path / "circle.png"
    path.write_bytes(encoded(CIRCLE))
    visit.give("Choose one", path)
    visit.draw("a red circle")
    seen = drawing.seen[-1].inputs
    assert seen["init_image"].values == [path.read_bytes()]
    assert seen["strength"].values == [pytest.approx(0.6)]


def test_what_triton_refuses_is_told_in_its_words(visit: Visit, drawing: FakeTriton) -> None:
    drawing.refusals = [Refusal("INVALID_ARGUMENT", "steps: got 99, expected 1 to 50")]
    visit.generate("a red circle")
    expect(visit.stage).to_contain_text("Steps: got 99, expected 1 to 50.")
    visit.press("Try again")
    expect(visit.thumbnails).to_have_count(1)


def test_the_page_keeps_to_the_policy(visit: Visit) -> None:
    """Whatever would break it is a complaint of the console."""
    answer = visit.page.reload()
    assert "default-src 'self'" in answer.headers["content-security-policy"]
