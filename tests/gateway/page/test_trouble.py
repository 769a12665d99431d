"""The page when the gateway is busy, unreachable or needs a key."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.browser import GatewayPage, expect
from tests.support.stub_gateway import StubGateway, error_response

STAR = "a large yellow star on a black background"


@pytest.mark.parametrize("status", [429, 503])
def test_an_overloaded_server_is_retried(
    page: GatewayPage, stub_gateway: StubGateway, status: int
) -> None:
    stub_gateway.error_responses = [error_response(status, "too much in flight")]
    page.generate(STAR)
    expect(page.status).to_contain_text("Trying again in 1 s.")
    expect(page.thumbnails).to_have_count(1)
    assert len(stub_gateway.idempotency_keys) == 2
    assert len(set(stub_gateway.idempotency_keys)) == 1


def test_waiting_for_a_retry_can_be_cancelled(page: GatewayPage, stub_gateway: StubGateway) -> None:
    stub_gateway.error_responses = [error_response(503, "too much in flight", after=60)]
    page.generate(STAR)
    expect(page.status).to_contain_text("The server has its hands full right now.")
    page.tab.keyboard.press("Escape")
    expect(page.tab.get_by_role("button", name="Generate")).to_be_enabled()
    page.draw(STAR)
    assert len(stub_gateway.jobs) == 1


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
    page: GatewayPage, stub_gateway: StubGateway, error: dict[str, Any], told: str
) -> None:
    stub_gateway.job_error = error
    page.generate(STAR)
    expect(page.drawing).to_contain_text(told)
    stub_gateway.job_error = None
    page.press("Try again")
    expect(page.thumbnails).to_have_count(1)


def test_an_unreachable_server_is_retried(page: GatewayPage, stub_gateway: StubGateway) -> None:
    expect(page.tab.get_by_text("miniature-sd")).to_be_visible()
    stub_gateway.stop()
    page.generate(STAR)
    expect(page.status).to_contain_text("The server cannot be reached just now.")
    stub_gateway.start()
    expect(page.thumbnails).to_have_count(1)


def test_a_lost_event_stream_is_opened_again(page: GatewayPage, stub_gateway: StubGateway) -> None:
    stub_gateway.drop_stream_after = 1
    stub_gateway.hold_at = 3
    stub_gateway.proceed.clear()
    page.generate(STAR)
    expect(page.status).to_contain_text("Trying again")
    expect(page.status).to_have_text("Step 2 of 6")
    stub_gateway.proceed.set()
    expect(page.thumbnails).to_have_count(1)
    assert len(stub_gateway.jobs) == 1


def test_the_key_is_asked_for_once(page: GatewayPage, stub_gateway: StubGateway) -> None:
    stub_gateway.key = "sesame"
    page.tab.reload()
    dialog = page.tab.get_by_role("dialog", name="An API key, please")
    for key in ("wrong", "sesame"):
        dialog.get_by_label("API key").fill(key)
        dialog.get_by_role("button", name="Use it").click()
    expect(dialog).to_be_hidden()
    page.draw(STAR)
    page.tab.reload()
    expect(page.tab.locator("#model")).to_have_text("miniature-sd")
    page.draw(STAR)
    expect(dialog).to_be_hidden()
