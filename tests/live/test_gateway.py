"""The gateway of a real stack."""

from __future__ import annotations

import base64
import json
import socket
import urllib.request
from urllib.parse import urlsplit

import openai

from tests.support.stacks import STAR, Stack, fetch, log_contains, looks_like_the_star
from tests.support.waiting import wait_until


def openai_client(stack: Stack) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{stack.gateway}/v1", api_key="unused")


def test_imagine_draws_the_same_as_triton(stack: Stack) -> None:
    query = f"prompt={STAR.replace(' ', '+')}&seed=7"
    with urllib.request.urlopen(f"{stack.gateway}/imagine?{query}", timeout=60) as answer:
        png = answer.read()
    assert looks_like_the_star(png)
    assert png == stack.draw(STAR, seed=7)[0]


def test_openais_client_streams_partial_images(stack: Stack) -> None:
    events = openai_client(stack).images.generate(
        prompt=STAR, stream=True, partial_images=3, extra_body={"seed": 8}
    )
    pictures = [base64.b64decode(event.b64_json) for event in events]
    assert len(set(pictures)) == 4
    assert looks_like_the_star(pictures[-1])


def test_a_job(stack: Stack) -> None:
    status, text = fetch(f"{stack.gateway}/v1/jobs", {"prompt": STAR, "seed": 7, "n": 2})
    assert status == 202, text
    id = json.loads(text)["id"]

    def completed() -> bool:
        return bool(json.loads(fetch(f"{stack.gateway}/v1/jobs/{id}")[1])["status"] == "completed")

    assert wait_until(completed, 60)


def test_a_disconnect_cancels_the_work(stack: Stack) -> None:
    host, _, port = urlsplit(stack.gateway).netloc.partition(":")
    with socket.create_connection((host, int(port))) as connection:
        query = "prompt=a+star&steps=150&width=256&height=256"
        head = f"GET /imagine?{query} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: gone\r\n\r\n"
        connection.sendall(head.encode())
        begun = "stage=unet event=request request_id=gone"
        assert wait_until(lambda: log_contains(stack, "triton", begun))
    assert wait_until(lambda: "kind=cancelled" in failure_lines(stack))


def failure_lines(stack: Stack) -> str:
    lines = stack.log("triton").splitlines()
    return "\n".join(line for line in lines if "event=failure request_id=gone" in line)


def test_tritons_error_names_the_field(stack: Stack) -> None:
    status, text = fetch(f"{stack.gateway}/imagine?prompt=a&steps=0")
    assert status == 400
    assert json.loads(text)["error"]["param"] == "steps"


def test_readiness_and_restart_after_a_crash(stack: Stack) -> None:
    assert fetch(f"{stack.gateway}/readyz")[0] == 200
    [process] = stack.processes("-m gateway")
    process.kill()

    def back() -> bool:
        try:
            return fetch(f"{stack.gateway}/readyz")[0] == 200
        except OSError:
            return False

    assert wait_until(back, 30)
