"""How a real stack stands, what it tells, and what dies in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psutil
import pytest

from tests.support.paths import ROOT
from tests.support.pictures import TOLERANCE, max_difference
from tests.support.stacks import (
    IMAGE_TO_IMAGE_STAGES,
    STAGES,
    STAR,
    START_SECONDS,
    Stack,
    fetch,
    image_to_image_options,
    log_contains,
    looks_like_the_star,
)
from tests.support.waiting import wait_until


def test_each_stage_is_a_process_of_its_own(stack: Stack) -> None:
    pids = {stack.replica(stage).pid for stage in IMAGE_TO_IMAGE_STAGES}
    stubs = {process.pid for process in stack.processes("triton_python_backend_stub")}
    assert len(pids) == 4
    assert len(stubs) == len(list((ROOT / "model_repository").glob("*/1/model.py"))) == 6
    assert not pids & stubs


def test_the_processes_inside_triton_hold_no_torch(stack: Stack) -> None:
    for stub in stack.processes("triton_python_backend_stub"):
        assert not [m.path for m in stub.memory_maps() if "libtorch" in m.path]


def test_nothing_listens_beyond_loopback(stack: Stack) -> None:
    listening = [
        (process.name(), connection.laddr.ip.removeprefix("::ffff:"))
        for process in [psutil.Process(stack.process.pid), *stack.processes()]
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3
    assert [name for name, address in listening if address != "127.0.0.1"] == []


def test_the_log_follows_a_request_by_its_id_and_keeps_prompts_private(stack: Stack) -> None:
    stack.infer("a very private wish", request_id="follow-me", steps=2)
    for stage in STAGES:
        for part, event in (
            ("triton", f"stage={stage} event=request request_id=follow-me shapes="),
            ("triton", f"stage={stage} event=response request_id=follow-me ms="),
            ("ray", f"event=computed stage={stage} request_id=follow-me shapes="),
            ("ray", f"event=set_up stage={stage} model=miniature-sd device=cpu"),
            ("ray", f"event=fastest stage={stage} took="),
        ):
            assert wait_until(partial(log_contains, stack, part, event), 10), event
    assert "private wish" not in stack.log("triton") + stack.log("ray")


def metrics(stack: Stack) -> dict[str, float]:
    """What Triton's metrics port says of our own, by name and labels."""
    _, text = fetch(f"http://{stack.addresses['metrics']}/metrics")
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("latent_"))
    return {name: float(value) for name, value in lines}


def test_metrics_of_each_stage(stack: Stack) -> None:
    stack.draw("a red circle", steps=2)

    def counted(name: str) -> list[float]:
        values = metrics(stack)
        return [values[f'latent_relay_{name}{{stage="{stage}"}}'] for stage in STAGES]

    # An answer is sent before it is counted.
    assert wait_until(lambda: min(counted("requests_total")) >= 1, 10)
    assert wait_until(lambda: min(counted("latency_seconds_count")) >= 1, 10)
    assert wait_until(lambda: counted("in_flight") == [0, 0, 0], 10)
    assert 'latent_relay_failures_total{kind="invalid",stage="unet"}' in metrics(stack)


# What dies


def draw_while(stack: Stack, disaster: Callable[[], None]) -> list[bytes]:
    """Eight requests of a second or more, with a disaster in their middle."""
    with ThreadPoolExecutor(8) as pool:
        drawing = [pool.submit(stack.draw, STAR, seed=i, steps=100) for i in range(8)]
        time.sleep(0.5)
        assert not any(picture.done() for picture in drawing)
        disaster()
        return [picture.result(120)[0] for picture in drawing]


def test_a_killed_encoder_costs_retries_not_requests(stack: Stack) -> None:
    victim = stack.replica("vae_encoder")
    victim.kill()
    with ThreadPoolExecutor(4) as pool:
        draw = partial(stack.draw, STAR, **image_to_image_options(steps=4))
        pictures = [pool.submit(draw) for _ in range(4)]
        assert [len(picture.result(120)) for picture in pictures] == [1] * 4
    assert stack.replica("vae_encoder").pid != victim.pid


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_replica_costs_retries_not_requests(stack: Stack, stage: str) -> None:
    victim = stack.replica(stage)
    pictures = draw_while(stack, victim.kill)
    assert len(set(pictures)) == 8
    assert stack.replica(stage).pid != victim.pid
    again = stack.draw(STAR, seed=3, steps=100)[0]
    assert max_difference(again, pictures[3]) <= TOLERANCE


@pytest.mark.parametrize("name", ["triton_python_backend_stub", "tritonserver", "gcs_server"])
def test_a_part_that_dies_is_noticed_within_5_seconds_and_comes_back(
    stack: Stack, name: str
) -> None:
    def said(words: str) -> int:
        return stack.output.read_text().count(words)

    noticed, came_back = said("bringing it back"), said("back after")
    stack.processes(name)[0].kill()
    assert wait_until(lambda: said("bringing it back") > noticed, 5 + 1)
    back = wait_until(lambda: said("back after") > came_back, START_SECONDS)
    assert back, f"{stack.output.read_text()}\n{stack.log('triton')[-2000:]}"
    assert looks_like_the_star(stack.draw(STAR, seed=7)[0])
