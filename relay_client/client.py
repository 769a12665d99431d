"""The client, whatever the protocol."""

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
from relay_client.transport import Call, Tensors, Transport

if TYPE_CHECKING:
    from typing_extensions import Unpack

OUTPUTS: tuple[str, ...] = ("image", "seed_used", "text_encoder_ms", "unet_ms", "vae_decoder_ms")
# How long somebody who leaves waits for the server to hear of it.
LEAVE_SECONDS = 1.0

T = TypeVar("T")


class Client:
    """Asks one server for pictures. Threads may share it.

    `timeout` (seconds) covers a whole request. Within it, a server that is busy or out of reach
    is asked again, up to `retries` times; drawing the same seed twice gives the same picture.

    `tls_ca` (TRITON_TLS_CA) is a PEM file: with it gRPC speaks TLS, to servers that it vouches for.

    Whoever leaves before the end (an interrupt, a timeout, a stream that is closed) has the
    server cancel the request.
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
        """Draws one picture for each prompt, from nothing or from the file in `init_image`.

        Raises RequestError with the server's reason, ConnectionError when there is no server, and
        TimeoutError when it does not answer in time.
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
        call = Call(model, inputs, outputs, request_id or uuid4().hex)
        with self._cancelled_when_left(call):
            answer = self._patiently(lambda seconds: self._transport.infer(call, seconds))
        return pictures_from(prompts, answer)

    def stream(
        self,
        prompts: str | Sequence[str],
        *,
        preview_every: int = 1,
        request_id: str = "",
        **options: Unpack[Options],
    ) -> Iterator[Preview]:
        """Draws as `generate` does, and shows how the pictures come about; the last is them."""
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        inputs = {
            "prompt": tensor("prompt", BYTES, prompts),
            "preview_every": tensor("preview_every", INT32, preview_every),
            **option_tensors(options),
        }
        outputs = ("step", "steps_used", "is_final", *OUTPUTS)
        call = Call("stable_diffusion_stream", inputs, outputs, request_id or uuid4().hex)
        return self._previews(prompts, call)

    def cancel(self, request_id: str, *, timeout: float = 10) -> bool:
        """Has the server drop a request; false when it knows of none with this id."""
        inputs = {"request_id": tensor("request_id", BYTES, request_id)}
        answer = self._transport.infer(Call("cancel", inputs, ("found",)), timeout)
        return bool(answer["found"].item())

    def _previews(self, prompts: Sequence[str], call: Call) -> Iterator[Preview]:
        def begin(seconds: float) -> tuple[Tensors | None, Iterator[Tensors]]:
            answers = self._transport.stream(call, seconds)
            return next(answers, None), answers

        with self._cancelled_when_left(call):
            # Asked again only while nothing has come: a caller has seen the steps that came.
            answer, others = self._patiently(begin)
            while answer is not None and not answer["is_final"].item():
                yield preview_from(prompts, answer)
                answer = next(others, None)
        if answer is None:
            raise RequestError("INTERNAL", "the stream ended before the final pictures")
        yield preview_from(prompts, answer)

    def _patiently(self, attempt: Callable[[float], T]) -> T:
        """Tries, each time with the seconds that are left."""
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
    def _cancelled_when_left(self, call: Call) -> Iterator[None]:
        try:
            yield
        except (GeneratorExit, KeyboardInterrupt, TimeoutError):
            with contextlib.suppress(RequestError, OSError):  # it is the leaving that counts
                self.cancel(call.request_id, timeout=LEAVE_SECONDS)
            raise
