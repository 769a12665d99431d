"""The HTTP transport: `infer`, and server-sent events for streams."""

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
from urllib3.exceptions import TimeoutError as HttpTimeout

from relay_client.errors import RequestError, no_server
from relay_client.transport import GRACE_SECONDS, Tensors, TritonRequest, address

CODES: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    499: "CANCELLED",
    503: "UNAVAILABLE",
}
HEADER_LENGTH = "Inference-Header-Content-Length"
MAX_CONNECTIONS = 256  # kept open, one for each thread


class HttpTransport:
    """Sends requests to Triton over HTTP."""

    def __init__(self, url: str = "") -> None:
        self.url = address(url, "HTTP", "127.0.0.1:8000")
        self._base = (self.url if "://" in self.url else f"http://{self.url}").rstrip("/")
        self._pool = urllib3.PoolManager(maxsize=MAX_CONNECTIONS)

    def close(self) -> None:
        self._pool.clear()

    def infer(self, request: TritonRequest, seconds: float) -> Tensors:
        body, header_length = InferenceServerClient.generate_request_body(
            [infer_input(name, array) for name, array in request.inputs.items()],
            outputs=[InferRequestedOutput(name) for name in request.outputs],
            request_id=request.request_id,
            timeout=int(seconds * 1e6),
        )
        headers = {HEADER_LENGTH: str(header_length)} if header_length else {}
        with self._errors(seconds):
            response = self._post(request, "infer", body, headers, seconds)
            content = response.data
        length = response.headers.get(HEADER_LENGTH)
        result = InferenceServerClient.parse_response_body(
            content, header_length=int(length) if length else None
        )
        return {name: result.as_numpy(name) for name in request.outputs}

    def stream(self, request: TritonRequest, seconds: float) -> Iterator[Tensors]:
        begun = time.monotonic()
        body = json.dumps(json_body(request)).encode()
        with self._errors(seconds):
            response = self._post(request, "generate_stream", body, {}, seconds)
            # The connection's timeout holds for each event. This one holds for the whole stream.
            left = max(begun + seconds + GRACE_SECONDS - time.monotonic(), 0)
            deadline = threading.Timer(left, shut_down, [response])
            deadline.daemon = True
            deadline.start()
            try:
                for line in response:
                    if line.startswith(b"data:"):
                        yield event_tensors(request, json.loads(line.removeprefix(b"data:")))
            finally:
                deadline.cancel()
                response.close()

    def _post(
        self,
        request: TritonRequest,
        verb: str,
        body: bytes,
        headers: dict[str, str],
        seconds: float,
    ) -> urllib3.BaseHTTPResponse:
        """Returns the response, whose body is still to be read. Raises RequestError."""
        response = self._pool.request(
            "POST",
            f"{self._base}/v2/models/{request.model}/{verb}",
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(total=seconds + GRACE_SECONDS),
            retries=False,
            preload_content=False,
        )
        if response.status != 200:
            code = CODES.get(response.status, "INTERNAL")
            raise RequestError(code, error_text(response.data))
        return response

    @contextlib.contextmanager
    def _errors(self, seconds: float) -> Iterator[None]:
        deadline = time.monotonic() + seconds
        try:
            yield
        except NewConnectionError as error:  # a subclass of urllib3's timeouts
            raise no_server(self.url, error_reason(error)) from error
        except (HTTPError, OSError) as error:
            if isinstance(error, HttpTimeout) or time.monotonic() >= deadline:
                raise TimeoutError(f"no answer from {self.url} in time") from error
            raise no_server(self.url, error_reason(error)) from error


def shut_down(response: urllib3.BaseHTTPResponse) -> None:
    """Ends a response, whose reader in another thread then gets an error."""
    with contextlib.suppress(ValueError, RuntimeError, OSError):  # the response has just ended
        response.shutdown()


def infer_input(name: str, array: Any) -> Any:
    """Returns an array as tritonclient's input tensor."""
    tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return tensor.set_data_from_numpy(array)


def json_body(request: TritonRequest) -> dict[str, Any]:
    """Returns the request as JSON. It asks for pictures in base64, since JSON holds no bytes."""
    inputs = {
        name: [
            item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else item
            for item in array.tolist()
        ]
        for name, array in request.inputs.items()
    }
    return {"id": request.request_id, "error_codes": True, "encoding": "base64", **inputs}


def event_tensors(request: TritonRequest, content: Mapping[str, Any]) -> Tensors:
    """Returns the outputs of one event. Raises RequestError."""
    if "error" in content:
        raise RequestError("UNKNOWN", content["error"])
    # Triton writes a tensor with one item as a scalar.
    outputs = {name: np.atleast_1d(content[name]) for name in request.outputs if name != "image"}
    files = np.atleast_1d(content["image_base64"]).tolist()
    return {**outputs, "image": np.array([base64.b64decode(file) for file in files], np.object_)}


def error_text(body: bytes) -> str:
    """Returns the reason in the body of a failed request; a stream's body is an event."""
    text = body.decode(errors="replace").strip().removeprefix("data:")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(text)["error"])
    return text or "no reason given"


def error_reason(error: BaseException) -> object:
    """Returns the operating system's message, where a wrapped error has one."""
    inner: BaseException | None = error
    while inner is not None:
        if message := getattr(inner, "strerror", None):
            return message
        inner = inner.__cause__ or inner.__context__
    return error.args[-1] if isinstance(error, ProtocolError) else error
