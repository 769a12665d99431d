"""Runs inside a Triton Python-backend process and calls a Ray Serve deployment for each request.

It holds no weights and does not import torch. One process has many requests in flight: `execute`
returns at once, and an event loop in a thread of its own answers each request when its stage has
answered.
"""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import ray
import tenacity
import triton_python_backend_utils as pb_utils
from ray import exceptions
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from ray_stages import errors
from ray_stages.bridge.metrics import StageMetrics
from ray_stages.bridge.ordered_sender import FINAL, OrderedSender
from ray_stages.bridge.response_order import ResponseOrder
from ray_stages.bridge.stage_handles import StageHandle, StageHandles
from ray_stages.bridge.triton_request import TritonRequest
from ray_stages.requests.stage_requests import (
    DecodeRequest,
    DenoiseRequest,
    EncodeImageRequest,
    EncodeTextRequest,
    StageResult,
)
from ray_stages.serving.cancellation import CancellableRequests
from ray_stages.settings import Settings

DISCONNECT_POLL_SECONDS = 0.1

PARSERS: dict[str, Any] = {
    "text_encoder": EncodeTextRequest.parse,
    "unet": DenoiseRequest.parse,
    "vae_decoder": DecodeRequest.parse,
    "vae_encoder": EncodeImageRequest.parse,
}
# The replica is gone, but the stage is not broken: the same call succeeds on another replica.
REPLICA_GONE = (
    exceptions.RayActorError,
    exceptions.WorkerCrashedError,
    exceptions.NodeDiedError,
    exceptions.ObjectLostError,
    DeploymentUnavailableError,
)


class Bridge:
    """Base of every `TritonPythonModel`.

    stage: the stage that it calls; two models may share a stage.
    """

    stage: ClassVar[str]

    def initialize(self, args: dict[str, str]) -> None:
        """Returns when a replica has answered; from then on Triton counts the model as ready."""
        begin = time.monotonic()
        self.settings = Settings.from_env()
        self.model = args["model_name"]
        self.metrics = StageMetrics(self.model)
        self.in_flight = 0
        self.cancellable = CancellableRequests()
        self.response_order = ResponseOrder()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="bridge", daemon=True)
        self.thread.start()
        connecting = asyncio.run_coroutine_threadsafe(self._connect(), self.loop)
        connecting.result(self.settings.start_seconds)
        self._log("connected", seconds=f"{time.monotonic() - begin:.2f}")

    def execute(self, requests: list[Any]) -> list[None] | None:
        """Returns None for each request: each is answered later, through its response sender."""
        for pb_request in requests:
            asyncio.run_coroutine_threadsafe(self._answer(pb_request), self.loop)
        return [None] * len(requests)

    def finalize(self) -> None:
        """Triton calls this after all requests are answered."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        ray.shutdown()

    async def _connect(self) -> None:
        await self._join_ray()
        self.handles = StageHandles(self.stage)
        await self.handles.connect()

    async def _join_ray(self) -> None:
        # Not on the main thread: there Ray would replace the SIGTERM handler that Triton drains by.
        ray.init(address=self.settings.ray_address, namespace="latent-relay", log_to_driver=False)
        self.cancel_listener = asyncio.create_task(self.cancellable.listen(uuid.uuid4().hex))

    async def _answer(self, pb_request: Any) -> None:
        """Sends a final response in every case, and raises nothing."""
        pb_sender = pb_request.get_response_sender()
        request: TritonRequest | None = None
        try:
            request = TritonRequest.parse(pb_request, self.settings.max_seconds)
            async with self.response_order.in_order(*request.sequence) as wait_for_earlier:
                sender = OrderedSender(pb_sender, wait_for_earlier)
                answering = asyncio.create_task(self._process(request, sender))
                await self._wait_or_cancel_on_disconnect(answering, sender, request)
        except (Exception, asyncio.CancelledError) as error:
            response = pb_utils.InferenceResponse(error=self._triton_error(request, error))
            pb_sender.send(response, flags=FINAL)

    async def _wait_or_cancel_on_disconnect(
        self, answering: asyncio.Task[None], sender: OrderedSender, request: TritonRequest
    ) -> None:
        """Waits for `answering`, and cancels it when the client has closed its connection.

        Triton reports a disconnect only to a model that the client called directly, not to the
        steps of an ensemble. After the final response `is_cancelled` must not be called:
        tritonserver 2.51 would end with a segmentation fault.
        """
        while not request.accepted_before:
            done, _ = await asyncio.wait({answering}, timeout=DISCONNECT_POLL_SECONDS)
            if done:
                break
            if not sender.finished and sender.pb_sender.is_cancelled():
                answering.cancel()
        await answering

    async def _process(self, request: TritonRequest, sender: OrderedSender) -> None:
        async with self.handles.use(request.generation) as handle:
            await self._forward(request, handle, sender)

    async def _forward(
        self, request: TritonRequest, handle: StageHandle, sender: OrderedSender
    ) -> None:
        """Checks and admits the request, then calls the stage until the deadline."""
        stage_request = PARSERS[self.stage](request.tensors, handle.card, self.settings)
        with self.cancellable.track(request.id, request.accepted_before), self._admission(request):
            self._log("request", request.id, shapes=request.shapes)
            try:
                attempts = self._call_with_retries(request, handle, stage_request, sender)
                await asyncio.wait_for(attempts, request.remaining_seconds)
            except asyncio.TimeoutError:
                raise errors.DeadlineExceeded(
                    f"{self.model}: the deadline of request {request.id} has passed"
                ) from None

    @contextmanager
    def _admission(self, request: TritonRequest) -> Iterator[None]:
        """Counts the request's pictures as in flight, or raises Overloaded or Draining at once.

        A picture that has been denoised is never refused.
        """
        if not request.accepted_before and self._draining():
            raise errors.Draining(f"{self.model}: the server is stopping and takes no new work")
        limit, pictures = self.settings.max_in_flight, request.picture_count
        denoised = request.accepted_before and self.stage == "vae_decoder"
        if self.in_flight + pictures > limit and not denoised:
            raise errors.Overloaded(
                f"{self.model}: {pictures} more on {self.in_flight} pictures in flight, "
                f"the limit is {limit}"
            )
        self._add_in_flight(pictures)
        try:
            yield
        finally:
            self._add_in_flight(-pictures)

    def _draining(self) -> bool:
        """The launcher creates the drain file, then waits until nothing is in flight."""
        return self.settings.drain_file is not None and self.settings.drain_file.exists()

    def _add_in_flight(self, pictures: int) -> None:
        self.in_flight += pictures
        self.metrics.in_flight(self.in_flight)

    async def _call_with_retries(
        self, request: TritonRequest, handle: StageHandle, stage_request: Any, sender: OrderedSender
    ) -> None:
        """Calls the stage again when a replica is gone, up to `settings.attempts` times.

        This is safe: the request carries its seeds, so another replica draws the same picture.
        """
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(REPLICA_GONE),
            stop=tenacity.stop_after_attempt(self.settings.attempts),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
            before_sleep=lambda state: self._log("retry", request.id, attempt=state.attempt_number),
            reraise=True,
        )
        await retrying(self._call_stage, request, handle, stage_request, sender)

    async def _call_stage(
        self, request: TritonRequest, handle: StageHandle, stage_request: Any, sender: OrderedSender
    ) -> None:
        """Makes one attempt, and sends the result as the response."""
        response: Any = handle.deployment.remote(request.context, stage_request)
        try:
            result: StageResult = await response
        except asyncio.CancelledError:
            response.cancel()
            raise
        await sender.send(self._response(request, handle, result))
        self._record_success(request, result)

    def _response(self, request: TritonRequest, handle: StageHandle, result: StageResult) -> Any:
        outputs = {
            **request.tensors,
            **result.outputs,
            "request_id": np.array([request.id.encode()], np.object_),
            "deadline": np.array([request.deadline], np.float64),
            "generation": np.array([handle.generation.encode()], np.object_),
            "elapsed_ms": np.array([result.queue_ms, result.compute_ms], np.float32),
        }
        # Only the requested outputs: Triton's stub drops the others without holding the GIL, which
        # ends the process with Python 3.12.
        tensors = [
            pb_utils.Tensor(name, outputs[name]) for name in request.outputs if name in outputs
        ]
        return pb_utils.InferenceResponse(output_tensors=tensors)

    def _record_success(self, request: TritonRequest, result: StageResult) -> None:
        seconds = time.time() - request.arrived
        self.metrics.answered(seconds)
        self._log(
            "response",
            request.id,
            ms=f"{1000 * seconds:.1f}",
            queue_ms=f"{result.queue_ms:.1f}",
            compute_ms=f"{result.compute_ms:.1f}",
            bytes=sum(map(_byte_size, result.outputs.values())),
        )

    def _triton_error(self, request: TritonRequest | None, error: BaseException) -> Any:
        """Counts and logs the failure; returns the `TritonError` for the client."""
        request_id = request.id if request else "unread"
        shown = self._client_error(request_id, error)
        self.metrics.failed(shown.kind)
        self._log("failure", request_id, kind=shown.kind, code=shown.code)
        with_code = request is not None and request.wants_error_codes
        message = f"[{shown.grpc_code}] {shown}" if with_code else str(shown)
        return pb_utils.TritonError(message, getattr(pb_utils.TritonError, shown.code))

    def _client_error(self, request_id: str, error: BaseException) -> errors.RelayError:
        """Returns the error that the client may see; the traceback of a bug goes into the log."""
        if isinstance(error, asyncio.CancelledError):
            return errors.RequestCancelled(f"{self.model}: request {request_id} was cancelled")
        cause = getattr(error, "cause", None)
        error = cause if isinstance(cause, errors.RelayError) else error
        if isinstance(error, errors.RelayError) and not isinstance(error, errors.StageFailed):
            return error
        if isinstance(error, BackPressureError):
            return errors.Overloaded(f"{self.model}: every replica's queue is full")
        if isinstance(error, REPLICA_GONE):
            attempts = self.settings.attempts
            return errors.StageUnavailable(f"{self.model}: no replica left in {attempts} attempts")
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        pb_utils.Logger.log_error(f"stage={self.model} event=bug request_id={request_id}\n{trace}")
        if isinstance(error, errors.StageFailed):
            return error
        return errors.StageFailed(f"{self.model} failed; its log knows request {request_id}")

    def _log(self, event: str, request_id: str | None = None, **facts: object) -> None:
        if request_id:
            facts = {"request_id": request_id, **facts}
        line = " ".join(f"{key}={value}" for key, value in facts.items())
        pb_utils.Logger.log_info(f"stage={self.model} event={event} {line}")


def _byte_size(tensor: Any) -> int:
    """Returns the size in bytes, also of a tensor of texts or files."""
    return sum(map(len, tensor)) if tensor.dtype == np.object_ else tensor.nbytes
