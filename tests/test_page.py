"""The page in a real browser, against a stand-in for the gateway."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser import PHONE, Visit, chromium, expect
from tests.stub_gateway import StubGateway, drawing, refusal

STAR = "a large yellow star on a black background"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def gateway() -> Iterator[StubGateway]:
    stub = StubGateway()
    yield stub
    stub.stop()


@pytest.fixture
def arrive(browser: Any, gateway: StubGateway) -> Iterator[Callable[..., Visit]]:
    """Opens the page; at the end its console must have stayed empty."""
    visits: list[Visit] = []

    def open_page(**options: Any) -> Visit:
        visits.append(Visit(browser, gateway.url, **options))
        return visits[-1]

    yield open_page
    for visit in visits:
        visit.leave()
    assert [visit.complaints for visit in visits] == [[] for _ in visits]


@pytest.fixture
def visit(arrive: Callable[..., Visit]) -> Visit:
    return arrive()


def violations(page: Any) -> list[str]:
    """What axe finds, in a line each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]


def text_of(path: Path) -> str:
    return str(Image.open(path).text["parameters"])  # type: ignore[attr-defined]


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


def test_a_reload_resumes_the_drawing(visit: Visit, gateway: StubGateway) -> None:
    gateway.hold_at = 3
    gateway.go_on.clear()
    visit.generate(STAR)
    expect(visit.state).to_have_text("Step 2 of 6")
    visit.page.reload()
    expect(visit.state).to_have_text("Step 2 of 6")
    gateway.go_on.set()
    expect(visit.thumbnails).to_have_count(1)
    expect(visit.stage).to_contain_text(STAR)
    assert len(gateway.jobs) == 1
    visit.page.reload()
    expect(visit.thumbnails).to_have_count(1)


def test_a_drawing_that_expired_meanwhile(visit: Visit, gateway: StubGateway) -> None:
    gateway.hold_at = 3
    gateway.go_on.clear()
    visit.generate(STAR)
    expect(visit.state).to_have_text("Step 2 of 6")
    gateway.jobs.clear()
    visit.page.reload()
    expect(visit.stage).to_contain_text("This drawing is not kept any more.")


@pytest.mark.parametrize("status", [429, 503])
def test_an_overloaded_server_is_asked_again(
    visit: Visit, gateway: StubGateway, status: int
) -> None:
    gateway.refusals = [refusal(status, "too much in flight")]
    visit.generate(STAR)
    expect(visit.state).to_contain_text("Trying again in 1 s.")
    expect(visit.thumbnails).to_have_count(1)
    assert len(gateway.idempotency_keys) == 2
    assert len(set(gateway.idempotency_keys)) == 1


def test_who_waits_for_an_overloaded_server_can_leave(visit: Visit, gateway: StubGateway) -> None:
    gateway.refusals = [refusal(503, "too much in flight", after=60)]
    visit.generate(STAR)
    expect(visit.state).to_contain_text("The server has its hands full right now.")
    visit.page.keyboard.press("Escape")
    expect(visit.page.get_by_role("button", name="Generate")).to_be_enabled()
    visit.draw(STAR)
    assert len(gateway.jobs) == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ({"message": "no replica is there", "code": "unavailable"}, "hands full"),
        ({"message": "deadline", "type": "timeout_error"}, "took too long"),
        ({"message": "steps must be below 9", "type": "invalid_request_error"}, "Steps must be"),
        ({"message": "a bug", "type": "server_error"}, "stumbled"),
    ],
)
def test_a_drawing_that_fails(
    visit: Visit, gateway: StubGateway, error: dict[str, Any], told: str
) -> None:
    gateway.failure = error
    visit.generate(STAR)
    expect(visit.stage).to_contain_text(told)
    gateway.failure = None
    visit.press("Try again")
    expect(visit.thumbnails).to_have_count(1)


def test_a_dead_server_is_waited_for(visit: Visit, gateway: StubGateway) -> None:
    expect(visit.page.get_by_text("miniature-sd")).to_be_visible()
    gateway.stop()
    visit.generate(STAR)
    expect(visit.state).to_contain_text("The server cannot be reached just now.")
    gateway.start()
    expect(visit.thumbnails).to_have_count(1)


def test_a_lost_connection_is_taken_up_again(visit: Visit, gateway: StubGateway) -> None:
    gateway.streams_end_after = 1
    gateway.hold_at = 3
    gateway.go_on.clear()
    visit.generate(STAR)
    expect(visit.state).to_contain_text("Trying again")
    expect(visit.state).to_have_text("Step 2 of 6")
    gateway.go_on.set()
    expect(visit.thumbnails).to_have_count(1)
    assert len(gateway.jobs) == 1


def test_a_key_is_asked_for_once(visit: Visit, gateway: StubGateway) -> None:
    gateway.key = "sesame"
    visit.page.reload()
    dialog = visit.page.get_by_role("dialog", name="An API key, please")
    for key in ("wrong", "sesame"):
        dialog.get_by_label("API key").fill(key)
        dialog.get_by_role("button", name="Use it").click()
    expect(dialog).to_be_hidden()
    visit.draw(STAR)
    visit.page.reload()
    expect(visit.page.locator("#model")).to_have_text("miniature-sd")
    visit.draw(STAR)
    expect(dialog).to_be_hidden()


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
