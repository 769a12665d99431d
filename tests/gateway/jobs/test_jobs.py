"""Jobs: submitted, watched, fetched, cancelled; and those of a gateway that is no more."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_triton_server import FakeTriton, Refusal, png_of
from tests.support.gateways import Front, events, settings_for
from tests.support.paths import ROOT
from tests.support.pictures import CIRCLE, encoded
from tests.support.waiting import wait_until


def submit(front: Front, **given: Any) -> dict[str, Any]:
    answer = front.http.post("/v1/jobs", json={"prompt": "a star", "seed": 7, **given})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    assert answer.headers["location"].endswith(f"/v1/jobs/{job['id']}")
    return job


def test_a_job_from_end_to_end(front: Front) -> None:
    job = submit(front, n=2, output_format="webp", steps=4)
    done = front.settled(job["id"])
    assert (done["step"], done["steps"], done["position"], done["error"]) == (4, 4, None, None)
    assert [(picture["seed"], picture["index"]) for picture in done["data"]] == [(7, 0), (8, 1)]
    files = [front.http.get(picture["url"]) for picture in done["data"]]
    assert [file.headers["content-type"] for file in files] == ["image/webp"] * 2
    assert front.http.get(f"/v1/jobs/{job['id']}/images/2").status_code == 404
    assert done["expires_at"] > done["created_at"]


def test_a_job_that_nobody_works_on_waits(open_front: Callable[..., Front]) -> None:
    front = open_front(jobs_at_once=0)
    jobs = [submit(front, priority=priority) for priority in (5, 5, 1)]
    states = [front.http.get(f"/v1/jobs/{job['id']}").json() for job in jobs]
    assert [(state["status"], state["position"]) for state in states] == [
        ("queued", 2),
        ("queued", 3),
        ("queued", 1),
    ]
    front.http.delete(f"/v1/jobs/{jobs[2]['id']}")
    assert front.http.get(f"/v1/jobs/{jobs[1]['id']}").json()["position"] == 2


def test_only_so_many_may_wait(open_front: Callable[..., Front]) -> None:
    front = open_front(jobs_at_once=0, max_jobs=2)
    for _ in range(2):
        submit(front)
    answer = front.http.post("/v1/jobs", json={"prompt": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_full")
    assert answer.headers["retry-after"]


def test_watched_to_its_end(front: Front, drawing: FakeTriton) -> None:
    drawing.hold_at = 3
    drawing.go_on.clear()
    job = submit(front, steps=4, previews=True)
    seen: list[str] = []
    with front.http.stream("GET", f"/v1/jobs/{job['id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for text in stream.iter_text():
            seen.append(text)
            if '"step":2' in text:
                drawing.go_on.set()
    told = events("".join(seen))
    assert {name for name, _ in told} == {"job"}
    steps = [state["step"] for _, state in told]
    assert steps == sorted(steps)
    previews = [base64.b64decode(state["preview"]) for _, state in told if "preview" in state]
    assert png_of(7 + 2) in previews
    assert png_of(7) not in previews
    assert told[-1][1]["status"] == "completed"
    again = events(front.http.get(f"/v1/jobs/{job['id']}/events").text)
    assert [state["status"] for _, state in again] == ["completed"]


def test_without_previews_only_steps_are_told(front: Front) -> None:
    job = submit(front, steps=8)
    told = events(front.http.get(f"/v1/jobs/{job['id']}/events").text)
    assert not any("preview" in state for _, state in told)


def test_cancelled_while_it_runs(front: Front, drawing: FakeTriton) -> None:
    drawing.go_on.clear()
    job = submit(front)
    assert wait_until(lambda: drawing.seen)
    answer = front.http.delete(f"/v1/jobs/{job['id']}").json()
    assert answer["status"] == "cancelled"
    assert wait_until(lambda: drawing.cancelled == [drawing.seen[0].id])
    drawing.go_on.set()
    time.sleep(0.2)
    assert front.http.get(f"/v1/jobs/{job['id']}").json()["status"] == "cancelled"
    assert front.http.delete(f"/v1/jobs/{job['id']}").json()["status"] == "cancelled"


def test_what_is_done_is_not_cancelled(front: Front) -> None:
    job = submit(front)
    front.settled(job["id"])
    assert front.http.delete(f"/v1/jobs/{job['id']}").json()["status"] == "completed"


def test_a_failure_is_told(front: Front, drawing: FakeTriton) -> None:
    drawing.refusals = [Refusal("INVALID_ARGUMENT", "steps: got 0, expected 1 to 150")]
    failed = front.settled(submit(front)["id"], "failed")
    assert failed["error"]["message"] == "steps: got 0, expected 1 to 150"
    assert failed["error"]["param"] == "steps"


def test_a_triton_that_comes_back_is_waited_for(front: Front, drawing: FakeTriton) -> None:
    drawing.refusals = [Refusal("UNAVAILABLE", "too much")]
    assert front.settled(submit(front)["id"])["data"]
    assert len(drawing.seen) == 2


def test_from_a_picture(front: Front, drawing: FakeTriton) -> None:
    sketch = encoded(CIRCLE)
    for prefix in ("", "data:image/png;base64,"):
        image = prefix + base64.b64encode(sketch).decode()
        front.settled(submit(front, image=image, strength=0.5)["id"])
    assert drawing.seen[0].inputs["init_image"].values == [sketch]
    refused = front.http.post("/v1/jobs", json={"prompt": "a", "image": "@"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "image")


def test_a_job_expires(open_front: Callable[..., Front]) -> None:
    front = open_front(results_seconds=1)
    job = submit(front)
    assert wait_until(lambda: front.http.get(f"/v1/jobs/{job['id']}").status_code == 404)
    assert front.http.get(f"/v1/jobs/{job['id']}/images/0").status_code == 404


def test_another_gateway_knows_it_too(open_front: Callable[..., Front]) -> None:
    first, second = open_front(), open_front(jobs_at_once=0)
    done = second.settled(submit(second)["id"])
    assert second.http.get(f"/v1/jobs/{done['id']}/images/0").content == png_of(7)
    other = open_front(model="another/model", jobs_at_once=1)
    waiting = submit(open_front(model="miniature", jobs_at_once=0))
    assert first.settled(waiting["id"])["data"]
    assert other.http.get("/v1/jobs/none").status_code == 404


@pytest.mark.timeout(60)
def test_a_job_outlives_its_gateway(
    open_front: Callable[..., Front], drawing: FakeTriton, tmp_path: Path
) -> None:
    """Killed while it draws: the other takes the job up, and draws the seed that was settled."""
    settings = settings_for(drawing, tmp_path)
    environment = {
        **os.environ,
        "GATEWAY_PORT": "0",
        "TRITON_GRPC": drawing.url,
        "MODEL": settings.model,
        "STORE": settings.store,
        "LEASE_SECONDS": "1",
    }
    doomed = subprocess.Popen([sys.executable, "-m", "gateway"], cwd=ROOT, env=environment)
    drawing.go_on.clear()
    front = open_front(jobs_at_once=0)
    answer = front.http.post("/v1/jobs", json={"prompt": "a star"})
    assert wait_until(lambda: drawing.seen, 30)
    doomed.send_signal(signal.SIGKILL)
    doomed.wait(10)
    drawing.go_on.set()
    heir = open_front(lease_seconds=1)
    done = heir.settled(answer.json()["id"])
    seeds = [request.inputs["seed"].values for request in drawing.seen]
    assert seeds == [[done["data"][0]["seed"]]] * 2
