"""Runs inside a Triton Python-backend process and hands each request to a Ray Serve deployment.

Holds no weights and imports no torch. One process has many requests in flight: `execute` returns
at once, and an event loop in a thread of its own answers each by itself, when its stage has.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import ray
import tenacity
import triton_python_backend_utils as pb_utils
from ray import exceptions
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from ray_stages import errors
from ray_stages.bridge.metrics import StageMetrics
from ray_stages.bridge.response_order import Turns
from ray_stages.bridge.stage_handles import Link, Links
from ray_stages.bridge.triton_request import Call
from ray_stages.requests.stage_requests import (
    DecodeRequest,
    DenoiseRequest,
    EncodeRequest,
    StageResult,
    TextRequest,
)
from ray_stages.serving.cancellation import CancellableCalls
from ray_stages.settings import Settings

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
HUNG_UP_SECONDS = 0.1

PARSERS: dict[str, Any] = {
    "text_encoder": TextRequest.parse,
    "unet": DenoiseRequest.parse,
    "vae_decoder": DecodeRequest.parse,
    "vae_encoder": EncodeRequest.parse,
}
# The replica is gone, rather than the stage wrong: the same call succeeds elsewhere.
REPLICA_GONE = (
    exceptions.RayActorError,
    exceptions.WorkerCrashedError,
    exceptions.NodeDiedError,
    exceptions.ObjectLostError,
    DeploymentUnavailableError,
)


@dataclass
class Reply:
    """Where the responses to a request go.

    turn: waits until the earlier ones of its stream are out; step: the latest that was sent; over:
    nothing more may be sent, or asked.
    """

    sender: Any
    turn: Callable[[], Awaitable[None]]
    sent: int = 0
    step: int = 0
    over: bool = False
    stream: int = field(default_factory=lambda: secrets.randbits(62))

    async def send(self, response: Any, final: bool = True) -> None:
        await self.turn()
        self.over = final
        self.sender.send(response, flags=FINAL if final else 0)
        self.sent += 1


class Bridge:
    """Base of every `TritonPythonModel`; two models may share a stage."""

    stage: ClassVar[str]

    def initialize(self, args: dict[str, str]) -> None:
        """Triton counts the model as ready when this returns: when a replica has answered."""
        begin = time.monotonic()
        self.settings = Settings.from_env()
        self.model = args["model_name"]
        self.metrics = StageMetrics(self.model)
        self.in_flight = 0
        self.calls = CancellableCalls()
        self.turns = Turns()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="bridge", daemon=True)
        self.thread.start()
        connecting = asyncio.run_coroutine_threadsafe(self._connect(), self.loop)
        connecting.result(self.settings.start_seconds)
        self._log("connected", seconds=f"{time.monotonic() - begin:.2f}")

    def execute(self, requests: list[Any]) -> list[None] | None:
        for request in requests:
            asyncio.run_coroutine_threadsafe(self._answer(request), self.loop)
        return [None] * len(requests)

    def finalize(self) -> None:
        """Triton calls this when all requests are answered."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        ray.shutdown()

    async def _connect(self) -> None:
        await self._join_ray()
        self.links = Links(self.stage)
        await self.links.connect()

    async def _join_ray(self) -> None:
        # Not on the main thread: there, Ray would take over SIGTERM, and Triton could not drain.
        ray.init(address=self.settings.ray_address, namespace="latent-relay", log_to_driver=False)
        self.obeying = asyncio.create_task(self.calls.obey(uuid.uuid4().hex))

    async def _answer(self, request: Any) -> None:
        """Whatever happens, the request gets a final response."""
        sender = request.get_response_sender()
        call: Call | None = None
        try:
            call = Call.of(request, self.settings.max_seconds)
            async with self.turns.turn(*call.sequence) as mine:
                reply = Reply(sender, mine)
                answering = asyncio.create_task(self._handle(call, reply))
                await self._until_hung_up(answering, reply, call)
        except (Exception, asyncio.CancelledError) as error:
            response = pb_utils.InferenceResponse(error=self._failure(call, error))
            sender.send(response, flags=FINAL)

    async def _until_hung_up(self, answering: asyncio.Task[None], reply: Reply, call: Call) -> None:
        """Triton says so only to a model that its client called directly, not to an ensemble's.

        Asked after the final response, tritonserver 2.51 ends with a segmentation fault.
        """
        while not call.accepted_before:
            done, _ = await asyncio.wait({answering}, timeout=HUNG_UP_SECONDS)
            if done:
                break
            if not reply.over and reply.sender.is_cancelled():
                answering.cancel()
        await answering

    async def _handle(self, call: Call, reply: Reply) -> None:
        async with self.links.to(call.generation) as link:
            await self._forward(call, link, reply)

    async def _forward(self, call: Call, link: Link, reply: Reply) -> None:
        stage_request = PARSERS[self.stage](call.tensors, link.card, self.settings)
        with self.calls.call(call.id, call.accepted_before), self._admitted(call):
            self._log("request", call.id, shapes=call.shapes)
            try:
                attempts = self._attempts(call, link, stage_request, reply)
                await asyncio.wait_for(attempts, call.remaining)
            except asyncio.TimeoutError:
                raise errors.DeadlineExceeded(
                    f"{self.model}: the deadline of request {call.id} has passed"
                ) from None

    @contextmanager
    def _admitted(self, call: Call) -> Iterator[None]:
        """Sheds at once what is too much, but never a picture that has been denoised."""
        if not call.accepted_before and self._draining():
            raise errors.Draining(f"{self.model}: the server is stopping and takes no new work")
        limit, pictures = self.settings.max_in_flight, call.pictures
        denoised = call.accepted_before and self.stage == "vae_decoder"
        if self.in_flight + pictures > limit and not denoised:
            raise errors.Overloaded(
                f"{self.model}: {pictures} more on {self.in_flight} pictures in flight, "
                f"the limit is {limit}"
            )
        self._count(pictures)
        try:
            yield
        finally:
            self._count(-pictures)

    def _draining(self) -> bool:
        """Whoever wants to stop this server makes the file, then waits for what is in flight."""
        return bool(self.settings.drain_file) and Path(self.settings.drain_file).exists()

    def _count(self, pictures: int) -> None:
        self.in_flight += pictures
        self.metrics.in_flight(self.in_flight)

    async def _attempts(self, call: Call, link: Link, stage_request: Any, reply: Reply) -> None:
        """Safe to repeat: a request carries its seeds, so another replica draws the same."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(REPLICA_GONE),
            stop=tenacity.stop_after_attempt(self.settings.attempts),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
            before_sleep=lambda state: self._log("retry", call.id, attempt=state.attempt_number),
            reraise=True,
        )
        await retrying(self._attempt, call, link, stage_request, reply)

    async def _attempt(self, call: Call, link: Link, stage_request: Any, reply: Reply) -> None:
        response: Any = link.handle.remote(call.ticket, stage_request)
        try:
            result: StageResult = await response
        except asyncio.CancelledError:
            response.cancel()
            raise
        await reply.send(self._response(call, link, result))
        self._answered(call, result)

    def _response(self, call: Call, link: Link, result: StageResult) -> Any:
        outputs = {
            **call.tensors,
            **result.outputs,
            "request_id": np.array([call.id.encode()], np.object_),
            "deadline": np.array([call.deadline], np.float64),
            "generation": np.array([link.generation.encode()], np.object_),
            "elapsed_ms": np.array([result.queue_ms, result.compute_ms], np.float32),
        }
        # Only what is asked for: Triton's stub drops the rest without holding Python's lock, and
        # with Python 3.12 that ends the process.
        tensors = [pb_utils.Tensor(name, outputs[name]) for name in call.outputs if name in outputs]
        return pb_utils.InferenceResponse(output_tensors=tensors)

    def _answered(self, call: Call, result: StageResult) -> None:
        seconds = time.time() - call.arrived
        self.metrics.answered(seconds)
        self._log(
            "response",
            call.id,
            ms=f"{1000 * seconds:.1f}",
            queue_ms=f"{result.queue_ms:.1f}",
            compute_ms=f"{result.compute_ms:.1f}",
            bytes=sum(map(_size, result.outputs.values())),
        )

    def _failure(self, call: Call | None, error: BaseException) -> Any:
        """The client is told what concerns it; what is a bug goes into the log."""
        call_id = call.id if call else "unread"
        told = self._told(call_id, error)
        self.metrics.failed(told.kind)
        self._log("failure", call_id, kind=told.kind, code=told.code)
        words = f"[{told.grpc_code}] {told}" if call and call.wants_codes else str(told)
        return pb_utils.TritonError(words, getattr(pb_utils.TritonError, told.code))

    def _told(self, call_id: str, error: BaseException) -> errors.RelayError:
        if isinstance(error, asyncio.CancelledError):
            return errors.RequestCancelled(f"{self.model}: request {call_id} was cancelled")
        cause = getattr(error, "cause", None)
        error = cause if isinstance(cause, errors.RelayError) else error
        if isinstance(error, errors.RelayError):
            return error
        if isinstance(error, BackPressureError):
            return errors.Overloaded(f"{self.model}: every replica's queue is full")
        if isinstance(error, REPLICA_GONE):
            attempts = self.settings.attempts
            return errors.StageUnavailable(f"{self.model}: no replica left in {attempts} attempts")
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        pb_utils.Logger.log_error(f"stage={self.model} event=bug request_id={call_id}\n{trace}")
        return errors.StageFailed(f"{self.model} failed; its log knows request {call_id}")

    def _log(self, event: str, call_id: str | None = None, **facts: object) -> None:
        if call_id:
            facts = {"request_id": call_id, **facts}
        line = " ".join(f"{key}={value}" for key, value in facts.items())
        pb_utils.Logger.log_info(f"stage={self.model} event={event} {line}")


def _size(tensor: Any) -> int:
    """In bytes, for texts and files too."""
    return sum(map(len, tensor)) if tensor.dtype == np.object_ else tensor.nbytes
