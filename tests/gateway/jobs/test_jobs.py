"""Jobs: submitted, watched, fetched, cancelled; and taken over from a gateway that died."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.jobs.jobs import Job
from tests.support.fake_triton_server import FakeTriton, TritonError, png_of_seed
from tests.support.gateways import RunningGateway, parse_events, settings_for
from tests.support.paths import ROOT
from tests.support.pictures import CIRCLE, encoded
from tests.support.waiting import wait_until


def submit(gateway: RunningGateway, **given: Any) -> dict[str, Any]:
    answer = gateway.http.post("/v1/jobs", json={"prompt": "a star", "seed": 7, **given})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    assert answer.headers["location"].endswith(f"/v1/jobs/{job['id']}")
    return job


def test_a_job_from_end_to_end(gateway: RunningGateway) -> None:
    job = submit(gateway, n=2, output_format="webp", steps=4)
    done = gateway.wait_for_job(job["id"])
    assert (done["step"], done["steps"], done["position"], done["error"]) == (4, 4, None, None)
    assert [(picture["seed"], picture["index"]) for picture in done["data"]] == [(7, 0), (8, 1)]
    files = [gateway.http.get(picture["url"]) for picture in done["data"]]
    assert [file.headers["content-type"] for file in files] == ["image/webp"] * 2
    assert gateway.http.get(f"/v1/jobs/{job['id']}/images/2").status_code == 404
    assert done["expires_at"] > done["created_at"]


def test_queued_jobs_have_a_position(start_gateway: Callable[..., RunningGateway]) -> None:
    gateway = start_gateway(jobs_at_once=0)
    jobs = [submit(gateway, priority=priority) for priority in (5, 5, 1)]
    states = [gateway.http.get(f"/v1/jobs/{job['id']}").json() for job in jobs]
    assert [(state["status"], state["position"]) for state in states] == [
        ("queued", 2),
        ("queued", 3),
        ("queued", 1),
    ]
    gateway.http.delete(f"/v1/jobs/{jobs[2]['id']}")
    assert gateway.http.get(f"/v1/jobs/{jobs[1]['id']}").json()["position"] == 2


def test_the_queue_is_bounded(start_gateway: Callable[..., RunningGateway]) -> None:
    gateway = start_gateway(jobs_at_once=0, max_jobs=2)
    for _ in range(2):
        submit(gateway)
    answer = gateway.http.post("/v1/jobs", json={"prompt": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_full")
    assert answer.headers["retry-after"]


def test_events_until_the_end(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    fake_triton.hold_at = 3
    fake_triton.proceed.clear()
    job = submit(gateway, steps=4, previews=True)
    seen: list[str] = []
    with gateway.http.stream("GET", f"/v1/jobs/{job['id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for text in stream.iter_text():
            seen.append(text)
            if '"step":2' in text:
                fake_triton.proceed.set()
    told = parse_events("".join(seen))
    assert {name for name, _ in told} == {"job"}
    steps = [state["step"] for _, state in told]
    assert steps == sorted(steps)
    previews = [base64.b64decode(state["preview"]) for _, state in told if "preview" in state]
    assert png_of_seed(7 + 2) in previews
    assert png_of_seed(7) not in previews
    assert told[-1][1]["status"] == "completed"
    again = parse_events(gateway.http.get(f"/v1/jobs/{job['id']}/events").text)
    assert [state["status"] for _, state in again] == ["completed"]


def test_events_without_previews(gateway: RunningGateway) -> None:
    job = submit(gateway, steps=8)
    told = parse_events(gateway.http.get(f"/v1/jobs/{job['id']}/events").text)
    assert not any("preview" in state for _, state in told)


def test_cancelled_while_it_runs(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    fake_triton.proceed.clear()
    job = submit(gateway)
    assert wait_until(lambda: fake_triton.requests)
    answer = gateway.http.delete(f"/v1/jobs/{job['id']}").json()
    assert answer["status"] == "cancelled"
    assert wait_until(lambda: fake_triton.cancelled_ids == [fake_triton.requests[0].id])
    fake_triton.proceed.set()
    time.sleep(0.2)
    assert gateway.http.get(f"/v1/jobs/{job['id']}").json()["status"] == "cancelled"
    assert gateway.http.delete(f"/v1/jobs/{job['id']}").json()["status"] == "cancelled"


def test_a_completed_job_is_not_cancelled(gateway: RunningGateway) -> None:
    job = submit(gateway)
    gateway.wait_for_job(job["id"])
    assert gateway.http.delete(f"/v1/jobs/{job['id']}").json()["status"] == "completed"


def test_a_failed_job_has_the_error(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    fake_triton.errors = [TritonError("INVALID_ARGUMENT", "steps: got 0, expected 1 to 150")]
    failed = gateway.wait_for_job(submit(gateway)["id"], "failed")
    assert failed["error"]["message"] == "steps: got 0, expected 1 to 150"
    assert failed["error"]["param"] == "steps"


def test_a_job_is_retried_until_triton_is_back(
    gateway: RunningGateway, fake_triton: FakeTriton
) -> None:
    fake_triton.errors = [TritonError("UNAVAILABLE", "too much")]
    assert gateway.wait_for_job(submit(gateway)["id"])["data"]
    assert len(fake_triton.requests) == 2


def test_from_a_picture(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    sketch = encoded(CIRCLE)
    for prefix in ("", "data:image/png;base64,"):
        image = prefix + base64.b64encode(sketch).decode()
        gateway.wait_for_job(submit(gateway, image=image, strength=0.5)["id"])
    assert fake_triton.requests[0].inputs["init_image"].values == [sketch]
    refused = gateway.http.post("/v1/jobs", json={"prompt": "a", "image": "@"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "image")


def test_a_job_expires(start_gateway: Callable[..., RunningGateway]) -> None:
    gateway = start_gateway(results_seconds=1)
    job = submit(gateway)
    assert wait_until(lambda: gateway.http.get(f"/v1/jobs/{job['id']}").status_code == 404)
    assert gateway.http.get(f"/v1/jobs/{job['id']}/images/0").status_code == 404


def test_gateways_share_jobs(start_gateway: Callable[..., RunningGateway]) -> None:
    first, second = start_gateway(), start_gateway(jobs_at_once=0)
    done = second.wait_for_job(submit(second)["id"])
    assert second.http.get(f"/v1/jobs/{done['id']}/images/0").content == png_of_seed(7)
    other = start_gateway(model="another/model", jobs_at_once=1)
    waiting = submit(start_gateway(model="miniature", jobs_at_once=0))
    assert first.wait_for_job(waiting["id"])["data"]
    assert other.http.get("/v1/jobs/none").status_code == 404


@pytest.mark.timeout(60)
def test_a_job_outlives_its_gateway(
    start_gateway: Callable[..., RunningGateway], fake_triton: FakeTriton, tmp_path: Path
) -> None:
    """Another gateway draws the job of a killed one again, with the seed of its submission."""
    settings = settings_for(fake_triton, tmp_path)
    environment = {
        **os.environ,
        "GATEWAY_PORT": "0",
        "TRITON_GRPC": fake_triton.url,
        "MODEL": settings.model,
        "STORE": settings.store,
        "LEASE_SECONDS": "1",
    }
    doomed = subprocess.Popen([sys.executable, "-m", "gateway"], cwd=ROOT, env=environment)
    fake_triton.proceed.clear()
    gateway = start_gateway(jobs_at_once=0)
    answer = gateway.http.post("/v1/jobs", json={"prompt": "a star"})
    assert wait_until(lambda: fake_triton.requests, 30)
    doomed.send_signal(signal.SIGKILL)
    doomed.wait(10)
    fake_triton.proceed.set()
    successor = start_gateway(lease_seconds=1)
    done = successor.wait_for_job(answer.json()["id"])
    seeds = [request.inputs["seed"].values for request in fake_triton.requests]
    assert seeds == [[done["data"][0]["seed"]]] * 2


def test_a_job_that_waits_since_before_an_upgrade_is_read() -> None:
    request = '{"init_image": null, "n": 2, "options": {"steps": 4}, "prompt": "a star", "seed": 7, "seeded": true, "strength": null}'  # noqa: E501
    record = {"id": "a", "owner": "b", "created_at": 1.0, "previews": True, "format": ["png", None]}
    job = Job.from_json(json.dumps({**record, "wish": request}).encode())
    assert (job.request.prompt, job.request.n, job.request.options) == ("a star", 2, {"steps": 4})
    assert Job.from_json(job.as_json()) == job
