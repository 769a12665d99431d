"""Pictures on the page: what they are begun at, read from, and kept as."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from tests.support.browser import Visit, expect
from tests.support.stub_gateway import StubGateway, drawing

STAR = "a large yellow star on a black background"


def text_of(path: Path) -> str:
    return str(Image.open(path).text["parameters"])  # type: ignore[attr-defined]


def test_from_a_picture(visit: Visit, gateway: StubGateway, tmp_path: Path) -> None:
    path = tmp_path / "mine.png"
    path.write_bytes(drawing({"prompt": "a green circle"}, 1))
    visit.give("Choose one", path)
    visit.page.get_by_label("Strength", exact=True).fill("0.4")
    visit.draw(STAR)
    wish = gateway.wishes[0]
    assert wish["strength"] == 0.4
    assert base64.b64decode(wish["image"]) == path.read_bytes()
    visit.page.get_by_role("button", name="Remove").click()
    visit.draw(STAR)
    assert "image" not in gateway.wishes[1]
    assert "strength" not in gateway.wishes[1]


def test_what_is_no_picture_cannot_be_begun_at(visit: Visit, tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(b"no picture")
    visit.give("Choose one", path)
    expect(visit.page.get_by_role("status").get_by_text("damaged")).to_be_visible()


def test_a_large_photo_is_made_smaller_before_it_travels(
    visit: Visit, gateway: StubGateway, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    Image.effect_noise((3000, 1500), 90).save(path)
    visit.give("Choose one", path)
    visit.draw(STAR)
    sent = base64.b64decode(gateway.wishes[0]["image"])
    assert Image.open(io.BytesIO(sent)).size == (1536, 768)


def test_a_picture_that_still_opens_is_waited_for(
    visit: Visit, gateway: StubGateway, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    Image.effect_noise((64, 64), 90).save(path)
    visit.page.evaluate(
        """() => {
          const open = window.createImageBitmap;
          const late = new Promise((resolve) => setTimeout(resolve, 500));
          window.createImageBitmap = async (file) => { await late; return open(file); };
        }"""
    )
    visit.give("Choose one", path)
    visit.draw(STAR)
    assert base64.b64decode(gateway.wishes[0]["image"]) == path.read_bytes()


def test_parameters_are_read_back_from_a_picture(visit: Visit, gateway: StubGateway) -> None:
    wish = {
        "prompt": "a red heart, été 🎈\nin two lines",
        "negative_prompt": "green, blue: both",
        "size": "192x96",
        "steps": 9,
        "guidance_scale": 2.5,
        "scheduler": "pndm",
    }
    visit.drop(drawing(wish, 42), "Read its parameters")
    visit.page.get_by_text("Its parameters are in the form.").wait_for()
    visit.page.keyboard.press("Control+Enter")
    visit.thumbnails.first.wait_for()
    assert gateway.wishes == [{**wish, "seed": 42, "n": 1, "previews": True}]


def test_a_dropped_picture_is_begun_at(visit: Visit, gateway: StubGateway) -> None:
    file = drawing({"prompt": "a red heart"}, 42)
    visit.drop(file, "Begin at this picture")
    visit.page.get_by_alt_text("The picture to begin at").wait_for()
    visit.draw(STAR)
    assert base64.b64decode(gateway.wishes[0]["image"]) == file


def test_use_again_vary_and_the_next_seed(visit: Visit, gateway: StubGateway) -> None:
    visit.page.get_by_label("Seed", exact=True).fill("7")
    visit.draw(STAR)
    visit.ask("another")
    visit.press("Use again")
    expect(visit.page.get_by_label("Prompt", exact=True)).to_have_value(STAR)
    expect(visit.page.get_by_label("Steps", exact=True)).to_have_value("12")
    visit.press("Next seed")
    expect(visit.thumbnails).to_have_count(2)
    assert gateway.wishes[1]["seed"] == 8
    _, file = gateway.jobs["job-1"].pictures[0]
    visit.press("Vary")
    expect(visit.thumbnails).to_have_count(3)
    assert base64.b64decode(gateway.wishes[2]["image"]) == file
    assert "seed" not in gateway.wishes[2]


def test_a_download_has_its_parameters(visit: Visit, gateway: StubGateway, tmp_path: Path) -> None:
    visit.page.get_by_label("Seed", exact=True).fill("7")
    visit.draw(STAR)
    with visit.page.expect_download() as download:
        visit.stage.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "large-yellow-star-black-background-7.png"
    download.value.save_as(tmp_path / "it.png")
    assert (tmp_path / "it.png").read_bytes() == gateway.jobs["job-0"].pictures[0][1]
    assert "Seed: 7" in text_of(tmp_path / "it.png")


def test_what_is_deleted_can_be_brought_back(visit: Visit) -> None:
    visit.draw(STAR)
    visit.draw("a red heart")
    visit.press("Delete")
    expect(visit.thumbnails).to_have_count(1)
    expect(visit.stage).to_contain_text(STAR)
    visit.page.get_by_role("button", name="Undo").click()
    expect(visit.thumbnails).to_have_count(2)
    visit.page.get_by_role("button", name="Delete all").click()
    expect(visit.thumbnails).to_have_count(0)
    visit.page.reload()
    expect(visit.page.get_by_text("Say what you would like to see.")).to_be_visible()


def test_a_reload_keeps_the_gallery_and_what_was_typed(visit: Visit) -> None:
    visit.draw(STAR)
    visit.ask("a red hea")
    visit.page.reload()
    expect(visit.thumbnails).to_have_count(1)
    expect(visit.stage).to_contain_text(STAR)
    expect(visit.page.get_by_label("Prompt", exact=True)).to_have_value("a red hea")


def hold(visit: Visit, gateway: StubGateway) -> None:
    """Half way through a drawing."""
    gateway.hold_at = 3
    gateway.go_on.clear()
    visit.generate(STAR)
    expect(visit.state).to_have_text("Step 2 of 6")


def test_a_reload_resumes_the_drawing(visit: Visit, gateway: StubGateway) -> None:
    hold(visit, gateway)
    visit.page.reload()
    expect(visit.state).to_have_text("Step 2 of 6")
    gateway.go_on.set()
    expect(visit.thumbnails).to_have_count(1)
    expect(visit.stage).to_contain_text(STAR)
    assert len(gateway.jobs) == 1
    visit.page.reload()
    expect(visit.thumbnails).to_have_count(1)


def test_a_drawing_that_expired_meanwhile(visit: Visit, gateway: StubGateway) -> None:
    hold(visit, gateway)
    gateway.jobs.clear()
    visit.page.reload()
    expect(visit.stage).to_contain_text("This drawing is not kept any more.")
