"""Pictures on the page: source images, parameters in files, and the gallery."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from tests.support.browser import GatewayPage, expect
from tests.support.stub_gateway import StubGateway, draw_png

STAR = "a large yellow star on a black background"


def text_of(path: Path) -> str:
    return str(Image.open(path).text["parameters"])  # type: ignore[attr-defined]


def test_from_a_picture(page: GatewayPage, stub_gateway: StubGateway, tmp_path: Path) -> None:
    path = tmp_path / "mine.png"
    path.write_bytes(draw_png({"prompt": "a green circle"}, 1))
    page.choose_file("Choose one", path)
    page.tab.get_by_label("Strength", exact=True).fill("0.4")
    page.draw(STAR)
    request = stub_gateway.requests[0]
    assert request["strength"] == 0.4
    assert base64.b64decode(request["image"]) == path.read_bytes()
    page.tab.get_by_role("button", name="Remove").click()
    page.draw(STAR)
    assert "image" not in stub_gateway.requests[1]
    assert "strength" not in stub_gateway.requests[1]


def test_a_broken_source_image(page: GatewayPage, tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(b"no picture")
    page.choose_file("Choose one", path)
    expect(page.tab.get_by_role("status").get_by_text("damaged")).to_be_visible()


def test_a_large_photo_is_shrunk(
    page: GatewayPage, stub_gateway: StubGateway, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    Image.effect_noise((3000, 1500), 90).save(path)
    page.choose_file("Choose one", path)
    page.draw(STAR)
    sent = base64.b64decode(stub_gateway.requests[0]["image"])
    assert Image.open(io.BytesIO(sent)).size == (1536, 768)


def test_generate_waits_for_the_source_image(
    page: GatewayPage, stub_gateway: StubGateway, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    Image.effect_noise((64, 64), 90).save(path)
    page.tab.evaluate(
        """() => {
          const open = window.createImageBitmap;
          const late = new Promise((resolve) => setTimeout(resolve, 500));
          window.createImageBitmap = async (file) => { await late; return open(file); };
        }"""
    )
    page.choose_file("Choose one", path)
    page.draw(STAR)
    assert base64.b64decode(stub_gateway.requests[0]["image"]) == path.read_bytes()


def test_parameters_are_read_back_from_a_picture(
    page: GatewayPage, stub_gateway: StubGateway
) -> None:
    request = {
        "prompt": "a red heart, été 🎈\nin two lines",
        "negative_prompt": "green, blue: both",
        "size": "192x96",
        "steps": 9,
        "guidance_scale": 2.5,
        "scheduler": "pndm",
    }
    page.drop(draw_png(request, 42), "Read its parameters")
    page.tab.get_by_text("Its parameters are in the form.").wait_for()
    page.tab.keyboard.press("Control+Enter")
    page.thumbnails.first.wait_for()
    assert stub_gateway.requests == [{**request, "seed": 42, "n": 1, "previews": True}]


def test_a_dropped_source_image(page: GatewayPage, stub_gateway: StubGateway) -> None:
    file = draw_png({"prompt": "a red heart"}, 42)
    page.drop(file, "Begin at this picture")
    page.tab.get_by_alt_text("The picture to begin at").wait_for()
    page.draw(STAR)
    assert base64.b64decode(stub_gateway.requests[0]["image"]) == file


def test_use_again_vary_and_the_next_seed(page: GatewayPage, stub_gateway: StubGateway) -> None:
    page.tab.get_by_label("Seed", exact=True).fill("7")
    page.draw(STAR)
    page.type_prompt("another")
    page.press("Use again")
    expect(page.tab.get_by_label("Prompt", exact=True)).to_have_value(STAR)
    expect(page.tab.get_by_label("Steps", exact=True)).to_have_value("12")
    page.press("Next seed")
    expect(page.thumbnails).to_have_count(2)
    assert stub_gateway.requests[1]["seed"] == 8
    _, file = stub_gateway.jobs["job-1"].pictures[0]
    page.press("Vary")
    expect(page.thumbnails).to_have_count(3)
    assert base64.b64decode(stub_gateway.requests[2]["image"]) == file
    assert "seed" not in stub_gateway.requests[2]


def test_a_download_has_its_parameters(
    page: GatewayPage, stub_gateway: StubGateway, tmp_path: Path
) -> None:
    page.tab.get_by_label("Seed", exact=True).fill("7")
    page.draw(STAR)
    with page.tab.expect_download() as download:
        page.drawing.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "large-yellow-star-black-background-7.png"
    download.value.save_as(tmp_path / "it.png")
    assert (tmp_path / "it.png").read_bytes() == stub_gateway.jobs["job-0"].pictures[0][1]
    assert "Seed: 7" in text_of(tmp_path / "it.png")


def test_deletion_can_be_undone(page: GatewayPage) -> None:
    page.draw(STAR)
    page.draw("a red heart")
    page.press("Delete")
    expect(page.thumbnails).to_have_count(1)
    expect(page.drawing).to_contain_text(STAR)
    page.tab.get_by_role("button", name="Undo").click()
    expect(page.thumbnails).to_have_count(2)
    page.tab.get_by_role("button", name="Delete all").click()
    expect(page.thumbnails).to_have_count(0)
    page.tab.reload()
    expect(page.tab.get_by_text("Say what you would like to see.")).to_be_visible()


def test_a_reload_keeps_the_gallery_and_what_was_typed(page: GatewayPage) -> None:
    page.draw(STAR)
    page.type_prompt("a red hea")
    page.tab.reload()
    expect(page.thumbnails).to_have_count(1)
    expect(page.drawing).to_contain_text(STAR)
    expect(page.tab.get_by_label("Prompt", exact=True)).to_have_value("a red hea")


def start_and_hold(page: GatewayPage, stub_gateway: StubGateway) -> None:
    """Starts a drawing and stops it half way."""
    stub_gateway.hold_at = 3
    stub_gateway.proceed.clear()
    page.generate(STAR)
    expect(page.status).to_have_text("Step 2 of 6")


def test_a_reload_resumes_the_drawing(page: GatewayPage, stub_gateway: StubGateway) -> None:
    start_and_hold(page, stub_gateway)
    page.tab.reload()
    expect(page.status).to_have_text("Step 2 of 6")
    stub_gateway.proceed.set()
    expect(page.thumbnails).to_have_count(1)
    expect(page.drawing).to_contain_text(STAR)
    assert len(stub_gateway.jobs) == 1
    page.tab.reload()
    expect(page.thumbnails).to_have_count(1)


def test_a_drawing_that_expired_meanwhile(page: GatewayPage, stub_gateway: StubGateway) -> None:
    start_and_hold(page, stub_gateway)
    stub_gateway.jobs.clear()
    page.tab.reload()
    expect(page.drawing).to_contain_text("This drawing is not kept any more.")
