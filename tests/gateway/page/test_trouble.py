"""What the page says and does when the gateway is busy, gone, or wants a key."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.browser import Visit, expect
from tests.support.stub_gateway import StubGateway, refusal

STAR = "a large yellow star on a black background"


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
