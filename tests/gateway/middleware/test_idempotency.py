"""`Idempotency-Key`: a retry draws nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx
import pytest

from tests.support.fake_triton_server import FakeTriton, TritonError
from tests.support.gateways import RunningGateway
from tests.support.pictures import CIRCLE, encoded
from tests.support.waiting import wait_until


def post(gateway: RunningGateway, key: str = "one", **body: Any) -> httpx.Response:
    return gateway.http.post(
        "/v1/images/generations", json={"prompt": "a", **body}, headers={"Idempotency-Key": key}
    )


@pytest.mark.parametrize("stream", [False, True])
def test_a_retry_gets_the_first_answer(
    gateway: RunningGateway, fake_triton: FakeTriton, stream: bool
) -> None:
    first, again = (post(gateway, stream=stream, partial_images=2) for _ in range(2))
    assert first.content == again.content
    assert first.headers["content-type"] == again.headers["content-type"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(fake_triton.requests) == 1
    assert post(gateway, "another").content != first.content


def test_while_the_first_still_runs(
    start_gateway: Callable[..., RunningGateway], fake_triton: FakeTriton
) -> None:
    """Also at another gateway."""
    gateways = [start_gateway(), start_gateway()]
    fake_triton.proceed.clear()
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(post, gateway) for gateway in gateways * 2]
        assert wait_until(lambda: fake_triton.requests)
        fake_triton.proceed.set()
        assert len({answer.result().content for answer in answers}) == 1
    assert len(fake_triton.requests) == 1


def test_another_body_with_the_same_key_is_refused(
    gateway: RunningGateway, fake_triton: FakeTriton
) -> None:
    post(gateway)
    refused = post(gateway, n=2)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert len(fake_triton.requests) == 1


def test_forms_are_compared_without_their_boundary(
    gateway: RunningGateway, fake_triton: FakeTriton
) -> None:
    answers = [
        gateway.http.post(
            "/v1/images/edits",
            files={"image": encoded(CIRCLE)},
            data={"prompt": "a"},
            headers={"Idempotency-Key": "one"},
        )
        for _ in range(2)
    ]
    assert answers[0].status_code == 200, answers[0].text
    assert answers[0].content == answers[1].content
    assert len(fake_triton.requests) == 1


def test_a_server_error_is_not_kept(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    fake_triton.errors = [TritonError("INTERNAL", "unet failed")]
    assert [post(gateway).status_code for _ in range(2)] == [500, 200]


def test_a_client_error_is_kept(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    fake_triton.errors = [TritonError("INVALID_ARGUMENT", "steps: got 0")]
    assert [post(gateway).status_code for _ in range(2)] == [400, 400]
    assert len(fake_triton.requests) == 1


def test_a_job_is_submitted_once(gateway: RunningGateway) -> None:
    headers = {"Idempotency-Key": "one"}
    jobs = [gateway.http.post("/v1/jobs", json={"prompt": "a"}, headers=headers) for _ in range(2)]
    assert [job.status_code for job in jobs] == [202, 202]
    assert jobs[0].json()["id"] == jobs[1].json()["id"]


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_of_the_wrong_length(gateway: RunningGateway, key: str) -> None:
    assert post(gateway, key).status_code == 400
