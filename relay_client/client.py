"""The client of Latent Relay, the same for both protocols."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

import tenacity

from relay_client.errors import RequestError, is_temporary
from relay_client.grpc_transport import GrpcTransport
from relay_client.http_transport import HttpTransport
from relay_client.options import BYTES, FP32, INT32, Options, option_tensors, tensor
from relay_client.picture import Picture, Preview, pictures_from, preview_from
from relay_client.transport import Tensors, Transport, TritonRequest

if TYPE_CHECKING:
    from typing_extensions import Unpack

OUTPUTS: tuple[str, ...] = ("image", "seed_used", "text_encoder_ms", "unet_ms", "vae_decoder_ms")
# How long an interrupted caller waits for the server to accept the cancellation.
CANCEL_SECONDS = 1.0

T = TypeVar("T")


class Client:
    """Requests pictures from one server. Threads may share a client.

    url: host:port, by default that in TRITON_GRPC or TRITON_HTTP.
    tls_ca: a PEM file with trusted authorities, by default that in TRITON_TLS_CA; with it, gRPC
    uses TLS.
    timeout: seconds for a whole request, with its retries.
    retries: how often a request is repeated while the server is busy or out of reach. A repeated
    request with the same seed gives the same picture.

    The server cancels a request whose caller does not wait for its end: after an interrupt, a
    timeout, or when a stream is closed.
    """

    def __init__(
        self,
        url: str = "",
        *,
        http: bool = False,
        tls_ca: str = "",
        timeout: float = 300,
        retries: int = 3,
    ) -> None:
        self._transport: Transport = HttpTransport(url) if http else GrpcTransport(url, tls_ca)
        self.timeout = timeout
        self.retries = retries

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def generate(
        self,
        prompts: str | Sequence[str],
        *,
        init_image: bytes | None = None,
        strength: float | None = None,
        dump_latents_every: int | None = None,
        request_id: str = "",
        **options: Unpack[Options],
    ) -> list[Picture]:
        """Draws one picture for each prompt, from noise or from the image file `init_image`.

        Raises RequestError with the server's reason, ConnectionError where there is no server, and
        TimeoutError where it does not answer in time.
        """
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        inputs = {"prompt": tensor("prompt", BYTES, prompts), **option_tensors(options)}
        model, outputs = "stable_diffusion", OUTPUTS
        if init_image is not None:
            model, outputs = "image_to_image", ("vae_encoder_ms", *OUTPUTS)
            inputs["init_image"] = tensor("init_image", BYTES, init_image)
        if strength is not None:
            inputs["strength"] = tensor("strength", FP32, strength)
        if dump_latents_every is not None:
            inputs["dump_latents_every"] = tensor("dump_latents_every", INT32, dump_latents_every)
            outputs = (*outputs, "intermediate_latents")
        request = TritonRequest(model, inputs, outputs, request_id or uuid4().hex)
        with self._cancelled_on_exit(request):
            response = self._with_retries(lambda seconds: self._transport.infer(request, seconds))
        return pictures_from(prompts, response)

    def stream(
        self,
        prompts: str | Sequence[str],
        *,
        preview_every: int = 1,
        request_id: str = "",
        **options: Unpack[Options],
    ) -> Iterator[Preview]:
        """Draws as `generate` does, and yields a preview after every `preview_every` steps.

        The last preview holds the pictures themselves. Raises what `generate` raises.
        """
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        inputs = {
            "prompt": tensor("prompt", BYTES, prompts),
            "preview_every": tensor("preview_every", INT32, preview_every),
            **option_tensors(options),
        }
        outputs = ("step", "steps_used", "is_final", *OUTPUTS)
        request = TritonRequest(
            "stable_diffusion_stream", inputs, outputs, request_id or uuid4().hex
        )
        return self._previews(prompts, request)

    def cancel(self, request_id: str, *, timeout: float = 10) -> bool:
        """Cancels a request. Returns False where the server has none with this id."""
        inputs = {"request_id": tensor("request_id", BYTES, request_id)}
        response = self._transport.infer(TritonRequest("cancel", inputs, ("found",)), timeout)
        return bool(response["found"].item())

    def _previews(self, prompts: Sequence[str], request: TritonRequest) -> Iterator[Preview]:
        def begin(seconds: float) -> tuple[Tensors | None, Iterator[Tensors]]:
            responses = self._transport.stream(request, seconds)
            return next(responses, None), responses

        with self._cancelled_on_exit(request):
            # No retry once a preview has come: the caller has already seen it.
            response, others = self._with_retries(begin)
            while response is not None and not response["is_final"].item():
                yield preview_from(prompts, response)
                response = next(others, None)
        if response is None:
            raise RequestError("INTERNAL", "the stream ended before the final pictures")
        yield preview_from(prompts, response)

    def _with_retries(self, attempt: Callable[[float], T]) -> T:
        """Calls `attempt` with the seconds that are left, until it succeeds or no retry is left."""
        deadline = time.monotonic() + self.timeout
        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_temporary),
            stop=tenacity.stop_after_attempt(self.retries + 1)
            | tenacity.stop_before_delay(self.timeout),
            wait=tenacity.wait_random_exponential(multiplier=0.25, max=4),
            reraise=True,
        )
        return again(lambda: attempt(max(deadline - time.monotonic(), 0.001)))

    @contextlib.contextmanager
    def _cancelled_on_exit(self, request: TritonRequest) -> Iterator[None]:
        """Cancels the request where an interrupt, a timeout or a closed stream ends the block."""
        try:
            yield
        except (GeneratorExit, KeyboardInterrupt, TimeoutError):
            with contextlib.suppress(RequestError, OSError):  # the original error matters more
                self.cancel(request.request_id, timeout=CANCEL_SECONDS)
            raise
