"""Triton over HTTP: `infer`, and server-sent events for streams."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import urllib3
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import np_to_triton_dtype
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError
from urllib3.exceptions import TimeoutError as SilenceError

from relay_client.errors import RequestError, no_server
from relay_client.transport import GRACE_SECONDS, Call, Tensors, address

CODES: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    499: "CANCELLED",
    503: "UNAVAILABLE",
}
HEADER_LENGTH = "Inference-Header-Content-Length"
CONNECTIONS = 256  # kept open, for as many threads


class HttpTransport:
    def __init__(self, url: str = "") -> None:
        self.url = address(url, "HTTP", "127.0.0.1:8000")
        self._base = (self.url if "://" in self.url else f"http://{self.url}").rstrip("/")
        self._pool = urllib3.PoolManager(maxsize=CONNECTIONS)

    def close(self) -> None:
        self._pool.clear()

    def infer(self, call: Call, seconds: float) -> Tensors:
        body, header_length = InferenceServerClient.generate_request_body(
            [described(name, array) for name, array in call.inputs.items()],
            outputs=[InferRequestedOutput(name) for name in call.outputs],
            request_id=call.request_id,
            timeout=int(seconds * 1e6),
        )
        headers = {HEADER_LENGTH: str(header_length)} if header_length else {}
        with self._errors(seconds):
            answer = self._post(call, "infer", body, headers, seconds)
            content = answer.data
        length = answer.headers.get(HEADER_LENGTH)
        result = InferenceServerClient.parse_response_body(
            content, header_length=int(length) if length else None
        )
        return {name: result.as_numpy(name) for name in call.outputs}

    def stream(self, call: Call, seconds: float) -> Iterator[Tensors]:
        begun = time.monotonic()
        body = json.dumps(document(call)).encode()
        with self._errors(seconds):
            answer = self._post(call, "generate_stream", body, {}, seconds)
            # The limit of the connection is for each event; this is the one for them all.
            left = max(begun + seconds + GRACE_SECONDS - time.monotonic(), 0)
            hang_up = threading.Timer(left, shut, [answer])
            hang_up.daemon = True
            hang_up.start()
            try:
                for line in answer:
                    if line.startswith(b"data:"):
                        yield event(call, json.loads(line.removeprefix(b"data:")))
            finally:
                hang_up.cancel()
                answer.close()

    def _post(
        self, call: Call, verb: str, body: bytes, headers: dict[str, str], seconds: float
    ) -> urllib3.BaseHTTPResponse:
        """The answer, still to be read."""
        answer = self._pool.request(
            "POST",
            f"{self._base}/v2/models/{call.model}/{verb}",
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(total=seconds + GRACE_SECONDS),
            retries=False,
            preload_content=False,
        )
        if answer.status != 200:
            code = CODES.get(answer.status, "INTERNAL")
            raise RequestError(code, error_text(answer.data))
        return answer

    @contextlib.contextmanager
    def _errors(self, seconds: float) -> Iterator[None]:
        deadline = time.monotonic() + seconds
        try:
            yield
        except NewConnectionError as error:  # urllib3 counts it among the timeouts
            raise no_server(self.url, reason(error)) from error
        except (HTTPError, OSError) as error:
            if isinstance(error, SilenceError) or time.monotonic() >= deadline:
                raise TimeoutError(f"no answer from {self.url} in time") from error
            raise no_server(self.url, reason(error)) from error


def shut(answer: urllib3.BaseHTTPResponse) -> None:
    with contextlib.suppress(ValueError, RuntimeError, OSError):  # it has just ended
        answer.shutdown()


def described(name: str, array: Any) -> Any:
    tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return tensor.set_data_from_numpy(array)


def document(call: Call) -> dict[str, Any]:
    """The request as JSON, which cannot carry a PNG as it is."""
    inputs = {
        name: [
            item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else item
            for item in array.tolist()
        ]
        for name, array in call.inputs.items()
    }
    return {"id": call.request_id, "error_codes": True, "encoding": "base64", **inputs}


def event(call: Call, said: Mapping[str, Any]) -> Tensors:
    if "error" in said:
        raise RequestError("UNKNOWN", said["error"])
    # Triton writes the one item of a tensor without its brackets.
    outputs = {name: np.atleast_1d(said[name]) for name in call.outputs if name != "image"}
    files = np.atleast_1d(said["image_base64"]).tolist()
    return {**outputs, "image": np.array([base64.b64decode(file) for file in files], np.object_)}


def error_text(body: bytes) -> str:
    """Triton's reason, which a stream has as an event."""
    text = body.decode(errors="replace").strip().removeprefix("data:")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(text)["error"])
    return text or "no reason given"


def reason(error: BaseException) -> object:
    """Of an error in wrappings, the words of the operating system where there are any."""
    inner: BaseException | None = error
    while inner is not None:
        if words := getattr(inner, "strerror", None):
            return words
        inner = inner.__cause__ or inner.__context__
    return error.args[-1] if isinstance(error, ProtocolError) else error
