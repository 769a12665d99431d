"""Runs inside a Triton Python-backend process and hands each request to a Ray Serve deployment.

Holds no weights and imports no torch. One process has many requests in flight: `execute` returns
at once, and an event loop in a thread of its own answers each request by itself, when its stage has.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import ray
import tenacity
import triton_python_backend_utils as pb_utils
from ray import serve
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, RayTaskError, WorkerCrashedError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from ray_stages import errors
from ray_stages.metrics import StageMetrics
from ray_stages.request import DecodeRequest, DenoiseRequest, Tensors, TextRequest
from ray_stages.settings import Settings

if TYPE_CHECKING:
    from ray_stages.deployments import StageResult

PARSERS = {
    "text_encoder": TextRequest.parse,
    "unet": DenoiseRequest.parse,
    "vae_decoder": DecodeRequest.parse,
}
# A replica that is gone, not a stage that failed: the same call succeeds elsewhere.
REPLICA_GONE = (RayActorError, WorkerCrashedError, NodeDiedError, ObjectLostError, DeploymentUnavailableError)


@dataclass
class Call:
    """A request on its way through this process. `deadline` is in Unix seconds, infinite if none."""

    request: Any
    id: str
    deadline: float
    tensors: Tensors
    accepted_before: bool
    arrived: float

    @classmethod
    def of(cls, request: Any) -> Call:
        """The first stage names the request and sets its deadline; the later ones are told."""
        tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        now = time.time()
        if accepted_before := "deadline" in tensors:
            deadline = float(tensors["deadline"][0])
        else:
            deadline = now + request.timeout() / 1e6 if request.timeout() else float("inf")
        given = tensors["request_id"][0].decode("utf-8", "replace") if "request_id" in tensors else ""
        return cls(
            request=request,
            id=given or request.request_id() or uuid.uuid4().hex,
            deadline=deadline,
            tensors=tensors,
            accepted_before=accepted_before,
            arrived=now,
        )

    @property
    def remaining(self) -> float | None:
        return None if self.deadline == float("inf") else self.deadline - time.time()

    @property
    def pictures(self) -> int:
        return max(1, max((len(tensor) for tensor in self.tensors.values() if tensor.ndim), default=1))


class Bridge:
    """Base of every `TritonPythonModel`."""

    stage: ClassVar[str]

    def initialize(self, args: dict[str, str]) -> None:
        self.settings = Settings.from_env()
        self.outputs = {o["name"] for o in pb_utils.json.loads(args["model_config"])["output"]}
        self.metrics = StageMetrics(self.stage)
        self.in_flight = 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="bridge", daemon=True)
        self.thread.start()
        begin = time.monotonic()
        self._run(self._connect()).result(self.settings.start_seconds)
        self._log("connected", model=self.card.name, seconds=f"{time.monotonic() - begin:.2f}")

    def execute(self, requests: list[Any]) -> list[None]:
        for request in requests:
            self._run(self._answer(request, request.get_response_sender()))
        return [None] * len(requests)

    def finalize(self) -> None:
        """Triton calls this when all requests are answered."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        ray.shutdown()

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    async def _connect(self) -> None:
        # Not on the main thread: there, Ray would take over SIGTERM, and Triton could not drain.
        ray.init(address=self.settings.ray_address, namespace="latent-relay", log_to_driver=False)
        self.handle = serve.get_deployment_handle(self.stage, app_name=self.stage)
        self.card = await self.handle.card.remote()

    async def _answer(self, request: Any, sender: Any) -> None:
        call = Call.of(request)
        try:
            response = self._response(await self._admit(call), call)
        except Exception as error:
            response = pb_utils.InferenceResponse(error=self._failure(call, error))
        sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    async def _admit(self, call: Call) -> StageResult:
        """Sheds what is too much at once; what an earlier stage let in is not turned away later."""
        limit = self.settings.max_in_flight
        pictures = call.pictures
        decoding_accepted = call.accepted_before and self.stage == "vae_decoder"
        if self.in_flight + pictures > limit and not decoding_accepted:
            raise errors.Overloaded(f"{self.stage} has {self.in_flight} pictures in flight, the limit is {limit}")
        self.in_flight += pictures
        self.metrics.in_flight(self.in_flight)
        try:
            stage_request = PARSERS[self.stage](call.tensors, self.card, self.settings)
            self._log("request", call, shapes=",".join(map(_shape, call.tensors.items())))
            return await self._within_deadline(call, stage_request)
        finally:
            self.in_flight -= pictures
            self.metrics.in_flight(self.in_flight)

    async def _within_deadline(self, call: Call, stage_request: Any) -> StageResult:
        try:
            return await asyncio.wait_for(self._call_replica(call, stage_request), call.remaining)
        except asyncio.TimeoutError:
            raise errors.DeadlineExceeded(f"deadline exceeded in {self.stage}: request {call.id}") from None

    async def _call_replica(self, call: Call, stage_request: Any) -> StageResult:
        """Safe to repeat: a request carries its seeds, so a second replica draws the same picture."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(REPLICA_GONE),
            stop=tenacity.stop_after_attempt(self.settings.attempts),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
            before_sleep=lambda state: self._log("retry", call, attempt=state.attempt_number),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                response = self.handle.remote(call.id, stage_request)
                try:
                    return await response
                except asyncio.CancelledError:
                    response.cancel()
                    raise
        raise AssertionError("tenacity returns or raises")

    def _response(self, result: StageResult, call: Call) -> Any:
        outputs = {
            **result.outputs,
            "request_id": np.array([call.id.encode()], np.object_),
            "deadline": np.array([call.deadline], np.float64),
            "elapsed_ms": np.array([result.queue_ms, result.compute_ms], np.float32),
        }
        elapsed = time.time() - call.arrived
        self.metrics.answered(elapsed)
        self._log(
            "response",
            call,
            ms=f"{1000 * elapsed:.1f}",
            queue_ms=f"{result.queue_ms:.1f}",
            compute_ms=f"{result.compute_ms:.1f}",
            bytes=sum(map(_bytes, result.outputs.values())),
        )
        tensors = [pb_utils.Tensor(name, outputs[name]) for name in outputs if name in self.outputs]
        return pb_utils.InferenceResponse(output_tensors=tensors)

    def _failure(self, call: Call, error: Exception) -> Any:
        """What the client is told; only a bug is logged with its traceback."""
        if isinstance(error, RayTaskError):
            error = error.cause if isinstance(error.cause, errors.RelayError) else error
        if isinstance(error, BackPressureError):
            error = errors.Overloaded(f"{self.stage}: all replicas are at their limit")
        elif isinstance(error, REPLICA_GONE):
            error = errors.StageUnavailable(f"{self.stage}: no replica answered in {self.settings.attempts} attempts")
        elif not isinstance(error, errors.RelayError):
            pb_utils.Logger.log_error(f"stage={self.stage} event=bug request_id={call.id} {error!r}")
            error = errors.StageFailed(f"{self.stage} failed; the log has request {call.id}")
        self.metrics.failed(error.kind)
        self._log("failure", call, kind=error.kind, code=error.code)
        return pb_utils.TritonError(str(error), getattr(pb_utils.TritonError, error.code))

    def _log(self, event: str, call: Call | None = None, **facts: object) -> None:
        if call:
            facts = {"request_id": call.id, **facts}
        line = " ".join(f"{key}={value}" for key, value in facts.items())
        pb_utils.Logger.log_info(f"stage={self.stage} event={event} {line}")


def _shape(tensor: tuple[str, Any]) -> str:
    name, values = tensor
    return f"{name}:{'x'.join(map(str, values.shape))}"


def _bytes(tensor: Any) -> int:
    return sum(map(len, tensor)) if tensor.dtype == np.object_ else tensor.nbytes
